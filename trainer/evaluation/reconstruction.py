"""Reconstruction of held-out portraits (the paper's Table 1): X^, X_r and the trivial rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits

from .bench import L2, PERCEPTUAL, SIMILARITIES, Bench, group_cells
from .local import LPIPS_ALEX, LPIPS_VGG
from .memory import growth
from .methods import subset
from .people import IN_DOMAIN, People, Photos
from .stats import criterion, mean, ratio

GROUPS = ("all", IN_DOMAIN, "long-tail", *portraits.ITEMS)
X0, X_HAT, PASTED = "X0 unchanged", "X^ (light encoder)", "X^ + dX pasted"
RECTIFIED = "X_r (learned rectifier)"
PLAIN, OURS = "inversion: E, G", "inversion and rectifying: E, G, E_d, E_p, G_p"
#: What the paper's Table 1 shows for e4e against ReGANIE: L2, LPIPS, identity and MS-SSIM (gaps to 1).
ANY_GAIN = {m: 1.0 for m in (L2, PERCEPTUAL, LPIPS_VGG, LPIPS_ALEX, *SIMILARITIES)}
LIMITS = {L2: 1 / 3, PERCEPTUAL: 1 / 2.5, LPIPS_VGG: 1 / 2.5, LPIPS_ALEX: 1 / 2.5, **dict.fromkeys(SIMILARITIES, 1 / 2)}


def pictures(bench: Bench, people: People | Photos, rows: slice | list[int]) -> dict[str, Tensor]:
    """{row: [B,3,S,S]} for some people; the first row is the truth."""
    images = bench.pictures(people, rows)
    result = bench.edit(images)
    x0, x_hat, delta = bench.small(images), bench.small(result.inversion), bench.small(result.delta)
    indices = range(len(people))[rows] if isinstance(rows, slice) else rows
    shown = {X0: x0, X_HAT: x_hat, PASTED: (x_hat + delta).clamp(-1, 1), RECTIFIED: result.reconstruction}
    shown.update({label: plain for label, (_, plain) in bench.others(images, len(people), indices).items()})
    return {**shown, **bench.repainted(x_hat, x_hat, delta, x0)}


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


def reconstruction(bench: Bench, people: People | Photos, limits: Mapping[str, float] = LIMITS) -> dict[str, Any]:
    """The table: rows x metrics x groups with intervals, X_r / X^ ratios, time per picture.

    `limits`: what X_r / X^ must not exceed, for each metric.
    """
    values = measure(bench, people)
    names = list(dict.fromkeys(key.split("|")[0] for key in values))
    metrics = list(dict.fromkeys(key.split("|")[1] for key in values))
    rows = {n: {m: group_cells(values[f"{n}|{m}"], people, GROUPS, mean) for m in metrics} for n in names}
    ratios = {m: group_cells(values[f"{RECTIFIED}|{m}"], people, GROUPS,
                             lambda a, b, m=m: gap_ratio(m, a, b), values[f"{X_HAT}|{m}"]) for m in metrics}
    named = {m: f"X_r / X^, {m}" + (" gap to 1" if m in SIMILARITIES else "") for m in metrics}
    criteria = [criterion(named[m], ratios[m]["all"]["mean"], limits[m]) for m in metrics]
    result: dict[str, Any] = {"count": len(people), "rows": rows, "ratios": ratios}
    slow = [method.label for method in bench.methods if method.slow]
    if slow:
        chosen = subset(len(people), bench.slow_count)
        result["slow"] = {"rows": slow, "count": len(chosen)}
        result["subset"] = {n: {m: mean(values[f"{n}|{m}"][chosen]) for m in metrics} for n in names}
    result |= timing(bench, people)
    for label in (*(method.label for method in bench.methods), *bench.rectifiers):
        criteria += _against(label, values, metrics)
    return {**result, "criteria": criteria + _fast(bench, result["milliseconds"])}


def _against(label: str, values: dict[str, np.ndarray], metrics: list[str]) -> list[dict[str, Any]]:
    """X_r has to be as good as another method or rectifier in every metric, on the pictures that both were run on."""
    criteria = []
    for m in metrics:
        theirs, ours = values[f"{label}|{m}"], values[f"{RECTIFIED}|{m}"]
        ran = np.isfinite(theirs)
        if ran.any():
            criteria.append(criterion(f"X_r / {label}, {m}", gap_ratio(m, ours[ran], theirs[ran])["mean"], 1.0))
    return criteria


def _fast(bench: Bench, milliseconds: dict[str, float]) -> list[dict[str, Any]]:
    """X_r is among the two fastest of the methods that are not the plain encoder."""
    if not bench.methods:
        return []
    ours = milliseconds[OURS]
    faster = sum(milliseconds[m.label] < ours for m in bench.methods if m.inverter.method != "e4e")
    return [criterion("methods faster than X_r (not counting the plain encoder)", faster, 1)]


def timing(bench: Bench, people: People | Photos) -> dict[str, dict[str, float]]:
    """Price of every row: "milliseconds" per picture and "mebibytes" at the peak.

    Networks only (no rendering, files or judges), in batches of 8, median of five warm runs, synchronised; slow methods
    one picture, once. Memory is what the work takes on top of the loaded networks.
    """
    images = bench.pictures(people, slice(0, 8))
    generator, times, memory = bench.domain.generator, {}, {}
    rows: dict[str, tuple[Any, int, int]] = {PLAIN: (lambda: bench.edit(images, rectify=False), len(images), 5),
                                             OURS: (lambda: bench.edit(images), len(images), 5)}
    for method in bench.methods:
        some = images[:1] if method.slow else images
        rows[method.label] = (lambda m=method, x=some: m(generator, x, bench.batch), len(some), 1 if method.slow else 5)
    for label, (work, count, runs) in rows.items():
        with growth(bench.device) as grown:
            times[label] = 1e3 * bench.seconds(work, count, runs)
        memory[label] = grown.mib
    return {"milliseconds": times, "mebibytes": memory}


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
