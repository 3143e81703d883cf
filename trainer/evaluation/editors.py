"""Does an editor do what it is asked, and only that? Requested values against what a network reads from Y^.

For every picture and attribute a value is drawn evenly from the trained range. An editor that reads codes itself is
asked for that value; linear directions only know changes and are given the distance from what the network reads in X^,
the best they could know. Binary attributes are asked to flip. Drift is mean |read(Y^) - read(X^)| as a share of the
attribute's range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.editing import Control
from reganie_core.editing.ranges import unlimited
from reganie_core.inversion.e4e import encode
from reganie_core.latents import synthesize

from .bench import Bench
from .people import IN_DOMAIN, held_out_people, private_generator
from .stats import correlation, slope

TOGETHER = (2, 3)
PARTS = ("dystyle", "directions")


def _wishes(controls: Sequence[Control], seed: int, rows: slice) -> dict[str, Tensor]:
    """{test: numbers [B,K] in 0..1, NaN where the attribute is not asked for}; row i depends on the seed and i only.

    Tests are the attributes one at a time, then two and three at once, drawn evenly.
    """
    k = len(controls)
    numbers, orders = [], []
    for i in range(rows.start, rows.stop):
        random = private_generator(seed, "wish", i)
        numbers.append(torch.rand(1 + len(TOGETHER), k, generator=random))
        orders.append(torch.stack([torch.randperm(k, generator=random) for _ in TOGETHER]))
    drawn, order = torch.stack(numbers), torch.stack(orders)
    nothing = torch.full_like(drawn[:, 0], torch.nan)
    wishes = {}
    for j, control in enumerate(controls):
        wishes[control.name] = nothing.clone()
        wishes[control.name][:, j] = drawn[:, 0, j]
    for t, count in enumerate(TOGETHER):
        if count < k:
            wishes[str(count)] = torch.where(order[:, t] < count, drawn[:, 1 + t], nothing)
    return wishes


def _targets(wish: Tensor, controls: Sequence[Control], before: Mapping[str, Tensor]) -> Tensor:
    """Requested values [B,K] in units: numeric evenly from the range, binary the opposite of what is there."""
    columns = []
    for j, c in enumerate(controls):
        value = c.minimum + (c.maximum - c.minimum) * wish[:, j]
        if c.kind == "binary":
            value = torch.where(wish[:, j].isnan(), wish[:, j], (before[c.name].cpu() <= 0.5).float())
        columns.append(value)
    return torch.stack(columns, 1)


def _edits(editor: Any, ws: Tensor, targets: Tensor, controls: Sequence[Control],
           before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Changes {name: [B]}, 0 where nothing is asked."""
    current = editor.read(ws) if hasattr(editor, "read") else before
    changes = {}
    for j, c in enumerate(controls):
        target = targets[:, j].to(ws)
        change = 2 * target - 1 if c.kind == "binary" else target - current[c.name].to(ws)
        if not bool(target.isnan().all()):
            changes[c.name] = torch.nan_to_num(change)
    return changes


def measure(bench: Bench, editors: Mapping[str, Any], controls: Sequence[Control], count: int) -> dict[str, np.ndarray]:
    """{"before": [N,A], "editor|test|after": [N,A], "test|wanted": [N,K]}; A attributes that are read."""
    people = held_out_people(2 * count, bench.seed, bench.validation)
    p = people.parameters[people.rows(IN_DOMAIN)]
    generator, encoder = bench.domain.generator, bench.domain.encoder

    def reads(latent: Any) -> dict[str, Tensor]:
        return bench.read(bench.small(synthesize(generator, latent, chunk=bench.batch)))

    def work(rows: slice) -> dict[str, Tensor]:
        latent = encode(generator, encoder, bench.render(p[rows]))
        before = reads(latent)
        out = {"before": torch.stack(list(before.values()), 1)}
        for test, wish in _wishes(controls, bench.seed, rows).items():
            out[f"{test}|wanted"] = targets = _targets(wish, controls, before)
            for name, editor in editors.items():
                edits = _edits(editor, latent.ws, targets, controls, before)
                with unlimited():           # from end to end of the range, for people beyond an end a little more
                    edited = editor.edit(latent.ws, edits)
                after = reads(latent.with_ws(edited))
                out[f"{name}|{test}|after"] = torch.stack(list(after.values()), 1)
        return out

    settings = {"seed": bench.seed, "controls": [c.to_dict() for c in controls], "editors": list(editors)}
    return bench.chunks.run("editor", settings, count, bench.chunk, work)


