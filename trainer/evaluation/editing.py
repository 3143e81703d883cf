"""Edits of held-out portraits against their exact answers, which the portraits domain knows for every edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from reganie_core import portraits
from reganie_core.alignment import Carry, trivial_rows
from reganie_core.alignment.trivial import PASTED, PLAIN, WARPED
from reganie_core.editing.protocol import edit_latent
from reganie_core.images import area_downsample
from reganie_core.latents import Latent
from reganie_core.metrics import changed_region, l2, masked_l2
from reganie_core.rectification import rectify

from .bench import IDENTITY, PERCEPTUAL, Bench, group_cells
from .people import IN_DOMAIN, People
from .stats import mean, ratio

GROUPS = ("all", IN_DOMAIN, "long-tail", *portraits.ITEMS)
X0, Y_HAT, CARRIED = "X0 unchanged", "Y^ (edited inversion)", "carry (no network)"
RECTIFIED, ENLARGED = "Y_r (learned rectifier)", "Y_r, enlarged"
CHANGED, REST, WHOLE = "changed", "rest", "whole"
SHARP = "sharpness, share of the answer's"
CHUNK_EDITS = Mapping[str, float]


def edited_rows(bench: Bench, images: Tensor, amounts: Mapping[str, Tensor], rows: range,
                total: int) -> dict[str, tuple[Tensor, Tensor]]:
    """{row: (edited picture, the same row without the edit)} at the size of comparison.

    `rows` says which of `total` pictures these are, for methods that are run on some only.
    """
    result = bench.edit(images, amounts)
    x0, x_hat, y_hat = bench.small(images), bench.small(result.inversion), bench.small(result.edited)
    delta = bench.small(result.delta)
    shown = {X0: (x0, x0), Y_HAT: (y_hat, x_hat)}
    trivial = trivial_rows(result.edited, delta, result.inversion)
    shown |= {name: (picture, x0) for name, picture in trivial.items()}  # nothing edited, nothing moved: X0
    shown[CARRIED] = rectify(Carry(), result.edited, result.difference), x0
    if bench.domain.rectifier is not None:
        shown[RECTIFIED] = result.rectified, result.reconstruction
        if bench.photo:
            own = rectify(bench.domain.rectifier, result.edited, result.difference, output="rectifier")
            shown[ENLARGED] = bench.small(own), x0
    editor = bench.domain.editor_for(amounts)

    def edit(latent: Latent, chosen: list[int]) -> Latent:
        return edit_latent(editor, latent, {name: value[chosen] for name, value in amounts.items()})

    shown.update(bench.others(images, total, rows, edit))
    before = bench.other_rectifiers(x_hat, x_hat, delta, x0)
    shown.update({k: (v, before[k]) for k, v in bench.other_rectifiers(y_hat, x_hat, delta, x0).items()})
    return shown


def _pictures(bench: Bench, people: People, rows: slice | list[int],
              edits: CHUNK_EDITS) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """{row: (edited picture, the same row without the edit)}, and the exact answers."""
    p = people.parameters[rows]
    answered = portraits.edit(p, edits)
    now, then = portraits.attributes(p), portraits.attributes(answered)
    amounts = {name: (then[name] - now[name]).to(bench.device) for name in edits}
    indices = range(len(people))[rows] if isinstance(rows, slice) else rows
    shown = edited_rows(bench, bench.render(p), amounts, indices, len(people))
    return shown, bench.small(bench.render(answered))


def measure(bench: Bench, people: People, edits: CHUNK_EDITS) -> dict[str, np.ndarray]:
    """{"row|column": [N]} and {"asked|name", "wanted|name": [N]}."""
    def work(rows: slice) -> dict[str, Tensor]:
        p = people.parameters[rows]
        answered = portraits.edit(p, edits)
        shown, exact = _pictures(bench, people, rows, edits)
        x0 = shown[X0][0]
        region = changed_region(exact, x0)
        exact_identity = bench.embed(exact)
        now, then = portraits.attributes(p), portraits.attributes(answered)
        out: dict[str, Tensor] = {}
        for name in edits:
            out[f"asked|{name}"] = then[name] - now[name]
        for name, (picture, before) in shown.items():
            columns = {CHANGED: masked_l2(picture, exact, region), REST: masked_l2(picture, exact, 1 - region),
                       WHOLE: l2(picture, exact), PERCEPTUAL: bench.distance(picture, exact)}
            if bench.photo:
                columns[SHARP] = sharpness(picture) / sharpness(exact)
                own = bench.domain.generator.resolution
                small, answer, at = (area_downsample(x, own) for x in (picture, exact, region))
                columns[f"{CHANGED}, at {own} px"] = masked_l2(small, answer, at)
            if exact_identity is not None:
                columns[IDENTITY] = (bench.embed(picture) * exact_identity).sum(1)
            after_read, before_read = bench.read(picture), bench.read(before)
            for attribute in (a for a in edits if a in after_read):
                columns[f"reads {attribute}"] = after_read[attribute]
                columns[f"change of {attribute}"] = after_read[attribute] - before_read[attribute]
            out.update({f"{name}|{column}": values for column, values in columns.items()})
        in_answer = bench.read(exact)
        out.update({f"answer|{a}": in_answer[a] - out[f"{X0}|reads {a}"] for a in edits if a in in_answer})
        return out

    editor = bench.domain.editor_for(edits)
    settings = {"seed": bench.seed, "groups": people.groups, "photo": bench.photo, "edits": dict(edits),
                "style": people.parameters.style, "marks": bench.marks, "slow": bench.slow_count,
                "editor": getattr(editor, "fingerprint", type(editor).__name__)}
    return bench.chunks.run("editing", settings, len(people), bench.chunk, work)


def sharpness(pictures: Tensor) -> Tensor:
    """Mean difference [B] of pictures to their surroundings of 5 pixels."""
    return (pictures - avg_pool2d(pictures, 5, 1, 2, count_include_pad=False)).abs().mean((1, 2, 3))


def editing(bench: Bench, people: People, edits: CHUNK_EDITS) -> dict[str, Any]:
    """One edit. Everybody is asked for what the exact answer shows; who cannot change any more is left out.

    The changed region is where the exact answer differs from X0, dilated by one pixel.
    """
    values = measure(bench, people, edits)
    moved = np.any([np.abs(values[f"asked|{a}"]) > 1e-6 for a in edits], axis=0)
    people = People(people.parameters[torch.from_numpy(moved.nonzero()[0])],
                    [g for g, keep in zip(people.groups, moved, strict=True) if keep])
    values = {key: v[moved] for key, v in values.items()}
    names = [name for name in (X0, Y_HAT, PASTED, WARPED, PLAIN, CARRIED, RECTIFIED, ENLARGED)
             if f"{name}|{WHOLE}" in values] + [*(m.label for m in bench.methods), *bench.rectifiers]
    columns = {n: {key.split("|")[1]: v for key, v in values.items() if key.startswith(f"{n}|")} for n in names}
    rows = {n: {c: group_cells(v, people, GROUPS, mean) for c, v in columns[n].items() if not c.startswith("reads ")}
            for n in names}
    ours, read = columns[ours_of(columns)], [a for a in edits if f"answer|{a}" in values]
    change = {a: ours[f"change of {a}"] for a in read}
    # A hand over the mouth hides part of a smile in the exact answer as well, and the network may read too little.
    return {"edit": dict(edits), "count": len(people), "rows": rows, "against": against_trivial(columns),
            "asked": {a: mean(values[f"asked|{a}"]) for a in edits},
            "answer": {a: mean(values[f"answer|{a}"]) for a in read},
            "kept": {a: ratio(change[a], columns[Y_HAT][f"change of {a}"]) for a in read},
            "response of answer": {a: ratio(change[a], values[f"answer|{a}"]) for a in read}}


def ours_of(rows: Mapping[str, Any]) -> str:
    """The row that stands for us: the domain's learned rectifier where it has one, else carrying."""
    return RECTIFIED if RECTIFIED in rows else CARRIED


