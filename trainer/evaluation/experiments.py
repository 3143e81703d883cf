"""The sub-commands of `evaluate.py`: which tables and sheets belong to each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import mean
from typing import Any

import reganie_core as rc
from reganie_core.editing import parse_edits
from reganie_core.errors import InputError
from reganie_core.sheets import contact_sheet

from . import doubt, editing, editors, generators, judges, prompts, reconstruction, response
from .bench import PERCEPTUAL, Bench
from .people import People, Photos, held_out_people
from .stats import criterion

#: Experiment -> portraits by default.
EXPERIMENTS = {"summary": 1000, "judges": 2000, "generator": 5000, "reconstruction": 1000, "editing": 1000,
               "doubt": 400, "response": 1000, "editor": 500, "text": 100, "ablation": 1000, "unseen": 1000,
               "out-of-domain": 1000, "figures": 40}
DEFAULT_EDITS = ("yaw=+15", "yaw=-15", "smile=+0.5", "age=+0.5", "glasses=on")
RESPONSE_EDITS = ("yaw=+30", "yaw=-30", "age=+1", "age=-1")  # about two deviations, the paper's strength
Sheets = dict[str, Any]


def change(name: str, value: Any) -> float:
    """An edit as the change that the exact answer makes; absolute values are refused."""
    if isinstance(value, rc.Target):
        raise InputError(f"{name}=@... is an absolute value; tables compare changes, write {name}=+1.")
    return (1.0 if value else -1.0) if isinstance(value, bool) else float(value)


def edits_of(text: str) -> dict[str, float]:
    """`yaw=+15, glasses=on` as changes."""
    return {name: change(name, value) for name, value in parse_edits(text).items()}


def _people(bench: Bench, args: argparse.Namespace, style: str = "default") -> People | Photos:
    if args.images:
        return Photos(args.images, args.count)
    return held_out_people(args.count, args.seed, args.validation, style)


def _reconstruct(bench: Bench, people: People | Photos, title: str, sheets: Sheets, name: str, numbers: bool,
                 limits: Mapping[str, float] = reconstruction.LIMITS) -> Any:
    bench.domain.require("encoder", "rectifier")
    rows, columns, labels = reconstruction.sheet(bench, people)
    sheets[name] = contact_sheet(rows, columns, labels, title)
    return reconstruction.reconstruction(bench, people, limits) if numbers else None


def run_reconstruction(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Table 1."""
    return _reconstruct(bench, _people(bench, args), "Reconstruction", sheets, "reconstruction", True)


