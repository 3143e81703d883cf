"""Results as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def number(value: Any) -> str:
    """A cell {"mean", "low", "high"} with its interval, a number with four digits, anything else as text."""
    if isinstance(value, Mapping):
        if not math.isfinite(value["mean"]):
            return "–"
        return f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return str(value)


def markdown(rows: Mapping[str, Mapping[str, Any]], corner: str) -> str:
    """{row: {column: number or cell}} as a Markdown table; a row may lack columns."""
    columns = list(dict.fromkeys(c for row in rows.values() for c in row))
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(number(row[c]) if c in row else "" for c in columns) + " |"
              for name, row in rows.items()]
    return "\n".join(lines)


def _networks(r: Mapping[str, Any]) -> list[str]:
    parts = [markdown(r["rows"], "evaluation network against truth"),
             "Reported in tables: " + ", ".join(r["reported"]) + ". Dropped: " + (", ".join(r["dropped"]) or "none")
             + "."]
    if "identity" in r:
        parts.append(markdown({"identity network": r["identity"]}, "pairs"))
    return parts


def _generator(r: Mapping[str, Any]) -> list[str]:
    return [markdown(r["rows"], f"sets of pictures, features of the evaluation network, k = {r['neighbours']}"),
            markdown(r["attributes"], "attributes as the evaluation network reads them")]


def _reconstruction(r: Mapping[str, Any]) -> list[str]:
    slow = r.get("slow", {"rows": [], "count": 0})
    whole = {f"{name}, on {slow['count']} of them" if name in slow["rows"] else name:
             {m: groups["all"] for m, groups in row.items()} for name, row in r["rows"].items()}
    by_group = {group: {m: cells[group] for m, cells in r["ratios"].items()} for group in next(iter(
        r["ratios"].values()))}
    times = {name: {"ms per picture": value} for name, value in r["milliseconds"].items()}
    parts = [markdown(whole, f"reconstruction, {r['count']} pictures"),
             markdown(by_group, "X_r / X^ (similarities: ratio of the gaps to 1)")]
    if "subset" in r:
        parts.append(markdown(r["subset"], "the same on the pictures that slow methods were run on"))
    what = "networks only, batch of 8, median of 5 warm runs, synchronised (slow methods: one picture, once)"
    parts.append(markdown(times, what))
    return parts


def _name(edit: Mapping[str, float]) -> str:
    return ", ".join(f"{k} {v:+g}" for k, v in edit.items())


def _editing(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ratios to the rows without a network first, then every row; one column an edit."""
    ratios = {f"{pair}: {column}": {_name(r["edit"]): r["against"][pair][column] for r in results}
              for pair in results[0]["against"] for column in results[0]["against"][pair]}
    parts = [f"{results[0]['count']} portraits (who cannot change any more is left out). *changed*: where the "
             "exact answer differs from X0; *rest*: elsewhere; *whole*: everywhere.",
             markdown(ratios, "error of one row over another's, 95 % interval")]
    columns = dict.fromkeys(c for r in results for row in r["rows"].values() for c in row)
    less = ("rest",) if any("sharpness" in column for column in columns) else ()   # of larger photos: in the ratios
    for column in columns:
        if column.startswith(("change of", "error of", "item", "identity", *less)):
            continue
        rows = {name: {_name(r["edit"]): _plain(r["rows"][name][column]["all"]) for r in results
                       if column in r["rows"].get(name, {})} for name in results[0]["rows"]}
        parts.append(markdown({name: row for name, row in rows.items() if row}, column))
    kept = {f"{a}, {_name(r['edit'])}": {"of Y^'s": r["kept"][a], "of the exact answer's": r["response of answer"][a]}
            for r in results for a in r["kept"]}
    return [*parts, markdown(kept, "change that the evaluation network reads, the first learned row or carry")]


def _plain(cell: Any) -> Any:
    """A cell's mean without its interval."""
    return float(cell["mean"]) if isinstance(cell, Mapping) else cell


def _doubt(results: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = {_name(r["edit"]): r["columns"] for r in results}
    return [markdown(rows, f"mask of doubt against the worst tenth of the errors, {results[0]['count']} portraits")]


def _response(results: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = []
    for r in results:
        parts.append(markdown(r["rows"], f"{_name(r['edit'])}, {r['count']} pictures"))
        for column, found in r.get("of exact", {}).items():
            shares = "; ".join(f"{name} {number(v)}" for name, v in found.items() if name != "people")
            parts.append(f"Exact answers are those of the {found['people']} people who stay within the control's "
                         f"range. Of the {column} read in them: {shares or 'nobody is asked'}.")
    return parts


def _editor(r: Mapping[str, Any]) -> list[str]:
    parts = [markdown({name: row["all"] for name, row in r["editors"].items()}, "editor, over all attributes")]
    for name, row in r["editors"].items():
        parts += [markdown(row["attributes"], f"{name}: one attribute at a time"),
                  markdown(row["together"], f"{name}: several at once")]
    return parts


def _text(r: Mapping[str, Any]) -> list[str]:
    parts = [markdown(r["rows"], "prompt"), markdown(r["errors"], "L2 to the exact answer, all prompts")]
    if r["left out"]:
        parts.append("Left out, because the evaluation network does not read what they ask for well enough: "
                     + ", ".join(r["left out"]) + ".")
    return parts


def _photographs(r: Mapping[str, Any]) -> list[str]:
    return [markdown(rows, f"{edit}, {r['count']} people: distance to the real picture")
            for edit, rows in r["tables"].items()]


#: Experiment -> its tables.
SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "networks": _networks, "generator": _generator, "reconstruction": _reconstruction, "editing": _editing,
    "doubt": _doubt, "photographs": _photographs, "response": _response, "editor": _editor, "text": _text,
    "ablation": lambda r: [*_reconstruction(r["reconstruction"]), *_editing(r["editing"])],
}


def section(results: Mapping[str, Any]) -> str:
    """The tables of one run of `evaluate.py`."""
    return "\n\n".join(part for name, tables in SECTIONS.items() if name in results for part in tables(results[name]))


def report(results: Mapping[str, Any]) -> str:
    """The same with what was run."""
    about = results["about"]
    parts = [f"`{about['command']}`: {about['count']} pictures, seeds from {about['seed']}; domain {about['domain']}, "
             f"commit {about['commit'][:12]}, torch {about['torch']} on {about['machine']}, {about['date']}."]
    if about["validation"]:
        parts.append("**Validation seeds: for looking while developing, not for claims.**")
    return "\n\n".join([*parts, *about["notes"], section(results)]) + "\n"
