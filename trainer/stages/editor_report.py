"""How good an editor in training is: figures on held-out codes, and a sheet of sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from reganie_core.editing.dystyle import DyStyleEditor
from reganie_core.networks.dystyle import DyStyle
from reganie_core.sheets import contact_sheet

from ..loop.randomness import generator_at
from .editor_requests import MOST_EDITS

__all__ = ["CHUNK", "PEOPLE", "TrainedEditor", "line", "measure", "sheet"]

CHUNK = 64
SWEEP = 5
PEOPLE = 3


@dataclass
class TrainedEditor:
    """An editor and what it is looked at with. ends [K,2]: the controls' ranges; read: attributes of pictures."""

    net: DyStyle
    editor: DyStyleEditor
    ends: Tensor
    synthesize: Callable[[Tensor], Tensor]
    read: Callable[[Tensor], Mapping[str, Tensor]]

    @property
    def names(self) -> tuple[str, ...]:
        return self.net.config.names

    def values(self, codes: Tensor) -> Tensor:
        """The controls' values in pictures of codes: [B,K] in units, on the CPU; binary ones as probabilities."""
        found = [self.read(self.synthesize(part)) for part in codes.split(CHUNK)]
        return torch.cat([torch.stack([values[name] for name in self.names], dim=1) for values in found]).cpu()


def edited(trained: TrainedEditor, codes: Tensor, active: Tensor, target: Tensor) -> Tensor:
    """Codes after asking for absolute values where `active`; binary targets are 0 and 1. All tensors [B,...]."""
    net = trained.net
    active, target = active.to(codes.device), target.to(codes.device)
    parts = []
    for ws, asked, goal in zip(codes.split(CHUNK), active.split(CHUNK), target.split(CHUNK), strict=True):
        change = torch.where(net.binary, 2 * goal - 1, goal - net.read(ws))
        parts.append(trained.editor.change(ws, change * asked))
    return torch.cat(parts)


def line(asked: Tensor, achieved: Tensor) -> tuple[float, float]:
    """Correlation, and slope of the achieved value over the asked one."""
    x, y = asked - asked.mean(), achieved - achieved.mean()
    product = (x * y).sum()
    return float(product / (x.norm() * y.norm()).clamp_min(1e-12)), float(product / x.square().sum().clamp_min(1e-12))


def measure(trained: TrainedEditor, codes: Tensor) -> dict[str, float]:
    """Figures on held-out codes [N,num_ws,w_dim].

    `corr_X` and `slope_X` of achieved over asked absolute values for numeric controls, `flip_X`
    for binary ones, `monotone_X`, the share of steps of a sweep that go the right way, and `drift_X`, how far X moves
    as a share of its range when something else is edited; `multi_...` with as many edits at once as in training.
    """
    net, count = trained.net, len(trained.names)
    low, high = trained.ends.unbind(1)
    binary, wide = net.binary.cpu(), (high - low)
    random = generator_at(2, 0, "validate")
    now = trained.values(codes)
    out: dict[str, float] = {}
    drift = torch.zeros(count)

    def ask(active: Tensor) -> tuple[Tensor, Tensor]:
        uniform = low + torch.rand(now.shape, generator=random) * wide
        target = torch.where(binary, (now < 0.5).float(), uniform)
        return target, trained.values(edited(trained, codes, active, target))

    for k, name in enumerate(trained.names):
        active = torch.zeros_like(now, dtype=torch.bool)
        active[:, k] = True
        target, after = ask(active)
        out |= _scores("", name, bool(binary[k]), target[:, k], after[:, k])
        change = (after - now).abs().mean(dim=0) / wide
        change[k] = 0.0
        drift += change / max(1, count - 1)
    out |= {f"drift_{name}": float(value) for name, value in zip(trained.names, drift, strict=True)}
    out |= _monotone(trained, codes)
    return out | _several(trained, ask, now, wide, random)


def _scores(prefix: str, name: str, binary: bool, target: Tensor, after: Tensor) -> dict[str, float]:
    if binary:
        return {f"{prefix}flip_{name}": float(((after > 0.5) == (target > 0.5)).float().mean())}
    correlation, slope = line(target, after)
    return {f"{prefix}corr_{name}": correlation, f"{prefix}slope_{name}": slope}


def _monotone(trained: TrainedEditor, codes: Tensor, people: int = 32) -> dict[str, float]:
    """`monotone_X` over changes from one end of the range to the other; a step that stands still counts as right."""
    editor, values = trained.editor, torch.linspace(-1, 1, SWEEP)
    few = codes[torch.linspace(0, len(codes) - 1, min(people, len(codes))).long().to(codes.device)]
    many, out = few.repeat_interleave(SWEEP, dim=0), {}
    for k, (name, (low, high)) in enumerate(zip(trained.names, trained.ends.tolist(), strict=True)):
        amounts = torch.zeros(len(many), len(trained.names))
        amounts[:, k] = (values * (high - low)).repeat(len(few))
        found = trained.values(editor.change(many, amounts.to(many.device)))[:, k] / (high - low)
        found = rearrange(found, "(person step) -> person step", step=SWEEP)
        out[f"monotone_{name}"] = float((found.diff(dim=1) >= -0.01).float().mean())
    return out


def _several(trained: TrainedEditor, ask: Callable[[Tensor], tuple[Tensor, Tensor]], now: Tensor, wide: Tensor,
             random: torch.Generator) -> dict[str, float]:
    """The same with several edits at once, over repeated draws of which."""
    many = min(MOST_EDITS, len(trained.names))
    if many < 2:
        return {}
    rounds = []
    for _ in range(max(2, len(trained.names) // many)):
        active = torch.rand(now.shape, generator=random).argsort(dim=1).argsort(dim=1) < many
        rounds.append((active, *ask(active)))
    active, target, after = (torch.cat([r[i] for r in rounds]) for i in range(3))
    before = now.repeat(len(rounds), 1)
    out: dict[str, float] = {}
    for k, name in enumerate(trained.names):
        rows = active[:, k]
        out |= _scores("multi_", name, trained.net.config.kinds[k] == "binary", target[rows, k], after[rows, k])
    change = ((after - before).abs() / wide)[~active]
    return out | {"multi_drift": float(change.mean())}


def sheet(trained: TrainedEditor, codes: Tensor) -> Image.Image:
    """A row per control; for each person of codes [PEOPLE,num_ws,w_dim] the picture, and absolute values from one end
    of the range to the other."""
    low, high = trained.ends.unbind(1)
    steps = torch.linspace(0, 1, SWEEP)
    plain = trained.synthesize(codes).cpu()
    rows = []
    for k in range(len(trained.names)):
        many = codes.repeat_interleave(SWEEP, dim=0)
        active = torch.zeros(len(many), len(trained.names), dtype=torch.bool)
        active[:, k] = True
        # A binary control runs from off over "as it is" to on.
        target = (low[k] + steps * (high - low)[k]).repeat(PEOPLE)[:, None].expand(-1, len(trained.names))
        pictures = trained.synthesize(edited(trained, many, active, target)).cpu().unflatten(0, (PEOPLE, SWEEP))
        rows.append([picture for person in range(PEOPLE) for picture in (plain[person], *pictures[person])])
    titles = [title for _ in range(PEOPLE) for title in ("code", *(f"{float(s):.0%}" for s in steps))]
    return contact_sheet(rows, titles, list(trained.names), cell=96, gap=4)
