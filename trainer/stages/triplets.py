"""Algorithm 1 of ReGANIE: what the rectifier is trained on, made from generated pictures only. See `rectifier.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reganie_core.alignment.flow import estimate_flow
from reganie_core.editing import Editor
from reganie_core.editing.ranges import unlimited
from reganie_core.images import area_downsample
from reganie_core.metrics import changed_region

from ..classes import map_random
from ..data.crops import displace
from ..loop.randomness import Draws
from ..paste import paste_shapes

__all__ = ["Triplet", "TripletMaker", "regional_mean"]

SMALLEST_REGION = 0.01      # share of the picture: what changes less than that does not count more


class Triplet(NamedTuple):
    """(dI, I^, I) and what goes with it; pictures [B,3,R,R] in [-1,1]."""

    delta: Tensor                 # what E_d sees: dI, in [-2,2], or what an ablation puts in its place
    primary: Tensor               # I^, which E_p sees
    target: Tensor                # I
    number: int                   # 1 to 3 as in Algorithm 1; 4: a training picture; 5: one that is edited
    flow: Tensor | None = None    # [B,2,R,R] in pixels, from the places of I^ to those of the inversion that dI is of
    region: Tensor | None = None  # [B,1,R,R] of 0 and 1: where X and Y differ
    inversion: Tensor | None = None   # X^ of triplet 5, whose I is X and holds only outside of `region`
    put_on: Tensor | None = None      # [B] of true and false, triplet 5: the edit only puts an object on


def regional_mean(error: Tensor, region: Tensor) -> Tensor:
    """Mean over pictures of the mean of error [B,3,H,W] within each picture's region [B,1,H,W] of 0 and 1."""
    area = region.mean(dim=(1, 2, 3)).clamp_min(SMALLEST_REGION)
    return ((error * region).mean(dim=(1, 2, 3)) / area).mean()


class DrawnEdit(NamedTuple):
    """A random edit per sample: codes -> edited codes."""

    editor: Editor
    changes: dict[str, Tensor]    # control -> [B], in its unit

    def __call__(self, codes: Tensor) -> Tensor:
        with unlimited():
            return self.editor.edit(codes, self.changes)

    def only_puts_on(self) -> Tensor:
        """[B] of true and false: whether binary controls are switched on and nothing else changes."""
        kinds = {c.name: c.kind for c in self.editor.controls}
        on = torch.stack([(v > 0) & (kinds[name] == "binary") for name, v in self.changes.items()])
        other = torch.stack([(v != 0) & (kinds[name] != "binary") for name, v in self.changes.items()])
        return on.any(dim=0) & ~other.any(dim=0)


