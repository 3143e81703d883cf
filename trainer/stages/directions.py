"""The directions stage: linear edit directions learned from labels (InterfaceGAN-type, Shen et al. 2020).

Codes are regressed on all labels at once: w = w_0 + B a + noise. Column B_k is how the code changes on average per
unit of attribute k while the others stay, so a direction comes in the attribute's own unit and already disentangled
from what merely correlates with it in the data (InterfaceGAN's conditional projection does that afterwards).

Codes and pictures are the generator's own, and an attribute network reads the labels. The codes explain only a part of
each attribute, which shrinks the regression; so every direction is scaled afterwards until the attribute network reads
one unit from the picture where one unit was asked for.

`method=sefa` and `method=ganspace` find unnamed directions instead, from the weights or the codes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core.checkpoints import load_generator, save_checkpoint
from reganie_core.editing import Control
from reganie_core.errors import InputError

from ..data.renderer import known_controls
from ..frozen import load_attributes
from ..loop.config import StageConfig, option
from ..loop.randomness import generator_at
from ..sheets import grid
from .found_directions import METHODS, find_directions, plain_controls

RIDGE = 1e-3                 # relative to each label's variance
CALIBRATION_STEP = 0.2       # change to read, as a share of the control's range
CALIBRATION_ROUNDS = 3


@dataclass
class DirectionsStageConfig(StageConfig):
    batch: int = 100
    total_kimg: float = option(8.0, "thousands of samples to regress on")
    method: str = option("regression", f"one of {', '.join(METHODS)}")
    generator: str = option("runs/generator/generator.safetensors", "the frozen generator: ours, .pkl or .pt")
    attributes: str = option("runs/attributes/attributes.safetensors", "regression: network that reads the labels")
    controls: tuple[str, ...] = option((), "regression: attributes to find; empty: all that the network reads")
    count: int = option(10, "sefa, ganspace: directions to find")
    rows: str = option("all", "sefa, ganspace: rows of W+ they move, for example 0-3")

    def validate(self) -> None:
        super().validate()
        if self.method not in METHODS:
            raise InputError(f"method is one of {', '.join(METHODS)}; found {self.method!r}.")


class DirectionsStage:
    """Gathers one batch of (codes, labels) per step; the regression happens at export."""

    config_class = DirectionsStageConfig
    config: DirectionsStageConfig
    kind = "directions"

    def __init__(self, config: DirectionsStageConfig) -> None:
        self.config = config
        self.G = load_generator(config.generator, config.device)
        self.labelled = config.method == "regression"
        self.reader = load_attributes(config.attributes, config.device) if self.labelled else None
        self.controls = self.read_controls() if self.reader is not None else {}
        if unknown := sorted(set(config.controls) - set(self.controls)) if self.labelled else []:
            raise InputError(f"The attribute network does not read {', '.join(unknown)}; it reads "
                             f"{', '.join(self.controls)}.")
        if not self.labelled:
            config.total_kimg = config.batch / 1000         # nothing is gathered
        self.moments = Moments(len(self.controls), self.G.num_ws * self.G.w_dim)
        self.modules = {"moments": self.moments}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    def read_controls(self) -> dict[str, Control]:
        """Name -> control of all that the attribute network reads, with a renderer's units where it knows them."""
        reads, known = self.reader.net.config, known_controls()
        numeric = {name: Control(name, "numeric", mean - 2 * std, mean + 2 * std, default=mean)
                   for name, mean, std in zip(reads.numeric, reads.mean, reads.std, strict=True)}
        found = numeric | {name: Control(name, "binary", 0.0, 1.0) for name in reads.binary}
        named = [name for name in known if name in found]
        return {name: known.get(name, found[name]) for name in (*named, *found)}

    def samples(self, count: int, random: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Codes [count,num_ws,w_dim] and labels {name: [count]}."""
        codes = self.G.mapping(torch.randn(count, self.G.z_dim, generator=random).to(self.config.device))
        return codes, self.reader.read(self.G.synthesis(codes).clamp(-1, 1))

    @torch.inference_mode()
    def step(self, seen: int) -> dict[str, float]:
        if not self.labelled:
            return {}
        codes, labels = self.samples(self.config.batch, generator_at(self.config.seed, seen))
        table = torch.stack([labels[name].float().cpu() for name in self.controls], dim=1)
        self.moments.add(codes.flatten(1).cpu(), table)
        return {"samples": float(self.moments.count)}

    def directions(self) -> dict[str, Tensor]:
        """{control: [num_ws,w_dim]}, change of the code per one unit."""
        config = self.config
        if self.labelled:
            return self.calibrated(self.fitted())
        return find_directions(config.method, self.G, config.count, config.rows, config.seed)

    def fitted(self) -> dict[str, Tensor]:
        """The regression's own directions."""
        slopes = self.moments.slopes(RIDGE).view(-1, self.G.num_ws, self.G.w_dim)
        names = list(self.controls)
        return {name: slopes[names.index(name)].float().contiguous() for name in self.config.controls or names}

    @torch.inference_mode()
    def calibrated(self, directions: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every direction times the factor, 1/4 to 4, that makes the read change equal the asked one."""
        codes, _ = self.samples(64, generator_at(self.config.seed, 0, "calibration"))
        out = {}
        for name, direction in directions.items():
            control, factor = self.controls[name], 1.0
            step = (control.maximum - control.minimum) * CALIBRATION_STEP
            for _ in range(CALIBRATION_ROUNDS):
                shift = direction.to(codes.device) * (factor * step)
                ends = [self.reader.read(self.G.synthesis(codes + s).clamp(-1, 1))[name] for s in (shift, -shift)]
                gain = float((ends[0] - ends[1]).mean()) / (2 * step)
                factor = min(max(factor / max(gain, 0.05), 0.25), 4.0)
            out[name] = direction * factor
        return out

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        if self.labelled and self.moments.count < 2 * len(self.controls):
            return
        ws = self.G.mapping(torch.randn(1, self.G.z_dim, generator=generator_at(3, 0)).to(self.config.device))
        rows = []
        for name, direction in self.directions().items():
            control = self.controls.get(name)
            width = control.maximum - control.minimum if control else 6.0
            shifts = torch.linspace(-0.5, 0.5, 7)[:, None, None] * width * direction.cpu()
            rows.append(self.G.synthesis(ws + shifts.to(ws)).clamp(-1, 1))
        grid(torch.cat(rows).cpu(), columns=7).save(path)

    def validate(self) -> dict[str, float]:
        return {}

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        directions = self.directions()
        controls = [_description(self.controls[name]) for name in directions] if self.labelled else \
            plain_controls(self.config.method, list(directions))
        provenance = {**provenance, "fingerprints": {"generator": self.G.fingerprint}}
        tensors = {f"direction.{name}": d for name, d in directions.items()}
        save_checkpoint(path, "directions", {"controls": controls, "space": "w+"}, tensors, provenance)


def _description(control: Control) -> dict[str, Any]:
    names = ("name", "kind", "unit", "default", "minimum", "maximum", "description")
    return {name: value for name, value in asdict(control).items() if name in names}


class Moments(torch.nn.Module):
    """Running sums for a linear regression of codes on labels, in float64."""

    def __init__(self, labels: int, width: int) -> None:
        super().__init__()
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
