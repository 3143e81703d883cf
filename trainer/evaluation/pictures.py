"""Reconstruction and editing against exact answers, which the portraits domain knows for every edit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import reganie_core as rc
from reganie_core import portraits
from reganie_core.images import area_downsample
from reganie_core.metrics import changed_region, l2, masked_l2, psnr

from ..frozen import Features
from .people import IN_DOMAIN, People, read

GROUPS = ("all", IN_DOMAIN, "long-tail", *portraits.ITEMS)


def _mean(values: Tensor) -> float:
    return float(values[torch.isfinite(values)].mean()) if torch.isfinite(values).any() else float("nan")


def _picture_rows(named: dict[str, Tensor], truth: Tensor, people: People) -> dict[str, dict[str, float]]:
    """L2 of every method in every group."""
    out = {}
    for name, pictures in named.items():
        errors = l2(pictures, truth)
        out[name] = {g: _mean(errors[people.rows(g)]) for g in GROUPS if len(people.rows(g))}
    return out


def reconstruction(domain: rc.Domain, people: People) -> dict[str, Any]:
    """L2 (mean squared error, [-1,1], at the rectifier's resolution) of X^, X_r and the trivial rows."""
    size = domain.rectifier.resolution
    images = portraits.render(people.parameters, domain.generator.resolution)
    result = rc.edit(images, domain=domain)
    x0, x_hat = area_downsample(images, size), area_downsample(result.inversion, size)
    named = {"X0 unchanged": x0, "X^ (e4e inversion)": x_hat,
             "X^ + dX pasted": (x_hat + area_downsample(result.delta, size)).clamp(-1, 1),
             "X_r (rectified)": result.reconstruction}
    table = _picture_rows(named, x0, people)
    ratio = {g: table["X_r (rectified)"][g] / table["X^ (e4e inversion)"][g] for g in table["X_r (rectified)"]}
    return {"rows": table, "rectified / inversion": ratio,
            "psnr": {name: _mean(psnr(p, x0)) for name, p in named.items() if name.startswith(("X^ (", "X_r"))}}


def editing(domain: rc.Domain, people: People, edits: dict[str, float], judge: Features) -> dict[str, Any]:
    """One edit: error to the exact answer where it changes the picture and elsewhere; attribute change kept.

    The region is where the exact answer differs from X0, dilated by one pixel. The attribute change of each row is
    what the judge reads from the edited picture minus what it reads from the same row without the edit.
    """
    size = domain.rectifier.resolution
    parameters, resolution = people.parameters, domain.generator.resolution
    answered = portraits.edit(parameters, edits)
    images = portraits.render(parameters, resolution)
    x0 = area_downsample(images, size)
    exact = area_downsample(portraits.render(answered, resolution), size)
    plain, result = rc.edit(images, domain=domain), rc.edit(images, edits, domain=domain)
    edited, inversion = area_downsample(result.edited, size), area_downsample(plain.inversion, size)
    rows = {  # name: (edited picture, the same row without the edit)
        "X0 unchanged": (x0, x0),
        "Y^ (edited inversion)": (edited, inversion),
        "Y^ + dX pasted": ((edited + area_downsample(result.delta, size)).clamp(-1, 1), x0),
        "Y_r (rectified)": (result.rectified, plain.reconstruction),
    }
    region = changed_region(exact, x0)
    asked = {name: _mean(portraits.attributes(answered)[name] - portraits.attributes(parameters)[name])
             for name in edits}
    table: dict[str, dict[str, float]] = {}
    for name, (picture, before) in rows.items():
        after_read, before_read = read(judge, picture), read(judge, before)
        table[name] = {
            "changed": _mean(masked_l2(picture, exact, region)),
            "rest": _mean(masked_l2(picture, exact, 1 - region)),
            "whole": _mean(l2(picture, exact)),
            "changed, long-tail": _mean(masked_l2(picture, exact, region)[people.rows("long-tail")]),
            **{f"change of {a}": _mean(after_read[a] - before_read[a]) for a in edits},
        }
    kept = {a: table["Y_r (rectified)"][f"change of {a}"] / table["Y^ (edited inversion)"][f"change of {a}"]
            for a in edits}
    return {"edit": edits, "asked": asked, "rows": table, "kept": kept, "region share": float(region.mean())}
