"""The rectifier stage: Algorithm 1 of ReGANIE, on generated pictures only (as long as no option below says otherwise).

G, E and the editor are frozen. X = G(w), Y = G(Editor(w)), X^ = G(E(X)), Y^ = G(E(Y)); one of three triplets
(dI, I^, I) is drawn per batch, and only what it needs is computed:

    1: (Y - Y^, X^, X)      2: (X - X^, Y^, Y)      3: (X - X^, X^, X)

Loss: L1 + perceptual + adversarial (R1), weights 1 in the paper. Options beyond the paper are off by default:

- `paste`: random shapes in X, carried to Y by optical flow (`paste_moving`), before both are inverted;
- `jitter`: the codes of X^ and Y^ get the same error, as those of a real picture have before and after an edit;
- `edited_codes`: the inverted edit is sometimes G(Editor(E(X))), which is what the rectifier sees in use;
- `changed_weight`: where the edit changes the picture counts more, the less of the picture that is;
- `carry_channels`: the rectifier carries dI along the optical flow to where it belongs (`networks.carrying`);
- `real`: a share of the batches shows training pictures, as triplet 3;
- `real_edits`: a share of the batches shows edited training pictures. No exact answer is known to these, but what the
  loss network should read in them is: what it reads in X0, changed by as much as from X^ to Y^; and what is behind an
  object that is put on (`behind_weight`);
- `crop_error`: X and Y are framed a little wrongly, like faces found in photos;
- `l2_weight`, `gan_start_kimg`, and what E_d and E_p see (`delta_input`, `primary_input`), for ablations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.alignment.flow import estimate_flow
from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint
from reganie_core.editing import Editor
from reganie_core.errors import InputError
from reganie_core.metrics import l2
from reganie_core.networks import describe
from reganie_core.networks.discriminator import Discriminator, DiscriminatorConfig
from reganie_core.networks.rectifier import Rectifier

from ..attribute_ensemble import AttributeEnsemble
from ..data.image_set import ImageSet
from ..data.sources import Pictures, first
from ..data.training import training_pictures
from ..foreign import editors, perceptual
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from, mean_terms, shares, timed
from ..loop.randomness import Draws, generator_at
from ..losses import discriminator_loss, generator_loss, r1_penalty
from ..sheets import compared, grid
from .rectifier_options import OF_NETWORK, RectifierStageConfig
from .triplets import Triplet, TripletMaker, regional_mean
from .widths import rectifier_widths

VALIDATION_SEED = 600_000_000      # held-out portraits to look at while training; the tables use others


class RectifierStage(TripletMaker):
    config_class = RectifierStageConfig
    kind = "rectifier"

    @property
    def best_metric(self) -> str:
        """The edit against its exact answer where that is known, the reconstruction otherwise."""
        return "l2_rectified" if self.is_portraits else "l2_reconstruction"

    def __init__(self, config: RectifierStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        dtype, device = dtype_of(config), config.device
        self.G = load_generator(config.generator, device).to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype, len(self.G.config.channels))
        self.E = load_encoder(config.encoder, device).to(memory_format=torch.channels_last)
        if hasattr(self.E, "compute_dtype"):
            self.E.compute_dtype = dtype
        self.resolution = resolution = config.resolution or min(self.G.resolution, 512)
        self.editors: list[Editor] = editors(config, self.G, device)
        known = {c.name for editor in self.editors for c in editor.controls}
        if config.edit_weights.keys() - known:
            raise InputError(f"edit_weights: no editor has {', '.join(sorted(config.edit_weights.keys() - known))}; "
                             f"they have {', '.join(sorted(known))}.")
        self.group = 4 if config.gan_weight > 0 else 1       # of the discriminator's minibatch standard deviation
        self.data: ImageSet | Pictures | None = None
        if config.real > 0 or config.real_edits > 0 or config.images:
            self.data = training_pictures(config, resolution, self.group)
        self.features = perceptual(config, device, dtype)
        self.readers: AttributeEnsemble | None = None
        if config.attribute_weight > 0:
            self.readers = AttributeEnsemble(self.features, config.more_attributes, device, dtype,
                                             config.edit_gains)
        self.R = Rectifier(rectifier_widths(resolution, **{name: getattr(config, name) for name in OF_NETWORK}))
        init_from(self.R, config.init_from, "rectifier")
        self.R.to(device, memory_format=torch.channels_last)
        self.R.compute_dtype = dtype
        self.average = make_average(self.R)
        self.modules = {"R": self.R, "average": self.average}
        self.optimizers = {"R": adam(self.R, config)}
        self.D: Discriminator | None = None
        if config.gan_weight > 0:
            widths = config.d_channels
            if widths == RectifierStageConfig.d_channels:        # the default fits every resolution
                widths = (*widths, 16)[:resolution.bit_length() - 2]
            self.D = Discriminator(DiscriminatorConfig(resolution, widths))
            self.D.to(device, memory_format=torch.channels_last).dtype = dtype
            self.modules["D"] = self.D
            self.optimizers["D"] = adam(self.D, config, config.r1_interval)

    # One step ------------------------------------------------------------------------------------------------

    def step(self, seen: int) -> dict[str, Tensor]:
        config = self.config
        adversarial = self.D is not None and seen >= config.gan_start_kimg * 1000
        painted: list[Tensor] = []
        with timed(self, "Phase I"):
            triplets = self.triplets(seen)
        terms_d: list[dict[str, Tensor]] = []
        terms: list[dict[str, Tensor]] = []
        out: dict[str, Tensor] = {}
        if adversarial:
            with timed(self, "D"):
                gradient = descend(self, "D", self.losses_d(seen, triplets, painted, terms_d))
            out = {**mean_terms(terms_d), "gradient_D": gradient}
            self.D.requires_grad_(False)
        with timed(self, "G"):
            out["gradient_R"] = descend(self, "R", self.losses_r(triplets, painted, terms, adversarial))
        if adversarial:
            self.D.requires_grad_(True)
        update_average(self.average, self.R, config.batch, config.ema_kimg, seen + config.batch)
        return {**mean_terms(terms), **out}

    def triplets(self, seen: int) -> list[Triplet]:
        """Fresh triplets of the step that starts at image number `seen`, one per micro-batch of this process."""
        config, found = self.config, []
        for rows in shares(config, group=self.group):
            draws = Draws(generator_at(config.seed, seen), config.batch, rows)
            found.append(Triplet(*(v.clone() if isinstance(v, Tensor) else v for v in self.triplet(draws, seen))))
        return found

    def losses_d(self, seen: int, triplets: list[Triplet], painted: list[Tensor],
                 terms: list[dict[str, Tensor]]) -> Iterator[Tensor]:
        """D sees I against its repainted version; a single micro-batch keeps that one's graph for R."""
        config = self.config
        for made in triplets:
            with torch.set_grad_enabled(len(triplets) == 1), timed(self, "G"):
                fake = self.repainted(self.R, made.primary, made.delta, made.flow)
            if len(triplets) == 1:
                painted.append(fake)
            loss = discriminator_loss(self.D(made.target), self.D(fake.detach()))
            terms.append({"D": loss.detach()})
            if (seen // config.batch) % config.r1_interval == 0:
                r1 = r1_penalty(self.D, made.target)
                loss, terms[-1]["r1"] = loss + r1 * (config.r1_gamma * 0.5 * config.r1_interval), r1.detach()
            yield loss

    def losses_r(self, triplets: list[Triplet], painted: list[Tensor], terms: list[dict[str, Tensor]],
                 adversarial: bool) -> Iterator[Tensor]:
        """L1 + perceptual + adversarial, per micro-batch."""
        for made in triplets:
            picture = painted.pop() if painted else self.repainted(self.R, made.primary, made.delta, made.flow)
            loss, found = (self.triplet_loss if made.inversion is None else self.edit_loss)(made, picture)
            if adversarial:
                found["G"] = generator_loss(self.D(picture))
                loss = loss + self.config.gan_weight * found["G"]
            terms.append({k: v.detach() for k, v in found.items()})
            yield loss

    def triplet_loss(self, made: Triplet, picture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """How far a repainted picture is from I; its terms."""
        config, error = self.config, picture - made.target
        l1, mse = error.abs().mean(), error.square().mean()
        found = {"l1": l1, "l2": mse, f"l1_t{made.number}": l1, **self.compared(picture, made.target)}
        loss = config.l1_weight * l1 + config.l2_weight * mse + config.perceptual_weight * found["perceptual"]
        if "attribute" in found:
            loss = loss + config.attribute_weight * found["attribute"]
        if made.region is not None:
            found["changed"] = regional_mean(error.abs(), made.region)
            loss = loss + config.changed_weight * found["changed"]
        return loss, found

    def edit_loss(self, made: Triplet, picture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Triplet 5: the edit is read in it, and where the edit changes nothing, it is the picture. What is seen behind
        an object that is put on is known better from the picture than from the generator: there, the difference pasted,
        or the share of it that such an object lets through, is the answer."""
        config, on = self.config, made.put_on
        read = self.readers.edit_error(picture, made.target, made.inversion, made.primary)
        rest = ((picture - made.target).abs() * (1 - made.region)).mean()
        pasted = (made.primary + config.behind_share * (made.target - made.inversion)).clamp(-1, 1)
        behind = regional_mean((picture - pasted).abs()[on], made.region[on]) if on.any() else read.new_zeros(())
        return (config.attribute_weight * read + config.l1_weight * rest + config.behind_weight * behind,
                {"kept": read, "rest": rest, "behind": behind})

    def compared(self, picture: Tensor, target: Tensor) -> dict[str, Tensor]:
        """How differently the loss network sees two pictures: its features, and what is read where that counts."""
        if self.readers is None:
            return {"perceptual": self.features.distance(picture, target).mean()}
        distance, read = self.readers.compared(picture, target)
        return {"perceptual": distance.mean(), "attribute": read}

    def repainted(self, network: Rectifier, primary: Tensor, delta: Tensor, flow: Tensor | None = None) -> Tensor:
        """The network's picture; without a flow nothing has moved. An ablation keeps the inversion away from E_p."""
        if flow is None and network.needs_inversion:
            flow = primary.new_zeros(len(primary), 2, *primary.shape[-2:])
        return network(primary if self.config.primary_input == "inversion" else torch.zeros_like(primary), delta,
                       flow=flow)

    # Looking at it -------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def repaint(self, images: Tensor, edits: dict[str, float]) -> dict[str, Tensor]:
        """Inference on pictures [B,3,R,R]: X^, X_r, Y^, Y_r, all clamped."""
        codes = self.E(images)
        x_hat, y_hat = self.synthesize(torch.cat([codes, self.editors[0].edit(codes, edits)])).chunk(2)
        delta = self.seen_by_delta_encoder(images, x_hat)
        flow = estimate_flow(x_hat, y_hat) if self.config.carry_channels else None
        return {"inversion": x_hat, "reconstruction": self.repainted(self.average, x_hat, delta).clamp(-1, 1),
                "edited": y_hat, "rectified": self.repainted(self.average, y_hat, delta, flow).clamp(-1, 1)}

    @property
    def is_portraits(self) -> bool:
        """Whether the exact answer to an edit is known: the loss network reads the portraits' own attributes."""
        names = getattr(getattr(getattr(self.features, "net", None), "config", None), "numeric", ())
        return not self.config.images and "yaw" in names and any(c.name == "yaw" for c in self.editors[0].controls)

    def look(self, count: int) -> tuple[Tensor, Tensor | None, dict[str, float]]:
        """Pictures to look at, the exact answers where they are known, and the edit."""
        if self.is_portraits:
            return *self.held_out(max(count // 6, 1)), {"yaw": 15.0}
        control = next((c for c in self.editors[0].controls if c.kind == "numeric"), self.editors[0].controls[0])
        edit = {control.name: 0.25 * (control.maximum - control.minimum)}
        if self.data is not None:
            return self.data.batch(first(self.data, count)).to(self.config.device), None, edit
        z = torch.randn(count, self.G.z_dim, generator=generator_at(1, 0, "look")).to(self.config.device)
        return torch.cat([self.synthesize(self.G.mapping(part)) for part in z.split(8)]), None, edit

    def held_out(self, per_kind: int) -> tuple[Tensor, Tensor]:
        """Portraits without and with each long-tail item, and the same turned by 15 degrees."""
        groups = [(), *((item,) for item in portraits.ITEMS)]
        people = portraits.concat([portraits.sample(per_kind, VALIDATION_SEED + 1000 * i, items=items)
                                   for i, items in enumerate(groups)])
        pictures = [portraits.render(p, self.resolution).to(self.config.device)
                    for p in (people, portraits.edit(people, {"yaw": 15.0}))]
        return pictures[0], pictures[1]

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """L2 of the reconstruction, and on portraits of yaw +15 against the exact answer."""
        images, exact, edit = self.look(120 if self.is_portraits else 32)
        p = [self.repaint(x, edit) for x in images.split(20 if self.is_portraits else 4)]
        pictures = {k: torch.cat([part[k] for part in p]) for k in p[0]}
        truth = {"inversion": images, "reconstruction": images, "edited": exact, "rectified": exact}
        return {f"l2_{k}": float(l2(v, truth[k]).mean()) for k, v in pictures.items() if truth[k] is not None}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        images, exact, edit = self.look(12 if self.is_portraits else 8)
        p = self.repaint(images, edit)
        columns = [images, p["inversion"], p["reconstruction"], p["edited"], p["rectified"]]
        titles = ["X0", "X^", "X_r", "Y^ " + " ".join(f"{k} {v:+g}" for k, v in edit.items()), "Y_r"]
        if exact is not None:
            columns, titles = [*columns, exact], [*titles, "exact answer"]
        grid(compared(columns), len(columns), titles).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        save_checkpoint(path, "rectifier", describe(self.average), dict(self.average.state_dict()),
                        {**provenance, "fingerprints": self.fingerprints()}, dtype=torch.float16)

    def fingerprints(self) -> dict[str, str]:
        """Of the networks that it is trained with."""
        return {"generator": self.G.fingerprint, "encoder": self.E.fingerprint,
                "editor": "+".join(str(editor.fingerprint) for editor in self.editors)}