def run_out_of_domain(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Figure 8: another drawing style, or the pictures of a folder; nothing is tuned for them."""
    return _reconstruct(bench, _people(bench, args, args.style), "Out of domain", sheets, "out-of-domain", True,
                        reconstruction.ANY_GAIN)


def _edit(bench: Bench, args: argparse.Namespace, sheets: Sheets, prefix: str = "", numbers: bool = True) -> Any:
    if args.images:
        raise InputError("Exact answers exist for rendered portraits only; leave --images out here.")
    bench.need_judge()
    bench.domain.require("encoder", "rectifier")
    people = held_out_people(args.count, args.seed, args.validation)
    results = []
    for text in args.edit or DEFAULT_EDITS:
        edits = edits_of(text)
        rows, columns, labels = editing.sheet(bench, people, edits)
        label = "-".join(f"{name}{value:+g}" for name, value in edits.items())
        sheets[prefix + label] = contact_sheet(rows, columns, labels, f"{text}")
        if numbers:
            results.append(editing.editing(bench, people, edits))
    return results


def run_editing(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Table 2, with exact answers."""
    return _edit(bench.with_editor(args.editor), args, sheets)


def run_doubt(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """The mask that Rectify gives out."""
    bench.domain.require("encoder")
    people = held_out_people(args.count, args.seed, args.validation)
    return [doubt.doubt(bench, people, edits_of(text)) for text in args.edit or DEFAULT_EDITS]


def run_response(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Table 2: response and identity, linear directions unless another editor is asked for."""
    bench.domain.require("encoder", "rectifier")
    bench = bench.with_editor(args.editor or "directions")
    people = _people(bench, args)
    return [response.response(bench, people, edits_of(text)) for text in args.edit or RESPONSE_EDITS]


def run_judges(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Can the networks that the tables rely on be relied on?"""
    bench.need_judge()
    return judges.judges(bench, args.count)


def run_generator(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Samples against renders."""
    bench.need_judge()
    sheets["samples"] = contact_sheet(generators.sheet(bench), cell=max(96, bench.resolution), gap=4)
    return generators.generator(bench, args.count)


def run_editor(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """What editors do with what they are asked."""
    bench.need_judge()
    bench.domain.require("encoder")
    return editors.editor(bench, args.count, (args.editor,) if args.editor else ())


def run_text(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Edits by text."""
    result = prompts.text(bench, args.count)
    rows, columns, labels = prompts.sheet(bench)
    sheets["text"] = contact_sheet(rows, columns, labels, "Edits by text, which the rectifier was not trained with")
    return result


def run_ablation(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Figure 6: other rectifiers in the same tables."""
    if not bench.rectifiers:
        raise InputError("An ablation compares rectifiers: give at least one --rectifier LABEL=FILE.")
    found = {"reconstruction": run_reconstruction(bench, args, sheets), "editing": run_editing(bench, args, sheets)}
    return {**found, "order": ablation_order(found)}


def ablation_order(found: Mapping[str, Any]) -> dict[str, Any]:
    """What Figure 6 must show, of the rows that are there: both > spatial only > global only, mean over the edits."""
    rows: dict[str, dict[str, float]] = {}
    for label, row in found["reconstruction"]["rows"].items():
        edited = [r["rows"][label] for r in found["editing"] if label in r["rows"]]
        if edited:
            rows[label] = {"reconstruction, L2": row["L2"]["all"]["mean"]} | {
                f"edits, {column}": mean(r[column]["all"]["mean"] for r in edited)
                for column in (editing.WHOLE, editing.CHANGED, editing.REST, PERCEPTUAL)}
    criteria = [criterion(f"{column}: {better} / {worse}", rows[better][column] / rows[worse][column], 1.0)
                for better, worse in pairwise(("both", "spatial only", "global only"))
                for column in ("edits, whole", f"edits, {PERCEPTUAL}", "reconstruction, L2")
                if better in rows and worse in rows and (better == "both" or column.startswith("edits"))]
    return {"rows": rows, "criteria": criteria}


def run_unseen(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Figure 7: editors that the rectifier did not meet in training: linear directions, and text where there is one."""
    bench.domain.require("directions")
    found: dict[str, Any] = {"editing": _edit(bench.with_editor("directions"), args, sheets)}
    if bench.domain.styleclip is not None:
        args.count = min(args.count, EXPERIMENTS["text"])
        found["text"] = run_text(bench, args, sheets)
    return found


def run_figures(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """The sheets alone: Figures 4 (items), 5 (methods), 6 (rectifiers), 7 (unseen editors), 8 (another style)."""
    args.edit = args.edit or list(DEFAULT_EDITS)
    people = _people(bench, args)
    _reconstruct(bench, people, "Reconstruction", sheets, "figure4-reconstruction", False)
    _edit(bench.with_editor(args.editor), args, sheets, "figure5-", False)
    if bench.domain.directions is not None:
        _edit(bench.with_editor("directions"), args, sheets, "figure7-directions-", False)
    if bench.domain.styleclip is not None:
        sheets["figure7-text"] = contact_sheet(*prompts.sheet(bench), "Edits by text")
    other = _people(bench, args, args.style)
    _reconstruct(bench, other, "Out of domain", sheets, "figure8-out-of-domain", False)
    return {"sheets": sorted(sheets)}


RUNNERS: dict[str, Callable[[Bench, argparse.Namespace, Sheets], Any]] = {
    "judges": run_judges, "generator": run_generator, "reconstruction": run_reconstruction, "editing": run_editing,
    "doubt": run_doubt, "response": run_response, "editor": run_editor, "text": run_text, "ablation": run_ablation,
    "unseen": run_unseen, "out-of-domain": run_out_of_domain, "figures": run_figures,
}
