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
from reganie_core.editing.styleclip import ENCODER_FILE, METHODS, Gatherer, StyleCLIPEditor
from reganie_core.errors import InputError
from reganie_core.images import area_downsample
from reganie_core.latents import Latent, synthesize
from reganie_core.networks.mapper import STEP
from reganie_core.paths import atomic_write
from reganie_core.portraits.captions import PROMPTS
from reganie_core.text import load_text_encoder, text_embedding

from ..evaluation.texts import text_table
from ..frozen import load_attributes, load_identity
from ..loop.config import StageConfig
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, init_from
from ..loop.randomness import generator_at
from ..sheets import grid

MODES = ("global", "mapper")


@dataclass
class StyleCLIPStageConfig(StageConfig):
    mode: str = "global"
    generator: str = "runs/generator/generator.safetensors"
    text_encoder: str = "runs/text/text_image.safetensors"   # or a folder with CLIP's files
    attributes: str = ""             # reads the table of prompts in validate(); empty: no table
    batch: int = 256
    total_kimg: float = 0.0          # global: follows from the generator; mapper: give it
    # global
    method: str = "least_squares"    # of the packaged editor: relevance (published) | least_squares
    images: int = 64                 # pictures per channel
    samples: int = 4096              # pictures among which those are looked for that a text describes
    step: float = 2.0                # how far a channel is moved, in its standard deviations (5 in the paper)
    neutral: str = "a person"
    strength: float = 1.0
    threshold: float = 0.0
    # mapper
    prompt: str = ""
    network: str = "LevelsMapper"    # LevelsMapper | SingleMapper
    identity: str = ""               # identity network; empty: no identity loss
    lr: float = 0.1                  # the mapper's layers learn at a hundredth of it
    beta1: float = 0.9
    l2_weight: float = 0.8
    identity_weight: float = 0.1
    held_out_count: int = 100
    held_out_seed: int = 500_000_000

    def validate(self) -> None:
        if self.mode not in MODES or self.method not in METHODS:
            raise InputError(f"mode is one of {', '.join(MODES)} and method one of {', '.join(METHODS)}; found "
                             f"{self.mode!r} and {self.method!r}.")
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
            self.gatherer = Gatherer(self.G, self.encoder, config.images, config.samples, config.step, config.seed)
            self.modules: dict[str, nn.Module] = {"gatherer": self.gatherer}
            config.total_kimg = self.gatherer.total / 1000
        else:
            self._prepare_mapper()

    def _prepare_mapper(self) -> None:
        config = self.config
        self.mapper = networks.build("styleclip", {"type": config.network, "w_dim": self.G.w_dim}).to(config.device)
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
        loss = terms["text"] + config.l2_weight * terms["l2"]
        if self.identity is not None:
            with torch.no_grad():
                before = self._who(self.G.synthesis(ws).float().clamp(-1, 1))
            terms["identity"] = 1.0 - (self._who(pictures) * before).sum(dim=1).mean()
            loss = loss + config.identity_weight * terms["identity"]
        norm = descend(self, "mapper", loss)
        update_average(self.average, self.mapper, config.batch, config.ema_kimg, seen + config.batch)
        return {**{name: value.detach() for name, value in terms.items()}, "gradient": norm}

    def _who(self, pictures: Tensor) -> Tensor:
        return self.identity(area_downsample(pictures, self.identity.config.resolution))

    def editor(self) -> StyleCLIPEditor:
        """The text editor of the statistics gathered so far."""
        config = self.config
        return StyleCLIPEditor(self.gatherer.statistics(), self.encoder, method=config.method, neutral=config.neutral,
                               strength=config.strength, threshold=config.threshold)

    def held_out(self) -> Latent:
        """Codes that nothing was measured or trained on."""
        return Latent(self.codes(self.config.held_out_count, generator_at(self.config.held_out_seed, 0)))

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Global, with an attribute network: the share of pictures moved the right way and the worst drift of other
        attributes, the mean over twenty prompts and the least good of them."""
        config = self.config
        if config.mode == "mapper":
            ws = self.held_out().ws
            pictures = synthesize(self.G, Latent(ws + STEP * self.average(ws)))
            return {"similarity": float((self.encoder.encode_image(pictures) @ self.goal).mean())}
        if not config.attributes:
            return {}
        rows = text_table(self.G, self.editor(), load_attributes(config.attributes, config.device).read,
                          self.held_out())
        count = len(rows)
        return {"right": sum(row["right"] for row in rows) / count, "least_right": min(row["right"] for row in rows),
                "drift": sum(row["worst_drift"] for row in rows) / count,
                "worst_drift": max(row["worst_drift"] for row in rows)}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        """Six portraits; below them what some prompts, or the mapper, make of them."""
        latent = Latent(self.codes(6, generator_at(self.config.held_out_seed, 1)))
        rows = [synthesize(self.G, latent)]
        if self.config.mode == "mapper":
            rows.append(synthesize(self.G, latent.with_ws(latent.ws + STEP * self.average(latent.ws))))
        elif bool(self.gatherer.direction_sum[-1].any()):          # complete
            editor = self.editor()
            rows += [synthesize(self.G, editor.edit_text(latent, prompt.target)) for prompt in PROMPTS[::3]]
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
        described = {"mode": "global", "widths": list(statistics.widths), "method": config.method,
                     "neutral": config.neutral, "strength": config.strength, "threshold": config.threshold}
        if Path(config.text_encoder).is_file():
            described["text_encoder"] = ENCODER_FILE
            if Path(config.text_encoder).resolve() != (path.parent / ENCODER_FILE).resolve():
                with atomic_write(path.parent / ENCODER_FILE) as temporary:
                    shutil.copyfile(config.text_encoder, temporary)
        else:
            described["text_encoder"] = "clip"                # a folder of that name beside the file
        save_checkpoint(path, self.kind, described, tensors, provenance)
