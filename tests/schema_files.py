"""Writes what is derived from the node definitions: ``python -m tests.schema_files``.

Appends new nodes to tests/golden_schema.json (never changes what is frozen there) and rewrites
locales/en/nodeDefs.json and the help pages of former ids. Translations are written by people; a test says what they
lack.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from tests.host_stubs import ROOT, host_modules, load_pack

GOLDEN = ROOT / "tests" / "golden_schema.json"
ENGLISH = ROOT / "locales" / "en" / "nodeDefs.json"
PAGES = ROOT / "web" / "docs"
PREFIX = "ReGANIE_"
HOSTS_OWN = {"SaveLatent", "LoadLatent"}  # ids that ComfyUI has itself, so ours never get them there


def former(nodes: dict[str, type]) -> set[str]:
    """The ids that a node had before the prefix; kept for graphs saved with them, and left out of everything else."""
    return {name for name in nodes if PREFIX + name in nodes}


FORMER = """# {name}

This graph was saved before the id of this node became `{id}`. It runs as ever. For the node's help page, add
*{name}* from the search, select it and press **ⓘ** above it.
"""


def schema(nodes: dict[str, type]) -> dict[str, Any]:
    """Inputs and outputs of every node, as saved graphs know them."""
    found = {}
    for name, cls in nodes.items():
        groups = cls.INPUT_TYPES()
        found[name] = {
            "inputs": [
                [group, key, spec[0] if isinstance(spec[0], str) else "COMBO"]
                for group in ("required", "optional")
                for key, spec in groups.get(group, {}).items()
            ],
            "outputs": [[t, n] for t, n in zip(cls.RETURN_TYPES, cls.RETURN_NAMES, strict=True)],
        }
    return found


def message(text: str) -> str:
    """A text for the page's translator (vue-i18n), to which these four signs mean something unless quoted."""
    return re.sub(r"[@{}|]", lambda sign: f"{{'{sign[0]}'}}", text)


def english(nodes: dict[str, type], names: dict[str, str]) -> dict[str, Any]:
    """nodeDefs.json of ComfyUI's locales, from the nodes themselves."""
    defs = {}
    for node, cls in nodes.items():
        if node in former(nodes):
            continue
        groups = cls.INPUT_TYPES()
        specs = {key: spec for group in ("required", "optional") for key, spec in groups.get(group, {}).items()}
        outputs = zip(cls.RETURN_NAMES, cls.OUTPUT_TOOLTIPS, strict=True)
        defs[node] = {
            "display_name": names[node],
            "description": message(cls.DESCRIPTION),
            "inputs": {key: {"name": key, "tooltip": message(spec[1]["tooltip"])} for key, spec in specs.items()},
            "outputs": {str(i): {"name": name, "tooltip": message(tip)} for i, (name, tip) in enumerate(outputs)},
        }
    return defs


def dump(data: dict[str, Any]) -> str:
    """JSON as people read it in a diff: lists of plain values stay on one line."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    lines, inside = [], False
    for line in text.splitlines():
        if inside:
            lines[-1] += line.strip() if line.strip() in ("]", "],") else line.strip() + " "
            inside = line.strip() not in ("]", "],")
            if not inside:
                lines[-1] = lines[-1].replace(" ]", "]")
        else:
            lines.append(line)
            inside = line.endswith("[") and line.startswith("   ") and not line.strip().startswith('"')
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pack = load_pack(host_modules(Path(folder)))
        nodes, names = pack.NODE_CLASS_MAPPINGS, pack.NODE_DISPLAY_NAME_MAPPINGS
        golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
        new = {name: node for name, node in schema(nodes).items() if name not in golden}
        GOLDEN.write_text(dump(golden | new), encoding="utf-8")
        ENGLISH.parent.mkdir(parents=True, exist_ok=True)
        ENGLISH.write_text(json.dumps(english(nodes, names), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for name in former(nodes) - HOSTS_OWN:
            (PAGES / f"{name}.md").write_text(FORMER.format(name=names[name], id=PREFIX + name), encoding="utf-8")


if __name__ == "__main__":
    main()