def _test(values: Mapping[str, np.ndarray], editor: str, test: str, controls: Sequence[Control],
          names: Sequence[str]) -> dict[str, Any]:
    """One test of one editor: {"r": {}, "slope": {}, "flips": {}, "drift": {attribute not asked: share of range}}."""
    before, after, wanted = values["before"], values[f"{editor}|{test}|after"], values[f"{test}|wanted"]
    own = {c.name: c for c in controls}
    spans = {c.name: c.maximum - c.minimum for c in (*portraits.CONTROLS, *controls)}
    result: dict[str, dict[str, float]] = {"r": {}, "slope": {}, "flips": {}, "drift": {}}
    for a, name in enumerate(names):
        asked = np.zeros(len(before), bool)
        if name in own:
            target = wanted[:, list(own).index(name)]
            asked = np.isfinite(target)
        if (~asked).sum() > 1 and name in spans:
            moved = np.abs(after[~asked, a] - before[~asked, a])
            result["drift"][name] = float(moved.mean() / spans[name])
        if asked.sum() < 3:
            continue
        if own[name].kind == "binary":
            result["flips"][name] = float(((after[asked, a] > 0.5) == (target[asked] > 0.5)).mean())
        else:
            result["r"][name] = correlation(target[asked], after[asked, a])
            result["slope"][name] = slope(target[asked], after[asked, a])
    return result


def _row(tests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several tests in one line: worst and mean figures."""
    r = [v for t in tests for v in t["r"].values()]
    slopes = [v for t in tests for v in t["slope"].values()]
    flips = [v for t in tests for v in t["flips"].values()]
    drifts = [(v, n) for t in tests for n, v in t["drift"].items()]
    row: dict[str, Any] = {}
    if r:
        row |= {"mean r": float(np.mean(r)), "lowest r": min(r), "lowest slope": min(slopes),
                "highest slope": max(slopes)}
    if flips:
        row["flips"] = float(np.mean(flips))
    if drifts:
        row |= {"mean drift": float(np.mean([v for v, _ in drifts])), "largest drift": max(drifts)[0],
                "drifts most": max(drifts)[1]}
    return row


def editor(bench: Bench, count: int, parts: Sequence[str] = ()) -> dict[str, Any]:
    """Every editor of the domain (or `parts`) on the same people, requests and evaluation network."""
    chosen = [part for part in parts or PARTS if parts or getattr(bench.domain, part) is not None]
    bench.domain.require(*(chosen or ("dystyle",)))
    editors = {part: getattr(bench.domain, part) for part in chosen}
    known = [{c.name for c in e.controls} for e in editors.values()]
    names = list(bench.read(torch.zeros(1, 3, bench.size, bench.size, device=bench.device)))
    controls = [c for c in next(iter(editors.values())).controls
                if c.name in names and all(c.name in k for k in known)]
    values = measure(bench, editors, controls, count)
    result: dict[str, Any] = {"editors": {}}
    for part in editors:
        singles = {c.name: _test(values, part, c.name, controls, names) for c in controls}
        several = {k: _test(values, part, str(k), controls, names) for k in TOGETHER if f"{k}|wanted" in values}
        attributes = {n: _row([t]) for n, t in singles.items()}
        together = {"one": _row(list(singles.values())), **{f"{k} at once": _row([t]) for k, t in several.items()}}
        result["editors"][part] = {"all": together["one"], "attributes": attributes, "together": together,
                                   "drift": {n: t["drift"] for n, t in singles.items()}}
    return result