def against_trivial(columns: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """{pair: {column: ratio with its interval}}: carrying over its plain form, the learned rectifier over both."""
    pairs = [(CARRIED, PLAIN), (CARRIED, PASTED), (RECTIFIED, PLAIN), (RECTIFIED, CARRIED), (CARRIED, ENLARGED)]
    return {f"{a} / {b}": {c: ratio(columns[a][c], columns[b][c]) for c in (CHANGED, REST, WHOLE, PERCEPTUAL)}
            for a, b in pairs if a in columns and b in columns}


def sheet(bench: Bench, people: People, edits: CHUNK_EDITS,
          per_group: int = 1) -> tuple[list[list[Tensor]], list[str], list[str]]:
    """(rows of pictures, columns, row labels): the first of each group who can change."""
    answered = portraits.edit(people.parameters, edits)
    now, then = portraits.attributes(people.parameters), portraits.attributes(answered)
    moved = torch.stack([(then[a] - now[a]).abs() > 0.5 * abs(v) for a, v in edits.items()]).any(0)
    chosen = [int(i) for g in (IN_DOMAIN, *portraits.ITEMS)
              for i in [i for i in people.rows(g).tolist() if moved[i]][:per_group]]
    with torch.inference_mode():
        shown, exact = _pictures(bench, people, chosen, edits)
    stacks = {X0: shown[X0][0], "X^ (light encoder)": shown[Y_HAT][1],
              **{name: pair[0] for name, pair in shown.items() if name != X0}, "exact answer": exact}
    columns = [name for name, stack in stacks.items() if bool(stack.isfinite().any())]
    rows = [[stacks[c][i] if bool(stacks[c][i].isfinite().all()) else None for c in columns]
            for i in range(len(chosen))]
    return rows, columns, [people.groups[i] for i in chosen]