class TripletMaker:
    """Draws triplets for the rectifier stage, whose networks and options it uses."""

    config: Any
    G: Any
    E: Any
    editors: list[Editor]
    data: Any
    resolution: int

    @torch.inference_mode()
    def triplet(self, random: torch.Generator | Draws, seen: int = 0) -> Triplet:
        """One batch; pictures are clamped to [-1,1]."""
        config = self.config
        draws = Draws.of(random, config.batch)
        w = map_random(self.G, draws.randn(self.G.z_dim), draws.rand)[:, None].repeat(1, self.G.num_ws, 1)
        t = self.which_triplet(draws)
        if config.real_edits > 0 and float(torch.rand(1, generator=draws.random)) < config.real_edits:
            return self.edited_picture(draws, seen)
        if config.real > 0 and float(torch.rand(1, generator=draws.random)) < config.real:
            t, pictures = 4, self.training_pictures(draws, seen)
        elif t == 3:
            pictures = self.synthesize(w)
        else:
            edit = self.drawn_edit(draws)
            pictures = self.synthesize(torch.cat([w, edit(w)]))
        if config.crop_error > 0:
            pictures = displace(pictures, config.crop_error, draws, len(draws))
        if config.paste > 0:
            pictures = paste_shapes(pictures, len(draws), config.paste, draws, config.paste_moving,
                                    config.paste_below)
        codes = self.invert(pictures, draws)
        if t == 2 and config.edited_codes > 0 and float(torch.rand(1, generator=draws.random)) < config.edited_codes:
            codes = torch.cat([codes[:len(draws)], edit(codes[:len(draws)])])
        inverted = self.synthesize(codes)
        if t >= 3:
            return Triplet(self.seen_by_delta_encoder(pictures, inverted), inverted, pictures, t)
        (x, y), (x_hat, y_hat) = pictures.chunk(2), inverted.chunk(2)
        region = changed_region(x, y) if config.changed_weight > 0 else None
        if t == 1:
            return Triplet(self.seen_by_delta_encoder(y, y_hat), x_hat, x, t, self.flow(y_hat, x_hat, draws), region)
        return Triplet(self.seen_by_delta_encoder(x, x_hat), y_hat, y, t, self.flow(x_hat, y_hat, draws), region)

    def edited_picture(self, draws: Draws, seen: int) -> Triplet:
        """A training picture and its edit as in use. What it should look like is not known; what should be read in it
        is, and where the edit changes nothing, it is the picture. Binary controls are only switched on."""
        x = self.training_pictures(draws, seen)
        if self.config.crop_error > 0:
            x = displace(x, self.config.crop_error, draws, len(draws))
        codes = self.E(x)
        edit = self.drawn_edit(draws, switch_on=True)
        x_hat, y_hat = self.synthesize(torch.cat([codes, edit(codes)])).chunk(2)
        return Triplet(self.seen_by_delta_encoder(x, x_hat), y_hat, x, 5, self.flow(x_hat, y_hat, draws),
                       changed_region(x_hat, y_hat), x_hat, edit.only_puts_on())

    def flow(self, source: Tensor, target: Tensor, draws: Draws) -> Tensor | None:
        """What the rectifier is told about where things went; nothing in some batches, and where it does not carry."""
        config = self.config
        if not config.carry_channels or float(torch.rand(1, generator=draws.random)) < config.flow_dropout:
            return None
        return estimate_flow(source, target)

    def which_triplet(self, draws: Draws) -> int:
        if len(set(self.config.triplet_weights)) == 1:
            return int(torch.randint(1, 4, (1,), generator=draws.random))
        return 1 + int(torch.multinomial(torch.tensor(self.config.triplet_weights), 1, generator=draws.random))

    def seen_by_delta_encoder(self, picture: Tensor, inversion: Tensor) -> Tensor:
        """dI, or what an input ablation puts in its place."""
        if self.config.delta_input == "delta":
            return picture - inversion
        return picture if self.config.delta_input == "image" else torch.zeros_like(picture)

    def synthesize(self, codes: Tensor) -> Tensor:
        """The generator's pictures at the rectifier's resolution."""
        return area_downsample(self.G.synthesis(codes).clamp(-1, 1), self.resolution)

    def training_pictures(self, draws: Draws, seen: int) -> Tensor:
        indices = draws.numbers(self.data, seen)
        mirror = draws.rand() < 0.5
        return self.data.batch(indices, mirror).to(self.config.device)

    def invert(self, pictures: Tensor, random: torch.Generator | Draws) -> Tensor:
        """E(pictures), for [X; Y] with the same error added to both halves when `jitter` is on.

        The error leads towards another mapped code, in the layers from a random one up or down: like that of a real
        picture it is an error of content, and the edit does not change it.
        """
        codes, config = self.E(pictures), self.config
        if config.jitter <= 0:
            return codes
        draws = Draws.of(random, config.batch)
        batch, layers = len(draws), self.G.num_ws
        z, u = draws.randn(self.G.z_dim), draws.rand(3)
        cut, rising = (u[:, :1] * layers).long(), u[:, 1:2] < 0.5
        layer = torch.arange(layers)[None]
        share = torch.where((layer >= cut) == rising, u[:, 2:].square() * config.jitter, 0.0)
        error = share[:, :, None].to(codes.device) * (self.G.mapping(z.to(codes.device)) - codes[:batch])
        return codes + error.repeat(len(codes) // batch, 1, 1)

    def edit(self, w: Tensor, random: torch.Generator | Draws) -> Tensor:
        """Editor(w) with a random edit."""
        return self.drawn_edit(Draws.of(random, len(w)))(w)

    def drawn_edit(self, draws: Draws, switch_on: bool = False) -> DrawnEdit:
        """1 to `edits_per_sample` random controls per sample, each changed by a random amount; binary ones are switched
        on or off, with `switch_on` always on."""
        editor = self.editors[int(torch.randint(len(self.editors), (1,), generator=draws.random))]
        controls = [c for c in editor.controls if c.kind != "text"]
        count = draws.randint(1, self.config.edits_per_sample + 1, 1)
        weights = torch.tensor([self.config.edit_weights.get(c.name, 1.0) for c in controls])
        clocks = -torch.log1p(-draws.rand(len(controls))) / weights      # exponential; the first ones to ring are drawn
        rank = clocks.argsort(dim=1).argsort(dim=1)
        amount = draws.randn(len(controls)).clamp(-2, 2)
        scale = torch.tensor([(c.maximum - c.minimum) * self.config.edit_strength for c in controls])
        binary = torch.tensor([c.kind == "binary" for c in controls])       # they are off or on, never half
        switched = torch.ones_like(amount) if switch_on else amount.sign()
        amount = (torch.where(binary, switched, amount * scale) * (rank < count)).to(self.config.device)
        return DrawnEdit(editor, {c.name: amount[:, i] for i, c in enumerate(controls)})
