"""How well do the networks that the tables rely on read attributes and tell persons apart?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.metrics import equal_error_rate

from .bench import Bench
from .people import check_seed
from .stats import correlation, correlation_interval

LEAST_CORRELATION = 0.97


def attribute_table(bench: Bench, count: int) -> dict[str, dict[str, Any]]:
    """{attribute: {"r", "r, 95 %", "mean error", "r, long-tail items"}}: against the truth, without and with items."""
    half = min(count, 1000)

    def work(rows: slice) -> dict[str, Tensor]:
        start, stop = rows.start, rows.stop
        tail = start >= count   # long-tail portraits follow the in-domain ones, one item after the other
        items = (portraits.ITEMS[(start - count) // bench.chunk % len(portraits.ITEMS)],) if tail else ()
        p = portraits.sample(stop - start, bench.seed + start, items=items)
        read = bench.read(bench.small(bench.render(p)))
        truth = portraits.attributes(p)
        return {**{f"read|{n}": v for n, v in read.items()}, **{f"truth|{n}": truth[n] for n in read},
                "tail": torch.full((len(p),), tail)}

    values = bench.chunks.run("networks", {"seed": bench.seed, "tail": half}, count + half, bench.chunk, work)
    tail = values.pop("tail")
    table = {}
    for name in (key.removeprefix("read|") for key in values if key.startswith("read|")):
        read, truth = values[f"read|{name}"], values[f"truth|{name}"]
        low, high = correlation_interval(read[~tail], truth[~tail])
        table[name] = {"r": correlation(read[~tail], truth[~tail]), "r, 95 %": f"[{low:.4f}, {high:.4f}]",
                       "mean error": float(np.abs(read - truth)[~tail].mean()),
                       "r, long-tail items": correlation(read[tail], truth[tail])}
    return table


def identity_error(bench: Bench, people: int) -> dict[str, float]:
    """Equal error rate: two pictures of each person under other circumstances, against all pairs of two persons."""
    def work(rows: slice) -> dict[str, Tensor]:
        p = portraits.sample(rows.stop - rows.start, bench.seed + rows.start)
        views = portraits.variants(p, 2, bench.seed + 2 * rows.start)
        embedding = bench.embed(bench.small(bench.render(views)))
        return {"a": embedding[0::2], "b": embedding[1::2]}

    values = bench.chunks.run("identity", {"seed": bench.seed}, people, bench.chunk, work)
    similarity = torch.from_numpy(values["a"]).double() @ torch.from_numpy(values["b"]).double().T
    own = torch.eye(people, dtype=torch.bool)
    rate, threshold = equal_error_rate(similarity[own], similarity[~own])
    return {"equal error rate": rate, "threshold": threshold, "same person": float(similarity[own].mean()),
            "different persons": float(similarity[~own].mean()), "people": people}


def networks(bench: Bench, count: int) -> dict[str, Any]:
    """Correlations per attribute, which of them may be reported, and the identity network's error."""
    check_seed(bench.seed, 2 * count, bench.validation)
    table = attribute_table(bench, count)
    reported = [name for name, row in table.items() if row["r"] >= LEAST_CORRELATION]
    dropped = [name for name in table if name not in reported]
    result: dict[str, Any] = {
        "rows": table, "reported": reported, "dropped": dropped}
    if bench.identity is not None:
        result["identity"] = identity_error(bench, count)
    return result
