"""Does the mask of doubt lie where the errors are? Against exact answers, which portraits have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from reganie_core import portraits
from reganie_core.alignment import Carry
from reganie_core.rectification import rectify_with_doubt

from .bench import Bench
from .people import People
from .stats import mean

WORST = 0.1      # share of a picture's pixels that count as its worst errors
DOUBTED = 0.5    # the mask is white above this
COLUMNS = ("doubted share", "precision", "recall", "share of the error in it")


def of_pictures(error: Tensor, doubt: Tensor) -> dict[str, Tensor]:
    """Errors and doubt ``[B,1,H,W]`` -> {column: [B]}."""
    error, doubted = error.flatten(1), doubt.flatten(1) > DOUBTED
    worst = error >= error.quantile(1 - WORST, dim=1, keepdim=True)
    both = (worst & doubted).sum(1).float()
    return dict(zip(COLUMNS, (doubted.float().mean(1), both / doubted.sum(1).clamp_min(1), both / worst.sum(1),
                              (error * doubted).sum(1) / error.sum(1).clamp_min(1e-12)), strict=True))


def doubt(bench: Bench, people: People, edits: Mapping[str, float]) -> dict[str, Any]:
    """One edit: what the mask covers, of carried pictures."""
    def work(rows: slice) -> dict[str, Tensor]:
        p = people.parameters[rows]
        answered = portraits.edit(p, edits)
        now, then = portraits.attributes(p), portraits.attributes(answered)
        result = bench.edit(bench.render(p), {name: (then[name] - now[name]).to(bench.device) for name in edits})
        found = rectify_with_doubt(Carry(), result.edited, result.difference)
        error = (found.picture - bench.render(answered)).square().mean(1, keepdim=True)
        return of_pictures(error, found.doubt)

    settings = {"seed": bench.seed, "groups": people.groups, "edits": dict(edits), "photo": bench.photo}
    values = bench.chunks.run("doubt", settings, len(people), bench.chunk, work)
    return {"edit": dict(edits), "count": len(people), "columns": {name: mean(values[name]) for name in COLUMNS}}
