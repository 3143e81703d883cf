"""`make soak`: the tests that are too long for every run, one after another, and their summary in docs/promises.md.

    python -m tests.soak [--only NAME ...] [--report]

--report runs nothing and writes the section `## Soak` from what the last runs have left in out/soak.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "soak"
DOCUMENT = ROOT / "docs" / "promises.md"
TABLE = ROOT / "docs" / "bad-inputs.md"
HEADING = "## Soak"
STEPS = {
    "tests": ["-m", "pytest", "-q", "-m", "soak"],
    "kills": ["-m", "tests.kill_soak", "--kills", "100", "--json", str(OUT / "kills.json")],
    "bad inputs": ["-W", "ignore", "-m", "tests.bad_inputs", "--out", str(TABLE)],
    "memory": ["-W", "ignore", "-m", "tests.soak_memory", "--runs", "200", "--json", str(OUT / "memory.json")],
    "fuzzing": ["-m", "tests.fuzz", "--cases", "1000000", "--json", str(OUT / "fuzz.json")],
}


def run(names: list[str]) -> dict[str, str]:
    """Run steps; name -> its last line, or what went wrong."""
    OUT.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in names:
        if name == "fuzzing":
            (OUT / "fuzz_again.json").unlink(missing_ok=True)       # of a run after the last whole one
        begin = time.monotonic()
        print(f"--- {name}", flush=True)
        with (OUT / f"{name.replace(' ', '_')}.log").open("w") as log:
            code = subprocess.run([sys.executable, *STEPS[name]], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                                  env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
        lines = [line for line in Path(log.name).read_text(errors="replace").splitlines() if line.strip()]
        results[name] = f"{'ok' if code == 0 else f'FAILED ({code})'}, {time.monotonic() - begin:.0f} s: " + \
            (lines[-1] if lines else "")
        print(results[name], flush=True)
    return results


def load(name: str) -> dict[str, Any] | None:
    """What a step has left, if it has run."""
    path = OUT / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _when(found: dict[str, Any]) -> str:
    about = found.get("about", {})
    return f"{about.get('date', '')}, {about.get('commit', '')}"


def rows() -> list[tuple[str, str, str]]:
    """(what, figures, date and commit) of every step that has left something."""
    made = []
    if kills := load("kills"):
        phases = ", ".join(f"{count} in a {phase}" for phase, count in sorted(kills["phases"].items()))
        made.append(("Kills", f"{kills['kills']} SIGKILLs over all {len(kills['stages'])} training stages ({phases}): "
                     "every time the state of the last or last but one step was whole, every file under its own name "
                     "was, at most one leftover was there and went with the next start; every stage's run then went "
                     "on and ended with the same bits as one that was left alone.", _when(kills)))
    for fuzz in filter(None, (load("fuzz"), load("fuzz_again"))):
        each = ", ".join(f"{name} {target['cases']:,}" for name, target in fuzz["targets"].items())
        made.append(("Fuzzing", f"{fuzz['cases']:,} cases over {len(fuzz['targets'])} readers, {fuzz['finds']} finds "
                     f"in this run ({each}).", _when(fuzz)))
    if counts := re.search(r"^(\d+) cases: (.*)$", TABLE.read_text() if TABLE.is_file() else "", re.MULTILINE):
        made.append(("Bad inputs", f"{counts[1]} cases over every node: {counts[2]} [The table](bad-inputs.md).", ""))
    if memory := load("memory"):
        made.append(("Memory", "Resident memory of the process, on a CPU; a GPU's has not been measured. "
                     f"After {memory['runs']} runs of the whole graph {memory['after_runs_mb']:+.1f} MB, "
                     f"after {memory['cancelled']} more that were cancelled at random moments "
                     f"{memory['after_cancel_mb']:+.1f} MB, at most {memory['most_mb']:+.1f} MB between (start "
                     f"{memory['start_mb']} MB, allowed {memory['allowed_mb']} MB).", _when(memory)))
    return made


def section() -> str:
    """The section of the document."""
    machine = next((found["about"]["machine"] for name in ("fuzz", "kills", "memory")
                    if (found := load(name)) and "about" in found), "")
    lines = [HEADING, "", f"What `make soak` has shown last{f', on {machine}' if machine else ''}.", "",
             "| | figures | date, commit |", "| --- | --- | --- |"]
    lines += [f"| {what} | {figures} | {when} |" for what, figures, when in rows()]
    lines += ["", "What these tests have found, and what was done; the inputs are kept in `tests/fuzz/finds` and run "
              "with `make test`:", "", "| by | found | mended |", "| --- | --- | --- |"]
    finds = json.loads((ROOT / "tests" / "soak_finds.json").read_text())
    lines += [f"| {find['by']} | {find['found']} | {find['fixed']} |" for find in finds]
    return "\n".join(lines) + "\n"


def refreshed(document: str, text: str) -> str:
    """The document with its section replaced by ``text``, or appended; nothing else is touched."""
    start = re.search(rf"^{re.escape(HEADING)}[ \t]*$", document, re.MULTILINE)
    if start is None:
        return f"{document.rstrip()}\n\n{text}" if document.strip() else text
    rest = document[start.end():]
    following = re.search(r"^## ", rest, re.MULTILINE)
    tail = rest[following.start():] if following else ""
    return document[:start.start()] + text + (f"\n{tail}" if tail else "")


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", action="append", choices=list(STEPS), help="only this step; may be given again")
    p.add_argument("--report", action="store_true", help="run nothing, write the summary")
    args = p.parse_args()
    results = {} if args.report else run(args.only or list(STEPS))
    before = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.is_file() else "# Promises\n"
    DOCUMENT.write_text(refreshed(before, section()), encoding="utf-8")
    print("\n".join(["", *(f"{name:11} {result}" for name, result in results.items())]))
    return 1 if any(result.startswith("FAILED") for result in results.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
