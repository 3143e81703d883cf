"""How good an editor in training is: figures on held-out codes, and a sheet of sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from reganie_core import portraits
from reganie_core.sheets import contact_sheet

from ..loop.randomness import generator_at

if TYPE_CHECKING:
    from .editor import EditorStage

CHUNK = 64
SWEEP = 5
PEOPLE = 3


def held_out_codes(stage: EditorStage, count: int) -> Tensor:
    """[2 count,num_ws,w_dim]: of the mapping, then of encoded portraits; without an encoder only the first half."""
    config, device = stage.config, stage.config.device
    z = torch.randn(count, stage.G.z_dim, generator=generator_at(1, 0, "validate")).to(device)
    codes = [stage.G.mapping(z)]
    if stage.data is not None:
        people = portraits.sample(count, config.held_out_seed)
        pictures = portraits.render(people, stage.G.resolution)
        codes += [stage.E(part.to(device)).float() for part in pictures.split(CHUNK)]
    elif stage.E is not None:
        codes += [stage.E(stage.synthesize(part)).float() for part in codes[0].split(CHUNK)]
    return torch.cat(codes)


class Reader:
    """The controls' values in pictures, by the judge if there is one."""

    def __init__(self, stage: EditorStage) -> None:
        self.stage, self.read = stage, stage.judge.read

    def __call__(self, codes: Tensor) -> Tensor:
        """[B,K] in units, on the CPU; binary controls as probabilities."""
        found = [self.read(self.stage.synthesize(part)) for part in codes.split(CHUNK)]
        return torch.cat([torch.stack([values[name] for name in self.stage.names], dim=1) for values in found]).cpu()


def edited(stage: EditorStage, codes: Tensor, active: Tensor, target: Tensor) -> Tensor:
    """Codes after asking for absolute values where `active`; binary targets are 0 and 1. All tensors [B,...]."""
    net = stage.average
    active, target = active.to(codes.device), target.to(codes.device)
    parts = []
    for ws, asked, goal in zip(codes.split(CHUNK), active.split(CHUNK), target.split(CHUNK), strict=True):
        change = torch.where(net.binary, 2 * goal - 1, goal - net.read(ws))
        parts.append(stage.editor().change(ws, change * asked))
    return torch.cat(parts)


def line(asked: Tensor, achieved: Tensor) -> tuple[float, float]:
    """Correlation, and slope of the achieved value over the asked one."""
    x, y = asked - asked.mean(), achieved - achieved.mean()
    product = (x * y).sum()
    return float(product / (x.norm() * y.norm()).clamp_min(1e-12)), float(product / x.square().sum().clamp_min(1e-12))


def measure(stage: EditorStage) -> dict[str, float]:
    """Held-out figures: `corr_X` and `slope_X` of achieved over asked absolute values for numeric controls, `flip_X`
    for binary ones, `monotone_X`, the share of steps of a sweep that go the right way, and `drift_X`, how far X moves
    as a share of its range when something else is edited; `multi_...` with as many edits at once as in training.
    """
    net, count = stage.average, len(stage.names)
    low, high = stage.ranges.ends.cpu().unbind(1)
    binary, wide = net.binary.cpu(), (high - low)
    reader, random = Reader(stage), generator_at(2, 0, "validate")
    codes = held_out_codes(stage, stage.config.held_out_count)
    now = reader(codes)
    out: dict[str, float] = {}
    drift = torch.zeros(count)

    def ask(active: Tensor) -> tuple[Tensor, Tensor]:
        uniform = low + torch.rand(now.shape, generator=random) * wide
        target = torch.where(binary, (now < 0.5).float(), uniform)
        return target, reader(edited(stage, codes, active, target))

    for k, name in enumerate(stage.names):
        active = torch.zeros_like(now, dtype=torch.bool)
        active[:, k] = True
        target, after = ask(active)
        out |= _scores("", name, bool(binary[k]), target[:, k], after[:, k])
        moved = (after - now).abs().mean(dim=0) / wide
        moved[k] = 0.0
        drift += moved / max(1, count - 1)
    out |= {f"drift_{name}": float(value) for name, value in zip(stage.names, drift, strict=True)}
    out |= _monotone(stage, codes, reader)
    return out | _several(stage, ask, now, wide, random)


