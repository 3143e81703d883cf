"""The rectifier stage: Algorithm 1 of ReGANIE, on generated pictures only.

G, E and the editor are frozen. X = G(w), Y = G(Editor(w)); one of three triplets (dI, I^, I) is drawn per batch, see
`reganie_core.algorithm1.training_triplet`. The rectifier paints G_p(E_p(I^), E_d(dI)); its loss is equation 9, the
discriminator's has R1. What is beyond the paper is in trainer/extras, off by default, and turned on by the config's
section "extras"; `train.py rectifier --help` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reganie_core.algorithm1 import training_triplet
from reganie_core.images import area_downsample
from reganie_core.networks.rectifier import Rectifier

from ..classes import map_random
from ..extras.base import Made
from ..loop.ema import update_average
from ..loop.optimisation import descend, mean_terms, shares, timed
from ..loop.randomness import Draws, generator_at
from ..losses import discriminator_loss, equation_9, r1_penalty
from .edits import DrawnEdit, draw_edit
from .rectifier_options import RectifierStageConfig
from .rectifier_report import RectifierReport
from .rectifier_setup import RectifierSetup

__all__ = ["RectifierStage", "RectifierStageConfig"]


class RectifierStage(RectifierReport, RectifierSetup):
    config_class = RectifierStageConfig
    kind = "rectifier"

    # Algorithm 1 ---------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def triplet(self, draws: Draws, seen: int = 0) -> Made:
        """A fresh triplet: X = G(w), Y = G(Editor(w)), and t, which says what is repainted."""
        for extra in self.extras:
            if (made := extra.instead(draws, seen)) is not None:
                return made
        w = map_random(self.G, draws.randn(self.G.z_dim), draws.rand)[:, None].repeat(1, self.G.num_ws, 1)
        t = 1 + int(torch.multinomial(torch.tensor(self.config.triplet_weights), 1, generator=draws.random))
        edit = self.drawn_edit(draws)
        return self.made(t, self.synthesize(w if t == 3 else torch.cat([w, edit(w)])), draws, edit)

    def made(self, t: int, pictures: Tensor, draws: Draws, edit: DrawnEdit | None = None) -> Made:
        """The triplet of X, or of [X; Y]; extras change the pictures and their codes."""
        for extra in self.extras:
            pictures = extra.pictures(pictures, draws)

        def encoder(pictures: Tensor) -> Tensor:
            codes = self.E(pictures)
            for extra in self.extras:
                codes = extra.codes(codes, draws, t, edit)
            return codes

        x, y = pictures.split(len(draws)) if t < 3 else (pictures, pictures)
        return Made(training_triplet(t, x, y, self.synthesize, encoder), t)

    def synthesize(self, codes: Tensor) -> Tensor:
        """The generator's pictures at the rectifier's resolution, in [-1,1]."""
        return area_downsample(self.G.synthesis(codes).clamp(-1, 1), self.resolution)

    def drawn_edit(self, draws: Draws, switch_on: bool = False) -> DrawnEdit:
        """A random edit of every sample; see `draw_edit`."""
        config = self.config
        return draw_edit(self.editors, draws, config.edits_per_sample, config.edit_strength, config.edit_weights,
                         config.device, switch_on)

    # One step ------------------------------------------------------------------------------------------------

    def step(self, seen: int) -> dict[str, Tensor]:
        config, batches = self.config, []
        with timed(self, "Phase I"):
            for rows in shares(config, group=self.group):
                made = self.triplet(Draws(generator_at(config.seed, seen), config.batch, rows), seen)
                batches.append(made._replace(triplet=type(made.triplet)(*(v.clone() for v in made.triplet)),
                                             more={k: v.clone() for k, v in made.more.items()}))
        painted: list[Tensor] = []
        terms_d: list[dict[str, Tensor]] = []
        terms: list[dict[str, Tensor]] = []
        out: dict[str, Tensor] = {}
        if self.D is not None:
            with timed(self, "D"):
                gradient = descend(self, "D", self.losses_d(seen, batches, painted, terms_d))
            out = {**mean_terms(terms_d), "gradient_D": gradient}
            self.D.requires_grad_(False)
        with timed(self, "G"):
            out["gradient_R"] = descend(self, "R", self.losses_r(batches, painted, terms))
        if self.D is not None:
            self.D.requires_grad_(True)
        update_average(self.average, self.R, config.batch, config.ema_kimg, seen + config.batch)
        return {**mean_terms(terms), **out}

    def painted(self, network: Rectifier, made: Made) -> Tensor:
        """I_r = G_p(E_p(I^), E_d(dI)), equation 4."""
        delta, primary, _, source = made.triplet
        return network(primary, delta, inversion=source)

    def losses_d(self, seen: int, batches: list[Made], painted: list[Tensor],
                 terms: list[dict[str, Tensor]]) -> Iterator[Tensor]:
        """D sees I against its repainted version; a single micro-batch keeps that one's graph for R."""
        config = self.config
        for made in batches:
            with torch.set_grad_enabled(len(batches) == 1), timed(self, "G"):
                fake = self.painted(self.R, made)
            if len(batches) == 1:
                painted.append(fake)
            loss = discriminator_loss(self.D(made.triplet.target), self.D(fake.detach()))
            terms.append({"D": loss.detach()})
            if (seen // config.batch) % config.r1_interval == 0:
                r1 = r1_penalty(self.D, made.triplet.target)
                loss, terms[-1]["r1"] = loss + r1 * (config.r1_gamma * 0.5 * config.r1_interval), r1.detach()
            yield loss

    def losses_r(self, batches: list[Made], painted: list[Tensor],
                 terms: list[dict[str, Tensor]]) -> Iterator[Tensor]:
        """Equation 9 per micro-batch, and what extras add to it."""
        c = self.config
        weights = c.l1_weight, c.perceptual_weight, c.gan_weight
        for made in batches:
            picture = painted.pop() if painted else self.painted(self.R, made)
            more = {} if made.by is None else made.by.loss(made, picture)
            loss, found = equation_9(picture, made.triplet.target, self.perceptual.distance, self.D,
                                     weights if made.by is None else (0.0, 0.0, c.gan_weight))
            if made.by is None:
                for extra in self.extras:
                    more |= extra.terms(made, picture)
            terms.append({k: v.detach() for k, v in {**found, **more}.items()})
            yield sum(more.values(), loss)
