"""docs/results.md: the tables of several runs in one document, the paper's own numbers beside ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reganie_core.errors import CorruptCheckpointError, NotFoundError

from . import tables
from .bench import IDENTITY, L2, MS_SSIM, PERCEPTUAL
from .local import CURRICULARFACE, LPIPS_VGG
from .reconstruction import RECTIFIED, X_HAT

#: The paper's Table 1, CelebA-HQ: (L2, LPIPS, identity, MS-SSIM, seconds).
PAPER = {"e4e": (0.048, 0.20, 0.61, 0.73, 0.05), "ReGANIE": (0.016, 0.07, 0.85, 0.90, 0.19)}
#: The paper's Table 2 for ReGANIE: attribute response at -2 and +2 and identity.
PAPER_EDITS = {"age": (-12.18, 10.59, 0.62), "yaw": (-9.13, 9.54, 0.75)}

#: Sections of the document.
ORDER = ("judges", "generator", "reconstruction", "editing", "doubt", "response", "ablation", "unseen", "text",
         "out-of-domain", "editor", "figures")

INTRODUCTION = """# Results

This file is written by `python trainer/evaluate.py document`; every table names the command, commit, machine and date
of its run. Numbers in brackets are 95 % bootstrap intervals over pictures.

**What compares with the paper and what does not.** The paper measures real faces (CelebA-HQ, 1024 px) with LPIPS and
CurricularFace; the packaged domain is drawn by a renderer and measured with networks trained in it. Absolute numbers of
the two do not compare. Ratios of two rows of one table do: they say how much of what the inversion loses is brought
back. Time depends on the machine: compare rows of one run. Errors to the exact answer of an edit have no counterpart
in the paper, because photographs have no exact answer."""


def _ratio(column: int) -> float:
    """ReGANIE against e4e in the paper: of distances, or of the gaps of similarities to 1."""
    ours, plain = PAPER["ReGANIE"][column], PAPER["e4e"][column]
    return (1 - ours) / (1 - plain) if column in (2, 3) else ours / plain


def beside_the_paper(results: Mapping[str, Any]) -> str:
    """Table 1's ratios, the paper's and ours."""
    ratios = results["ratios"]
    rows = {}
    for metric, column, paper in ((L2, 0, "L2"), (PERCEPTUAL, 1, "LPIPS"), (IDENTITY, 2, "identity, gap to 1"),
                                  (MS_SSIM, 3, "MS-SSIM, gap to 1"), (LPIPS_VGG, 1, "LPIPS"),
                                  (CURRICULARFACE, 2, "identity, gap to 1")):
        if metric in ratios:
            rows[f"{metric} (paper: {paper})"] = {"paper": _ratio(column), "here": ratios[metric]["all"]}
    return tables.markdown(rows, f"{RECTIFIED} / {X_HAT}")


def paper_table(number: int) -> str:
    """The paper's Table 1 or 2, for reference."""
    if number == 1:
        names = ("L2", "LPIPS", "identity", "MS-SSIM", "seconds")
        return tables.markdown({name: dict(zip(names, values, strict=True)) for name, values in PAPER.items()},
                               "the paper's Table 1 (CelebA-HQ; one V100)")
    names = ("response at -2", "response at +2", "identity")
    return tables.markdown({name: dict(zip(names, values, strict=True)) for name, values in PAPER_EDITS.items()},
                           "the paper's Table 2 (ReGANIE rows; years and degrees)")


def read(file: Path) -> dict[str, Any]:
    """The results of one run. Raises NotFoundError and CorruptCheckpointError for files that are none."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(results["about"], Mapping):
            raise TypeError
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}. Run the experiment with --json first.") \
            from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpointError(f"{file} holds no results of evaluate.py.") from error
    return results


def place(results: Mapping[str, Any]) -> int:
    """Where a run stands in the document: judges first, figures last, whatever the order on the command line."""
    found = [ORDER.index(name) for name in results if name in ORDER]
    return min(found, default=len(ORDER))


def criteria_of(results: Any) -> Iterator[Mapping[str, Any]]:
    """Every criterion anywhere in the results."""
    if isinstance(results, Mapping):
        yield from results.get("criteria", ())
        for name, value in results.items():
            if name != "criteria":
                yield from criteria_of(value)
    elif isinstance(results, list):
        for value in results:
            yield from criteria_of(value)


def in_short(runs: Sequence[Mapping[str, Any]]) -> str:
    """How much of what the tables must show they show, and everything that they do not."""
    lines = ["| run | pictures | met | not met |", "| --- | ---: | ---: | --- |"]
    for results in runs:
        listed = list(criteria_of({k: v for k, v in results.items() if k != "about"}))
        if not listed:
            continue
        missed = [f"{c['name']} ({tables.number(c['value'])}, {c['rule']} {tables.number(float(c['limit']))})"
                  for c in listed if not c["met"]]
        lines.append(f"| {title(results)} | {results['about']['count']} | {len(listed) - len(missed)} of {len(listed)} "
                     f"| {'; '.join(missed) or 'none'} |")
    return "\n".join(lines)


def title(results: Mapping[str, Any]) -> str:
    """Names of a run's experiments."""
    return " and ".join(k for k in results if k != "about")


def compose(files: Sequence[Path]) -> str:
    """The document. Raises NotFoundError and CorruptCheckpointError for files that are missing or no results."""
    runs = sorted((read(file) for file in files), key=place)
    parts = [INTRODUCTION, "## In short", in_short(runs)]
    for results in runs:
        parts.append(f"## {title(results)}")
        if results["about"].get("validation"):
            parts.append("> A run on validation seeds; it supports no claim.")
        parts.append(tables.report(results).strip())
        if "reconstruction" in results and "ratios" in results["reconstruction"]:
            parts += [beside_the_paper(results["reconstruction"]), paper_table(1)]
        if "response" in results:
            parts.append(paper_table(2))
    return "\n\n".join(parts) + "\n"
