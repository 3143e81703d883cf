"""Does the generator make what the renderer draws, and all of it? Sets of pictures in a network's features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.metrics import frechet_distance, kernel_distance, precision_recall

from .bench import Bench
from .people import check_seed, private_generator

NEIGHBOURS = 3
SHEET = 32


def samples(bench: Bench, start: int, stop: int) -> Tensor:
    """Pictures [B,3,R,R] of the generator; number i depends on the seed and on i only."""
    generator = bench.domain.generator
    z = torch.cat([torch.randn(1, generator.z_dim, generator=private_generator(bench.seed, "z", i))
                   for i in range(start, stop)]).to(bench.device)
    made = [generator.synthesis(generator.mapping(part), noise="const") for part in z.split(bench.batch)]
    return torch.cat(made).float().clamp(-1, 1)


def described(bench: Bench, images: Tensor) -> dict[str, Tensor]:
    """Features and attributes as the evaluation network sees them."""
    images = bench.small(images)
    return {"features": bench.features(images), **{f"attribute|{n}": v for n, v in bench.read(images).items()}}


def generator(bench: Bench, count: int) -> dict[str, Any]:
    """`count` samples against as many renders: precision, recall, kernel and Frechet distance, spread of attributes."""
    check_seed(bench.seed, count, bench.validation)
    settings = {"seed": bench.seed}
    real = bench.chunks.run("renders", settings, count, bench.chunk, lambda rows: described(
        bench, bench.render(portraits.sample(rows.stop - rows.start, bench.seed + rows.start))))
    made = bench.chunks.run("samples", settings, count, bench.chunk, lambda rows: described(
        bench, samples(bench, rows.start, rows.stop)))
    a, b = (torch.from_numpy(v["features"]) for v in (real, made))
    halves = torch.from_numpy(real["features"][: count // 2]), torch.from_numpy(real["features"][count // 2:])
    precision, recall = precision_recall(a, b, NEIGHBOURS)
    own_precision, own_recall = precision_recall(*halves, NEIGHBOURS)
    sets = {
        "samples": {"precision": precision, "recall": recall, "kernel distance": kernel_distance(a, b),
                    "Frechet distance": frechet_distance(a, b)},
        "renders against renders (half each)": {
            "precision": own_precision, "recall": own_recall, "kernel distance": kernel_distance(*halves),
            "Frechet distance": frechet_distance(*halves)},
    }
    attributes = {}
    for name in (key for key in real if key.startswith("attribute|")):
        drawn, generated = real[name].astype(np.float64), made[name].astype(np.float64)
        attributes[name.removeprefix("attribute|")] = {
            "mean, renders": float(drawn.mean()), "mean, samples": float(generated.mean()),
            "deviation, renders": float(drawn.std()), "deviation, samples": float(generated.std()),
            "ratio": float(generated.std() / drawn.std())}
    return {"rows": sets, "attributes": attributes, "neighbours": NEIGHBOURS}


def sheet(bench: Bench, columns: int = 8) -> list[list[Tensor]]:
    """The first 32 samples, in rows."""
    with torch.inference_mode():
        images = samples(bench, 0, SHEET)
    return [list(images[i:i + columns]) for i in range(0, SHEET, columns)]
