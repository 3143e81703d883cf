"""The StyleCLIP stage: `mode=global` measures a generator's style channels for text edits, `mode=mapper` trains a
mapper for one prompt (Patashnik et al. 2021).

Global: nothing is learned. The work is a fixed sequence of pictures (see `reganie_core.editing.styleclip.gather`), so
`total_kimg` follows from the generator; a run can be stopped and resumed anywhere and ends with the same file. The
text encoder is copied beside the result, where the loader looks for it.

Mapper: L = 1 - cos(picture, text) + l2 |w - w'|^2 + identity (1 - cos(identities)), on codes of the generator.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core import networks
from reganie_core.checkpoints import load_generator, save_checkpoint
from reganie_core.editing.styleclip import ENCODER_FILE, Gatherer, StyleCLIPEditor
from reganie_core.errors import InputError
from reganie_core.images import area_downsample
from reganie_core.latents import Latent, synthesize
from reganie_core.networks.mapper import STEP
from reganie_core.paths import atomic_write
from reganie_core.text import load_text_encoder, text_embedding

from ..frozen import load_identity
from ..loop.config import StageConfig, option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, init_from
from ..loop.randomness import generator_at
from ..sheets import grid

MODES = ("global", "mapper")
METHOD = "least_squares"         # of the editor
SHEET_TEXTS = ("a smiling person", "an old person", "a person with glasses", "a person with blond hair")


NEUTRAL = "a person"             # the text that global edits start from
L2_WEIGHT, IDENTITY_WEIGHT = 0.8, 0.1
HELD_OUT = 100                   # codes that nothing is measured or trained on
HELD_OUT_SEED = 500_000_000


@dataclass
class StyleCLIPStageConfig(StageConfig):
    mode: str = option("global", "global: channels for every text; mapper: a network for one")
    generator: str = option("runs/generator/generator.safetensors", "the frozen generator: ours, .pkl or .pt")
    text_encoder: str = option("runs/text/text_image.safetensors", "ours, or a folder with CLIP's files")
    batch: int = 256
    total_kimg: float = option(0.0, "global: follows from the generator; mapper: give it")
    pictures: int = option(64, "global: pictures per channel")
    samples: int = option(4096, "global: pictures among which those are looked for that a text describes")
    step: float = option(2.0, "global: how far a channel is moved, in its standard deviations; the paper: 5")
    prompt: str = option("", "mapper: the text")
    identity: str = option("", "mapper: network of the identity loss; empty: none")
    lr: float = option(0.1, "mapper: its layers learn at a hundredth of it")
    beta1: float = 0.9

    def validate(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode is one of {', '.join(MODES)}; found {self.mode!r}.")
        if self.mode == "global":
            if self.batch % 2 or self.samples % 2:
                raise InputError(f"batch ({self.batch}) and samples ({self.samples}) must be even: channels are "
                                 "lowered and raised in pairs.")
            self.total_kimg = self.total_kimg or 1.0         # replaced when the generator is known
        elif not self.prompt.strip():
            raise InputError("mode=mapper trains for one prompt: add for example prompt=\"a smiling person\".")
        super().validate()


class StyleCLIPStage:
    config_class = StyleCLIPStageConfig
    kind = "styleclip"

    def __init__(self, config: StyleCLIPStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.G = load_generator(config.generator, config.device)
        self.encoder = load_text_encoder(config.text_encoder, config.device)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        if config.mode == "global":
            self.gatherer = Gatherer(self.G, self.encoder, config.pictures, config.samples, config.step, config.seed)
            self.modules: dict[str, nn.Module] = {"gatherer": self.gatherer}
            config.total_kimg = self.gatherer.total / 1000
        else:
            self._prepare_mapper()

    def _prepare_mapper(self) -> None:
        config = self.config
        self.mapper = networks.build("styleclip", {"type": "LevelsMapper", "w_dim": self.G.w_dim}).to(config.device)
        init_from(self.mapper, config.init_from, "styleclip")
        self.average = make_average(self.mapper)
        self.identity = load_identity(config.identity, config.device) if config.identity else None
        self.goal = text_embedding(self.encoder, config.prompt)
        self.modules = {"mapper": self.mapper, "average": self.average}
        self.optimizers = {"mapper": adam(self.mapper, config)}

    def codes(self, count: int, random: torch.Generator) -> Tensor:
        """[count,num_ws,w_dim] of the generator."""
        with torch.no_grad():
            return self.G.mapping(torch.randn(count, self.G.z_dim, generator=random).to(self.config.device))

    def step(self, seen: int) -> dict[str, Tensor | float]:
        config = self.config
        if config.mode == "global":
            self.gatherer.run(seen, seen + config.batch)
            return {"done": min((seen + config.batch) / self.gatherer.total, 1.0)}
        ws = self.codes(config.batch, generator_at(config.seed, seen))
        residual = STEP * self.mapper(ws)
        pictures = self.G.synthesis(ws + residual).float().clamp(-1, 1)
        show = getattr(self.encoder, "encode_published", self.encoder.encode_image)
        terms = {"text": 1.0 - (show(pictures) @ self.goal).mean(),
                 "l2": residual.square().sum(dim=(1, 2)).mean()}
        loss = terms["text"] + L2_WEIGHT * terms["l2"]
        if self.identity is not None:
            with torch.no_grad():
                before = self._who(self.G.synthesis(ws).float().clamp(-1, 1))
            terms["identity"] = 1.0 - (self._who(pictures) * before).sum(dim=1).mean()
            loss = loss + IDENTITY_WEIGHT * terms["identity"]
        norm = descend(self, "mapper", loss)
        update_average(self.average, self.mapper, config.batch, config.ema_kimg, seen + config.batch)
        return {**{name: value.detach() for name, value in terms.items()}, "gradient": norm}

    def _who(self, pictures: Tensor) -> Tensor:
        return self.identity(area_downsample(pictures, self.identity.config.resolution))

    def editor(self) -> StyleCLIPEditor:
        """The text editor of the statistics gathered so far."""
        return StyleCLIPEditor(self.gatherer.statistics(), self.encoder, method=METHOD, neutral=NEUTRAL, strength=1.0,
                               threshold=0.0)

    def held_out(self) -> Latent:
        """Codes that nothing was measured or trained on."""
        return Latent(self.codes(HELD_OUT, generator_at(HELD_OUT_SEED, 0)))

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Mapper: how well pictures fit the prompt."""
        if self.config.mode == "global":
            return {}
        ws = self.held_out().ws
        pictures = synthesize(self.G, Latent(ws + STEP * self.average(ws)))
        return {"similarity": float((self.encoder.encode_image(pictures) @ self.goal).mean())}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        """Six pictures; below them what some prompts, or the mapper, make of them."""
        latent = Latent(self.codes(6, generator_at(HELD_OUT_SEED, 1)))
        rows = [synthesize(self.G, latent)]
        if self.config.mode == "mapper":
            rows.append(synthesize(self.G, latent.with_ws(latent.ws + STEP * self.average(latent.ws))))
        elif bool(self.gatherer.direction_sum[-1].any()):          # complete
            editor = self.editor()
            rows += [synthesize(self.G, editor.edit_text(latent, prompt)) for prompt in SHEET_TEXTS]
        grid(torch.cat(rows).cpu(), columns=6).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        config = self.config
        prints = {"generator": self.G.fingerprint, "text_encoder": self.encoder.fingerprint}
        provenance = {**provenance, "fingerprints": prints}
        if config.mode == "mapper":
            described = {"mode": "mapper", "prompt": config.prompt, **networks.describe(self.mapper)}
            save_checkpoint(path, self.kind, described, dict(self.average.state_dict()), provenance)
            return
        statistics = self.gatherer.statistics()
        tensors = {name: getattr(statistics, name) for name in ("directions", "mean", "std", "response", "embeddings")}
        described = {"mode": "global", "widths": list(statistics.widths), "method": METHOD,
                     "neutral": NEUTRAL, "strength": 1.0, "threshold": 0.0}
        if Path(config.text_encoder).is_file():
            described["text_encoder"] = ENCODER_FILE
            if Path(config.text_encoder).resolve() != (path.parent / ENCODER_FILE).resolve():
                with atomic_write(path.parent / ENCODER_FILE) as temporary:
                    shutil.copyfile(config.text_encoder, temporary)
        else:
            described["text_encoder"] = "clip"                # a folder of that name beside the file
        save_checkpoint(path, self.kind, described, tensors, provenance)
