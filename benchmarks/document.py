"""docs/performance.md from the rows' JSON files, benchmarks/log.md and the list of targets.

The JSON files hold more: bare convolutions (the roof), GFLOP, what the machine itself reaches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .measure import median
from .targets import all_targets

LOG = Path(__file__).with_name("log.md")
HEAD = """# Speed

Made by `make bench` (`python -m benchmarks`, then `python -m benchmarks --document docs/performance.md`). In every row
the routes take turns (A B A B ...), after a warm-up; times are medians over the rounds, and ratios are medians of the
ratios within the rounds, so that they hold on a loaded machine, too. Compare figures of one row with each other.

- *textbook*: the same networks on the same weights, computed as the papers write them down (`benchmarks/textbook.py`).
- *public*: NVIDIA's stylegan2-ada-pytorch on its reference operations, where a checkout was named.
- *roof*: the network's own bare convolutions and matrix products, the direct way, nothing else. It can be beaten by
  computing fewer products, which the float32 path does (`reganie_core/networks/winograd.py`).
- MiB: peak of one call beyond the loaded network, its inputs and its output, in a process of its own.
- Weights are random; sizes are the published ones. Training steps are those of the test-sized networks.
"""


def load_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Every row that has been measured."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def row_lines(name: str, row: dict[str, Any], clock: str) -> list[str]:
    """One line per route; roofs and the machine's own rates stay in the JSON file."""
    lines = []
    for route, entry in row["routes"].items():
        ms = median(row, route, clock)
        if route.startswith(("rate ", "roof")) or ms is None:
            continue
        peak = entry.get("peak_mib")
        time, memory = f"{ms:.0f}" if ms >= 20 else f"{ms:.2f}", "-" if peak is None else f"{peak:.0f}"
        lines.append(f"| {name} | {route} | {entry['dtype']} | {entry['images']} | {time} | {memory} |")
    return lines


def machine_lines(rows: dict[str, dict[str, Any]]) -> list[str]:
    """What computed, once for all rows that agree."""
    seen: dict[str, list[str]] = {}
    for name, row in rows.items():
        if "machine" in row:
            about = {k: v for k, v in row["machine"].items() if k != "load"}
            seen.setdefault("; ".join(f"{k}: {v}" for k, v in about.items()), []).append(name)
    lines = ["## Machine", ""]
    for text, names in sorted(seen.items(), key=lambda item: -len(item[1])):
        lines.append(f"- {text}" + (f" ({', '.join(names)})" if len(seen) > 1 else ""))
    loads = [row["machine"]["load"] for row in rows.values() if "load" in row.get("machine", {})]
    if loads:
        lines.append(f"- other work on the machine when the rows began (load average): {min(loads):.1f} to "
                     f"{max(loads):.1f}")
    return [*lines, ""]


def document(folder: Path, order: list[str], clock: str = "wall") -> str:
    """The whole text."""
    rows = load_rows(folder)
    lines = [HEAD, *machine_lines(rows), "## Targets", "", "| target | seen | |", "|---|---|---|"]
    lines += [f"| {t.text} | {t.seen} | {t.verdict} |" for t in all_targets(rows, clock)]
    lines += ["", f"## Rows ({'time on the wall' if clock == 'wall' else 'processor time'})", "",
              "| row | route | dtype | images | ms | MiB |", "|---|---|---|---|---|---|"]
    for name in order:
        lines += row_lines(name, rows[name], clock) if name in rows else [f"| {name} | not measured | | | | |"]
    notes = [f"- {name}: {rows[name]['note']}" for name in order if rows.get(name, {}).get("note")]
    return "\n".join([*lines, "", *notes, "", LOG.read_text().rstrip(), ""])
