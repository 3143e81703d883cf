"""Edits by text: do they move what they say, and does the rectifier follow an edit that it was never trained with?

A text does not say how far. The exact answer is therefore the portrait whose intended attributes change by what the
evaluation network reads as the difference of Y^ and X^: the picture that this very edit should have led to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.alignment import Carry, trivial_rows
from reganie_core.delta import Delta
from reganie_core.inversion.e4e import encode
from reganie_core.latents import synthesize
from reganie_core.metrics import changed_region, l2, masked_l2
from reganie_core.portraits.captions import PROMPTS, Prompt
from reganie_core.rectification import rectify

from .bench import Bench
from .editing import CARRIED, CHANGED, PASTED, PLAIN, RECTIFIED, REST, WARPED, WHOLE, X0, Y_HAT
from .people import IN_DOMAIN, held_out_people
from .stats import mean, ratio
from .texts import _moved

ROWS = (X0, Y_HAT, PASTED, WARPED, PLAIN, CARRIED, RECTIFIED)
CONTROLS = {c.name: c for c in portraits.CONTROLS}


def _edit(bench: Bench, p: portraits.Portraits, prompt: Prompt) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    """{row: picture}, the exact answer, and the attributes [B,A] that are read in X^ and in Y^."""
    domain = bench.domain
    images = bench.render(p)
    latent = encode(domain.generator, domain.encoder, images)
    edited = domain.styleclip.edit_text(latent, prompt.target, prompt.neutral)
    x_hat, y_hat = (synthesize(domain.generator, part, chunk=bench.batch) for part in (latent, edited))
    delta = Delta(images, x_hat)
    rows = {X0: bench.small(images), Y_HAT: bench.small(y_hat),
            **{name: bench.small(row) for name, row in trivial_rows(y_hat, delta.pixels, x_hat).items()},
            CARRIED: bench.small(rectify(Carry(), y_hat, delta)),
            RECTIFIED: rectify(domain.rectifier, y_hat, delta, output="rectifier", chunk=bench.batch)}
    before, after = bench.read(bench.small(x_hat)), bench.read(bench.small(y_hat))
    changes = {name: (after[name] - before[name]).cpu() for name in prompt.moves if name in after}
    exact = bench.small(bench.render(portraits.edit(p, changes)))
    return rows, exact, torch.stack(list(before.values()), 1), torch.stack(list(after.values()), 1)


def measure(bench: Bench, prompts: tuple[Prompt, ...], count: int) -> dict[str, np.ndarray]:
    """{"before", "after": [P,N,A], "row|column": [P,N]}, one piece per prompt."""
    people = held_out_people(2 * count, bench.seed, bench.validation)
    p = people.parameters[people.rows(IN_DOMAIN)]

    def work(rows: slice) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {}
        for start in range(0, len(p), bench.chunk):
            shown, exact, before, after = _edit(bench, p[start:start + bench.chunk], prompts[rows.start])
            region = changed_region(exact, shown[X0])
            found = {"before": before, "after": after}
            for name, picture in shown.items():
                found |= {f"{name}|{CHANGED}": masked_l2(picture, exact, region),
                          f"{name}|{REST}": masked_l2(picture, exact, 1 - region),
                          f"{name}|{WHOLE}": l2(picture, exact)}
            for key, value in found.items():
                parts.setdefault(key, []).append(value)
        return {key: torch.cat(value)[None] for key, value in parts.items()}

    settings = {"seed": bench.seed, "people": count, "prompts": [(q.target, q.neutral) for q in prompts]}
    return bench.chunks.run("text", settings, len(prompts), 1, work)


def text(bench: Bench, count: int) -> dict[str, Any]:
    """The table: share of pictures that moved the right way, drift of the others, error before and after rectifying."""
    bench.need_attributes()
    bench.domain.require("encoder", "styleclip", "rectifier")
    names = list(bench.read(torch.zeros(1, 3, bench.size, bench.size, device=bench.device)))
    prompts = tuple(q for q in PROMPTS if set(q.moves) <= set(names))
    values = measure(bench, prompts, count)
    rows: dict[str, dict[str, Any]] = {}
    for i, prompt in enumerate(prompts):
        before, after = ({n: torch.from_numpy(values[key][i, :, a]) for a, n in enumerate(names)}
                         for key in ("before", "after"))
        right = torch.ones(count, dtype=torch.bool)
        for name, sign in prompt.moves.items():
            right &= _moved(before[name], after[name], sign, CONTROLS[name])
        drift = {n: float((after[n] - before[n]).abs().mean()) / (CONTROLS[n].maximum - CONTROLS[n].minimum)
                 for n in names if n not in (*prompt.moves, *prompt.also)}
        worst = max(drift, key=lambda n: drift[n])
        rows[prompt.target] = {"right way": float(right.float().mean()), "largest drift": drift[worst],
                               "drifts most": worst,
                               **{f"{c}: Y_r / Y^": ratio(values[f"{RECTIFIED}|{c}"][i], values[f"{Y_HAT}|{c}"][i])
                                  for c in (CHANGED, REST, WHOLE)}}
    errors = {row: {c: mean(values[f"{row}|{c}"].ravel()) for c in (CHANGED, REST, WHOLE)} for row in ROWS}
    return {"rows": rows, "errors": errors, "left out": [q.target for q in PROMPTS if q not in prompts]}


def sheet(bench: Bench,
          chosen: tuple[int, ...] = (0, 2, 4, 7, 12, 19)) -> tuple[list[list[Tensor]], list[str], list[str]]:
    """One person with an item per row, one prompt each: X0, Y^, pasted, Y_r, exact answer."""
    people = held_out_people(40, bench.seed, bench.validation)
    wearers = [int(people.rows(item)[0]) for item in portraits.ITEMS]
    rows, labels = [], []
    with torch.inference_mode():
        for k, index in enumerate(chosen):
            shown, exact, _, _ = _edit(bench, people.parameters[[wearers[k % len(wearers)]]], PROMPTS[index])
            rows.append([*(shown[name][0] for name in ROWS), exact[0]])
            labels.append(PROMPTS[index].target)
    return rows, [*ROWS, "exact answer"], labels
