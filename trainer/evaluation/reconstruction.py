"""Reconstruction of held-out portraits (the paper's Table 1): X^, X_r and the trivial rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits

from .bench import SIMILARITIES, Bench, group_cells
from .methods import subset
from .people import IN_DOMAIN, People, Photos
from .stats import mean, ratio

GROUPS = ("all", IN_DOMAIN, "long-tail", *portraits.ITEMS)
X0, X_HAT, PASTED = "X0 unchanged", "X^ (light encoder)", "X^ + dX pasted"
RECTIFIED = "X_r (learned rectifier)"
PLAIN, OURS = "inversion: E, G", "inversion and rectifying: E, G, E_d, E_p, G_p"


def pictures(bench: Bench, people: People | Photos, rows: slice | list[int]) -> dict[str, Tensor]:
    """{row: [B,3,S,S]} for some people; the first row is the truth."""
    images = bench.pictures(people, rows)
    result = bench.edit(images)
    x0, x_hat, delta = bench.small(images), bench.small(result.inversion), bench.small(result.delta)
    indices = range(len(people))[rows] if isinstance(rows, slice) else rows
    shown = {X0: x0, X_HAT: x_hat, PASTED: (x_hat + delta).clamp(-1, 1), RECTIFIED: result.reconstruction}
    shown.update({label: plain for label, (_, plain) in bench.others(images, len(people), indices).items()})
    return {**shown, **bench.other_rectifiers(x_hat, x_hat, delta, x0)}


def measure(bench: Bench, people: People | Photos) -> dict[str, np.ndarray]:
    """{"row|metric": [N]}."""
    def work(rows: slice) -> dict[str, Tensor]:
        shown = pictures(bench, people, rows)
        truth = shown[X0]
        identity = bench.embed(truth)
        return {f"{name}|{metric}": values for name, picture in shown.items()
                for metric, values in bench.compare(picture, truth, identity).items()}
    who = [str(f) for f in people.files] if isinstance(people, Photos) else people.parameters.style
    settings = {"seed": bench.seed, "who": who, "groups": people.groups, "marks": bench.marks,
                "slow": bench.slow_count}
    return bench.chunks.run("reconstruction", settings, len(people), bench.chunk, work)


def gap_ratio(metric: str, above: np.ndarray, below: np.ndarray) -> dict[str, float]:
    """Distances as they are, similarities by their gap to 1."""
    if metric in SIMILARITIES:
        above, below = 1 - above, 1 - below
    return ratio(above, below)


def reconstruction(bench: Bench, people: People | Photos) -> dict[str, Any]:
    """The table: rows x metrics x groups with intervals, X_r / X^ ratios, time per picture."""
    values = measure(bench, people)
    names = list(dict.fromkeys(key.split("|")[0] for key in values))
    metrics = list(dict.fromkeys(key.split("|")[1] for key in values))
    rows = {n: {m: group_cells(values[f"{n}|{m}"], people, GROUPS, mean) for m in metrics} for n in names}
    ratios = {m: group_cells(values[f"{RECTIFIED}|{m}"], people, GROUPS,
                             lambda a, b, m=m: gap_ratio(m, a, b), values[f"{X_HAT}|{m}"]) for m in metrics}
    result: dict[str, Any] = {"count": len(people), "rows": rows, "ratios": ratios}
    slow = [method.label for method in bench.methods if method.slow]
    if slow:
        chosen = subset(len(people), bench.slow_count)
        result["slow"] = {"rows": slow, "count": len(chosen)}
        result["subset"] = {n: {m: mean(values[f"{n}|{m}"][chosen]) for m in metrics} for n in names}
    return {**result, "milliseconds": timing(bench, people)}


def timing(bench: Bench, people: People | Photos) -> dict[str, float]:
    """Milliseconds per picture of every row.

    Networks only (no rendering, files or evaluation networks), in batches of 8, median of five warm runs, synchronised;
    slow methods one picture, once.
    """
    images = bench.pictures(people, slice(0, 8))
    generator = bench.domain.generator
    times = {PLAIN: bench.seconds(lambda: bench.edit(images, rectify=False), len(images)),
             OURS: bench.seconds(lambda: bench.edit(images), len(images))}
    for method in bench.methods:
        some, runs = (images[:1], 1) if method.slow else (images, 5)
        times[method.label] = bench.seconds(lambda m=method, x=some: m(generator, x, bench.batch), len(some), runs)
    return {name: 1e3 * seconds for name, seconds in times.items()}


def sheet(bench: Bench, people: People | Photos, per_group: int = 2) -> tuple[list[list[Tensor]], list[str], list[str]]:
    """(rows of pictures, columns, row labels) of the first of each group."""
    if isinstance(people, Photos):
        chosen = list(range(min(6 * per_group, len(people))))
    else:
        chosen = [int(i) for g in (IN_DOMAIN, *portraits.ITEMS) for i in people.rows(g)[:per_group]]
    with torch.inference_mode():
        shown = pictures(bench, people, chosen)
    columns = [c for c in shown if bool(shown[c].isfinite().any())]
    rows = [[shown[c][i] if bool(shown[c][i].isfinite().all()) else None for c in columns] for i in range(len(chosen))]
    plain = isinstance(people, People) and people.parameters.style != "default"
    return rows, columns, ["no item" if plain and people.groups[i] == IN_DOMAIN else people.groups[i] for i in chosen]