def _scores(prefix: str, name: str, binary: bool, target: Tensor, after: Tensor) -> dict[str, float]:
    if binary:
        return {f"{prefix}flip_{name}": float(((after > 0.5) == (target > 0.5)).float().mean())}
    correlation, slope = line(target, after)
    return {f"{prefix}corr_{name}": correlation, f"{prefix}slope_{name}": slope}


def _monotone(stage: EditorStage, codes: Tensor, reader: Reader, people: int = 32) -> dict[str, float]:
    """`monotone_X` over changes from one end of the range to the other; a step that stands still counts as right."""
    editor, values = stage.editor(), torch.linspace(-1, 1, SWEEP)
    few = codes[torch.linspace(0, len(codes) - 1, min(people, len(codes))).long().to(codes.device)]
    many, out = few.repeat_interleave(SWEEP, dim=0), {}
    for k, (name, (low, high)) in enumerate(zip(stage.names, stage.ranges.ends.tolist(), strict=True)):
        amounts = torch.zeros(len(many), len(stage.names))
        amounts[:, k] = (values * (high - low)).repeat(len(few))
        found = reader(editor.change(many, amounts.to(many.device)))[:, k] / (high - low)
        found = rearrange(found, "(person step) -> person step", step=SWEEP)
        out[f"monotone_{name}"] = float((found.diff(dim=1) >= -0.01).float().mean())
    return out


def _several(stage: EditorStage, ask: object, now: Tensor, wide: Tensor, random: torch.Generator) -> dict[str, float]:
    """The same with several edits at once, over repeated draws of which."""
    many = min(stage.config.edits_per_sample, len(stage.names))
    if many < 2:
        return {}
    rounds = []
    for _ in range(max(2, len(stage.names) // many)):
        active = torch.rand(now.shape, generator=random).argsort(dim=1).argsort(dim=1) < many
        rounds.append((active, *ask(active)))       # type: ignore[operator]
    active, target, after = (torch.cat([r[i] for r in rounds]) for i in range(3))
    before = now.repeat(len(rounds), 1)
    out: dict[str, float] = {}
    for k, name in enumerate(stage.names):
        rows = active[:, k]
        out |= _scores("multi_", name, stage.net.config.kinds[k] == "binary", target[rows, k], after[rows, k])
    moved = ((after - before).abs() / wide)[~active]
    return out | {"multi_drift": float(moved.mean())}


def sheet(stage: EditorStage) -> Image.Image:
    """A row per control; for each person the picture and absolute values from one end of the range to the other."""
    codes = held_out_codes(stage, PEOPLE)[-PEOPLE:]
    low, high = stage.ranges.ends.cpu().unbind(1)
    steps = torch.linspace(0, 1, SWEEP)
    plain = stage.synthesize(codes).cpu()
    rows = []
    for k in range(len(stage.names)):
        many = codes.repeat_interleave(SWEEP, dim=0)
        active = torch.zeros(len(many), len(stage.names), dtype=torch.bool)
        active[:, k] = True
        # A binary control runs from off over "as it is" to on.
        target = (low[k] + steps * (high - low)[k]).repeat(PEOPLE)[:, None].expand(-1, len(stage.names))
        pictures = stage.synthesize(edited(stage, many, active, target)).cpu().unflatten(0, (PEOPLE, SWEEP))
        rows.append([picture for person in range(PEOPLE) for picture in (plain[person], *pictures[person])])
    titles = [title for _ in range(PEOPLE) for title in ("code", *(f"{float(s):.0%}" for s in steps))]
    return contact_sheet(rows, titles, list(stage.names), cell=96, gap=4)
