"""The directions stage: linear edit directions learned from labels (InterfaceGAN-type, Shen et al. 2020).

Codes are regressed on all labels at once: w = w_0 + B a + noise. Column B_k is how the code changes on average per
unit of attribute k while the others stay, so a direction comes in the attribute's own unit and already disentangled
from what merely correlates with it in the data (InterfaceGAN's conditional projection does that afterwards).

The encoder explains only a part of each attribute, which shrinks the regression; so every direction is scaled
afterwards until an attribute network reads one unit from the picture where one unit was asked for (`calibrate`).

Sources of (code, labels): `images` inverts labelled training pictures; `generated` samples the generator and reads
labels with an attribute network, which needs no labelled pictures.

`method=sefa` and `method=ganspace` find unnamed directions instead, from the weights or the codes alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint
from reganie_core.editing.conditional import conditional_directions
from reganie_core.errors import InputError

from ..data.image_set import portraits_set
from ..frozen import load_attributes
from ..loop.config import StageConfig
from ..loop.randomness import generator_at
from ..sheets import grid
from .found_directions import METHODS, find_directions, plain_controls


@dataclass
class DirectionsStageConfig(StageConfig):
    batch: int = 100
    total_kimg: float = 8.0                 # samples to regress on
    source: str = "generated"               # images | generated
    generator: str = "runs/generator/generator.safetensors"
    encoder: str = "runs/encoder/encoder.safetensors"
    attributes: str = "runs/attributes/attributes.safetensors"
    controls: tuple[str, ...] = ("yaw", "pitch", "smile", "age", "glasses", "eye_openness", "beard", "hair_length")
    layers: str = "one"                     # one: the same change for every layer (W); each: per layer (W+)
    ridge: float = 1e-3
    calibrate: bool = True                  # scale to the change that the attribute network reads
    calibration_step: float = 0.2           # change to read, as a share of the control's range
    data: str = "runs/data"
    data_count: int = 20000
    data_seed: int = 0
    holding: dict[str, list[str]] = field(default_factory=dict)   # control -> others projected out of its direction
    method: str = "regression"              # regression | sefa | ganspace
    count: int = 10                         # sefa, ganspace: directions to find
    rows: str = "all"                       # sefa, ganspace: rows of W+ they move, for example 0-3
    samples: int = 100_000                  # ganspace: codes

    def validate(self) -> None:
        super().validate()
        if self.method not in METHODS:
            raise InputError(f"method is one of {', '.join(METHODS)}; found {self.method!r}.")
        if self.source not in ("images", "generated") or self.layers not in ("one", "each"):
            raise InputError(f"source is images or generated, layers is one or each; found {self.source!r} and "
                             f"{self.layers!r}.")


class DirectionsStage:
    """Gathers one batch of (codes, labels) per step; the regression happens at export."""

    config_class = DirectionsStageConfig
    kind = "directions"

    def __init__(self, config: DirectionsStageConfig) -> None:
        self.config = config
        self.G = load_generator(config.generator, config.device)
        labelled = config.method == "regression"
        inverting = labelled and config.source == "images"
        self.E = load_encoder(config.encoder, config.device) if inverting else None
        self.reader = load_attributes(config.attributes, config.device) if labelled else None
        self.data = portraits_set(config.data, config.data_count, self.G.resolution, config.data_seed) \
            if inverting else None
        if not labelled:
            config.total_kimg = config.batch / 1000         # nothing is gathered
        self.moments = Moments(self.G.num_ws * self.G.w_dim)
        self.modules = {"moments": self.moments}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.names: tuple[str, ...] = tuple(c.name for c in portraits.CONTROLS)

    def samples(self, count: int, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Codes [count,num_ws,w_dim] and labels {name: [count]} from the configured source."""
        device = self.config.device
        if self.data is not None:
            indices = torch.randint(len(self.data), (count,), generator=random)
            mirror = torch.rand(count, generator=random) < 0.5
            return self.E(self.data.batch(indices, mirror).to(device)), self.data.label_batch(indices, mirror)
        codes = self.G.mapping(torch.randn(count, self.G.z_dim, generator=random).to(device))
        return codes, self.reader.read(self.G.synthesis(codes).clamp(-1, 1))

    @torch.inference_mode()
    def step(self, seen: int) -> dict[str, float]:
        if self.config.method != "regression":
            return {}
        codes, labels = self.samples(self.config.batch, generator_at(self.config.seed, seen))
        table = torch.stack([labels[name].float().cpu() for name in self.names], dim=1)
        self.moments.add(codes.flatten(1).cpu(), table)
        return {"samples": float(self.moments.count)}

    def directions(self) -> dict[str, Tensor]:
        """{control: [num_ws or 1, w_dim]}, change of the code per one unit."""
        config = self.config
        if config.method != "regression":
            return find_directions(config.method, self.G, config.count, config.rows, config.samples, config.seed)
        fitted = conditional_directions(self.fitted(), config.holding)
        return self.calibrated(fitted) if self.config.calibrate else fitted

    @torch.inference_mode()
    def calibrated(self, directions: dict[str, Tensor], rounds: int = 3) -> dict[str, Tensor]:
        """Every direction times the factor, 1/4 to 4, that makes the read change equal the asked one."""
        codes, _ = self.samples(64, generator_at(self.config.seed, 0, "calibration"))
        controls = {c.name: c for c in portraits.CONTROLS}
        out = {}
        for name, direction in directions.items():
            control, factor = controls[name], 1.0
            step = (control.maximum - control.minimum) * self.config.calibration_step
            for _ in range(rounds):
                shift = direction.to(codes.device) * (factor * step)
                ends = [self.reader.read(self.G.synthesis(codes + s).clamp(-1, 1))[name] for s in (shift, -shift)]
                gain = float((ends[0] - ends[1]).mean()) / (2 * step)
                factor = min(max(factor / max(gain, 0.05), 0.25), 4.0)
            out[name] = direction * factor
        return out

    def fitted(self) -> dict[str, Tensor]:
        """The regression's own directions."""
        slopes = self.moments.slopes(self.config.ridge).view(-1, self.G.num_ws, self.G.w_dim)
        if self.config.layers == "one":
            slopes = slopes.mean(dim=1, keepdim=True)
        return {name: slopes[self.names.index(name)].float().contiguous() for name in self.config.controls}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        if self.config.method == "regression" and self.moments.count < 2 * len(self.names):
            return
        ws = self.G.mapping(torch.randn(1, self.G.z_dim, generator=generator_at(3, 0)).to(self.config.device))
        controls = {c.name: c for c in portraits.CONTROLS}
        rows = []
        for name, direction in self.directions().items():
            width = controls[name].maximum - controls[name].minimum if name in controls else 6.0
            shifts = torch.linspace(-0.5, 0.5, 7)[:, None, None] * width * direction.cpu()
            rows.append(self.G.synthesis(ws + shifts.to(ws)).clamp(-1, 1))
        grid(torch.cat(rows).cpu(), columns=7).save(path)

    def validate(self) -> dict[str, float]:
        return {}

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        found = {c.name: c for c in portraits.CONTROLS}
        controls = [{"name": n, "kind": found[n].kind, "unit": found[n].unit, "default": found[n].default,
                     "minimum": found[n].minimum, "maximum": found[n].maximum, "description": found[n].description}
                    for n in self.config.controls] if self.config.method == "regression" else None
        provenance = {**provenance, "fingerprints": {"generator": self.G.fingerprint}}
        directions = self.directions()
        if controls is None:
            controls = plain_controls(self.config.method, list(directions))
        tensors = {f"direction.{name}": d for name, d in directions.items()}
        save_checkpoint(path, "directions", {"controls": controls, "space": "w+"}, tensors, provenance)


class Moments(torch.nn.Module):
    """Running sums for a linear regression of codes on labels, in float64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        labels = len(portraits.CONTROLS)
        self.register_buffer("xx", torch.zeros(labels + 1, labels + 1, dtype=torch.float64))
        self.register_buffer("xy", torch.zeros(labels + 1, width, dtype=torch.float64))

    @property
    def count(self) -> int:
        return int(self.xx[-1, -1])

    def add(self, codes: Tensor, labels: Tensor) -> None:
        x = torch.cat([labels.double(), torch.ones(len(labels), 1, dtype=torch.float64)], dim=1)
        self.xx += x.t() @ x
        self.xy += x.t() @ codes.double()

    def slopes(self, ridge: float) -> Tensor:
        """[labels, width]: least squares with an intercept; the ridge is relative to each label's variance."""
        n = self.xx[-1, -1]
        mean_x, mean_y = self.xx[-1, :-1] / n, self.xy[-1] / n
        cov = self.xx[:-1, :-1] / n - torch.outer(mean_x, mean_x)
        cross = self.xy[:-1] / n - torch.outer(mean_x, mean_y)
        return torch.linalg.solve(cov + ridge * torch.diag(cov.diagonal() + 1e-12), cross)
