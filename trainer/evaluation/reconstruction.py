"""Reconstruction of held-out portraits (the paper's Table 1): X^, X_r and the trivial rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits

from .bench import IDENTITY, L2, MS_SSIM, PERCEPTUAL, Bench, group_cells
from .people import IN_DOMAIN, People
from .stats import criterion, mean, ratio

GROUPS = ("all", IN_DOMAIN, "long-tail", *portraits.ITEMS)
X0, X_HAT, PASTED, RECTIFIED = "X0 unchanged", "X^ (e4e inversion)", "X^ + dX pasted", "X_r (rectified)"
#: What the paper's Table 1 shows for e4e against ReGANIE: L2, LPIPS, identity and MS-SSIM (gaps to 1).
LIMITS = {L2: 1 / 3, PERCEPTUAL: 1 / 2.5, IDENTITY: 1 / 2, MS_SSIM: 1 / 2}


def pictures(bench: Bench, p: portraits.Portraits) -> dict[str, Tensor]:
    """{row: [B,3,S,S]} for some portraits; the first row is the truth."""
    images = bench.render(p)
    result = bench.edit(images)
    x_hat = bench.small(result.inversion)
    return {X0: bench.small(images), X_HAT: x_hat, PASTED: (x_hat + bench.small(result.delta)).clamp(-1, 1),
            RECTIFIED: result.reconstruction}


def measure(bench: Bench, people: People) -> dict[str, np.ndarray]:
    """{"row|metric": [N]}."""
    def work(rows: slice) -> dict[str, Tensor]:
        shown = pictures(bench, people.parameters[rows])
        truth = shown[X0]
        identity = bench.embed(truth)
        return {f"{name}|{metric}": values for name, picture in shown.items()
                for metric, values in bench.compare(picture, truth, identity).items()}
    settings = {"seed": bench.seed, "style": people.parameters.style, "groups": people.groups}
    return bench.chunks.run("reconstruction", settings, len(people), bench.chunk, work)


def gap_ratio(metric: str, above: np.ndarray, below: np.ndarray) -> dict[str, float]:
    """Distances as they are, similarities by their gap to 1."""
    if metric in (IDENTITY, MS_SSIM):
        above, below = 1 - above, 1 - below
    return ratio(above, below)


def reconstruction(bench: Bench, people: People) -> dict[str, Any]:
    """The table: rows x metrics x groups with intervals, X_r / X^ ratios, time per picture."""
    values = measure(bench, people)
    names = list(dict.fromkeys(key.split("|")[0] for key in values))
    metrics = list(dict.fromkeys(key.split("|")[1] for key in values))
    rows = {n: {m: group_cells(values[f"{n}|{m}"], people, GROUPS, mean) for m in metrics} for n in names}
    ratios = {m: group_cells(values[f"{RECTIFIED}|{m}"], people, GROUPS,
                             lambda a, b, m=m: gap_ratio(m, a, b), values[f"{X_HAT}|{m}"]) for m in metrics}
    label = {m: f"X_r / X^, {m}" + (" gap to 1" if m in (IDENTITY, MS_SSIM) else "") for m in metrics}
    criteria = [criterion(label[m], ratios[m]["all"]["mean"], LIMITS[m]) for m in metrics]
    return {"rows": rows, "ratios": ratios, "criteria": criteria, "milliseconds": timing(bench, people)}


def timing(bench: Bench, people: People) -> dict[str, float]:
    """Milliseconds per picture at a batch of 8, networks only: median of five warm runs."""
    images = bench.render(people.parameters[:8])
    count = len(images)
    return {"inversion: E, G": 1e3 * bench.seconds(lambda: bench.edit(images, rectify=False), count),
            "inversion and rectifying: E, G, E_d, E_p, G_p": 1e3 * bench.seconds(lambda: bench.edit(images), count)}


def sheet(bench: Bench, people: People, per_group: int = 2) -> tuple[list[list[Tensor]], list[str], list[str]]:
    """(rows of pictures, columns, row labels) of the first of each group."""
    chosen = [int(i) for g in (IN_DOMAIN, *portraits.ITEMS) for i in people.rows(g)[:per_group]]
    with torch.inference_mode():
        shown = pictures(bench, people.parameters[chosen])
    columns = list(shown)
    return [[shown[c][i] for c in columns] for i in range(len(chosen))], columns, [people.groups[i] for i in chosen]
