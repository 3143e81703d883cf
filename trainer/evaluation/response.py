"""The paper's Table 2: how far does an attribute move, and does the person stay the same?

No exact answer is needed, so this runs on photographs too. Response is what is read from the edited picture minus what
is read from the same row without the edit; drift is the mean change of the other attributes as a share of their range.

Portraits have exact answers, and a row of them says what can be read at all once hats and hands are back in the
picture. A control has a range, so the row holds only people whom it takes as far as is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits

from .bench import Bench
from .editing import X0, Y_HAT, edited_rows, ours_of
from .people import People, Photos
from .stats import mean, ratio

EXACT = "exact answer"
RANGES = {c.name: c.maximum - c.minimum for c in portraits.CONTROLS}


def measure(bench: Bench, people: People | Photos, edits: Mapping[str, float]) -> dict[str, np.ndarray]:
    """{"row|column": [N]}."""
    def work(rows: slice) -> dict[str, Tensor]:
        images = bench.pictures(people, rows)
        amounts = {name: torch.full((len(images),), float(v), device=bench.device) for name, v in edits.items()}
        shown = edited_rows(bench, images, amounts, range(len(people))[rows], len(people))
        if isinstance(people, People):
            shown[EXACT] = exact_answers(bench, people, rows, edits), shown[X0][0]
        out = {}
        for name, (picture, before) in shown.items():
            after_read, before_read = bench.read(picture), bench.read(before)
            columns = {f"response of {a}": after_read[a] - before_read[a] for a in edits if a in after_read}
            others = [(after_read[a] - before_read[a]).abs() / RANGES[a] for a in after_read
                      if a not in edits and a in RANGES]
            if others:
                columns["drift of others"] = torch.stack(others).mean(0)
            columns |= {f"{label} to X0": v for label, v in bench.identities(picture, shown[X0][0]).items()}
            out |= {f"{name}|{column}": values for column, values in columns.items()}
        return out

    editor = bench.domain.editor_for(edits)
    who = [str(f) for f in people.files] if isinstance(people, Photos) else people.parameters.style
    settings = {"seed": bench.seed, "who": who, "edits": dict(edits), "marks": bench.marks, "slow": bench.slow_count,
                "editor": getattr(editor, "fingerprint", type(editor).__name__)}
    return bench.chunks.run("response", settings, len(people), bench.chunk, work)


def exact_answers(bench: Bench, people: People, rows: slice, edits: Mapping[str, float]) -> Tensor:
    """What the edit has to lead to [B,3,R,R]; NaN for people whom it would take out of the range of a control."""
    p = people.parameters[rows]
    answered = portraits.edit(p, edits)
    now, then = portraits.attributes(p), portraits.attributes(answered)
    reached = torch.stack([(then[name] - now[name] - amount).abs() < 1e-4 for name, amount in edits.items()]).all(dim=0)
    exact = bench.small(bench.render(answered))
    return torch.where(reached.to(exact.device)[:, None, None, None], exact, torch.nan)


def response(bench: Bench, people: People | Photos, edits: Mapping[str, float]) -> dict[str, Any]:
    """One edit, every row: response, drift, identity."""
    values = measure(bench, people, edits)
    names = list(dict.fromkeys(key.split("|")[0] for key in values))
    columns = list(dict.fromkeys(key.split("|")[1] for key in values))
    rows = {n: {c: mean(values[f"{n}|{c}"]) for c in columns} for n in names}
    exact: dict[str, Any] = {}
    if EXACT in names:
        for c in (c for c in columns if c.startswith("response")):
            asked = np.isfinite(values[f"{EXACT}|{c}"])
            exact[c] = {"people": int(asked.sum())} | {
                n: ratio(values[f"{n}|{c}"][asked], values[f"{EXACT}|{c}"][asked]) for n in (Y_HAT, ours_of(names))
                if asked.any()}
    result = {"edit": dict(edits), "count": len(people), "rows": rows}
    return {**result, "of exact": exact} if exact else result
