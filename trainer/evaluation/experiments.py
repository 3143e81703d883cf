"""The sub-commands of `evaluate.py`: which tables and sheets belong to each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import reganie_core as rc
from reganie_core.editing import parse_edits
from reganie_core.errors import InputError
from reganie_core.sheets import contact_sheet

from . import doubt, editing, editors, generators, networks, prompts, reconstruction, response
from .bench import Bench
from .people import People, Photos, held_out_people

#: Experiment -> portraits by default.
EXPERIMENTS = {"networks": 2000, "generator": 5000, "reconstruction": 1000, "editing": 1000, "doubt": 400,
               "response": 1000, "editor": 500, "text": 100, "ablation": 1000}
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


def _people(args: argparse.Namespace) -> People | Photos:
    if args.images:
        return Photos(args.images, args.count)
    return held_out_people(args.count, args.seed, args.validation, args.style)


def _rendered(args: argparse.Namespace) -> People:
    if args.images:
        raise InputError("Exact answers exist for rendered portraits only; leave --images out here.")
    return held_out_people(args.count, args.seed, args.validation, args.style)


def run_reconstruction(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Table 1."""
    bench.domain.require("encoder", "rectifier")
    people = _people(args)
    sheets["reconstruction"] = contact_sheet(*reconstruction.sheet(bench, people), "Reconstruction")
    return reconstruction.reconstruction(bench, people)


def run_editing(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Edits against exact answers."""
    bench = bench.with_editor(args.editor)
    people = _rendered(args)
    bench.need_attributes()
    bench.domain.require("encoder", "rectifier")
    results = []
    for text in args.edit or DEFAULT_EDITS:
        edits = edits_of(text)
        label = "-".join(f"{name}{value:+g}" for name, value in edits.items())
        sheets[label] = contact_sheet(*editing.sheet(bench, people, edits), text)
        results.append(editing.editing(bench, people, edits))
    return results


def run_doubt(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """The mask that Rectify gives out."""
    bench.domain.require("encoder")
    people = _rendered(args)
    return [doubt.doubt(bench, people, edits_of(text)) for text in args.edit or DEFAULT_EDITS]


def run_response(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Table 2: response and identity, linear directions unless another editor is asked for."""
    bench.domain.require("encoder", "rectifier")
    bench = bench.with_editor(args.editor or "directions")
    people = _people(args)
    return [response.response(bench, people, edits_of(text)) for text in args.edit or RESPONSE_EDITS]


def run_networks(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Can the networks that the tables rely on be relied on?"""
    bench.need_attributes()
    return networks.networks(bench, args.count)


def run_generator(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """Samples against renders."""
    bench.need_attributes()
    sheets["samples"] = contact_sheet(generators.sheet(bench), cell=max(96, bench.resolution), gap=4)
    return generators.generator(bench, args.count)


def run_editor(bench: Bench, args: argparse.Namespace, sheets: Sheets) -> Any:
    """What editors do with what they are asked."""
    bench.need_attributes()
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
    return {"reconstruction": run_reconstruction(bench, args, sheets), "editing": run_editing(bench, args, sheets)}


RUNNERS: dict[str, Callable[[Bench, argparse.Namespace, Sheets], Any]] = {
    "networks": run_networks, "generator": run_generator, "reconstruction": run_reconstruction, "editing": run_editing,
    "doubt": run_doubt, "response": run_response, "editor": run_editor, "text": run_text, "ablation": run_ablation,
}
