"""Results as Markdown."""

from __future__ import annotations

from typing import Any


def markdown(rows: dict[str, dict[str, float]], corner: str) -> str:
    """{row: {column: number}} as a Markdown table with four significant digits."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(f"{row[c]:.4g}" for c in columns) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def report(results: dict[str, Any]) -> str:
    """All results of one run of `evaluate.py`, with what was run."""
    about = results["about"]
    parts = [f"`{about['command']}`: {about['count']} portraits, seeds from {about['seed']}, half of them with a "
             f"long-tail item; commit {about['commit'][:12]}."]
    if "reconstruction" in results:
        r = results["reconstruction"]
        parts.append(markdown({**r["rows"], "X_r / X^": r["rectified / inversion"]}, "reconstruction, L2"))
    for e in results.get("editing", []):
        label = ", ".join(f"{k} {v:+g}" for k, v in e["edit"].items())
        parts.append(markdown(e["rows"], f"{label}: L2 to the exact answer"))
        parts.append("Edit kept by the rectifier: " + ", ".join(f"{k} {v:.1%}" for k, v in e["kept"].items()) + ".")
    return "\n\n".join(parts) + "\n"
