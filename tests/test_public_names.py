"""The public names: loaded on first use, known to editors, and every one that a message tells people to use exists."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import reganie_core as rc
from reganie_core import kinds

ROOT = Path(rc.__file__).parent
NAMED = re.compile(r"\b(?:rc|reganie_core)\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def type_checked() -> tuple[dict[str, str], set[str]]:
    """What ``if TYPE_CHECKING`` of the package imports: name -> module, and the modules themselves."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    names = {alias.name: node.module for node in imports if node.module for alias in node.names}
    return names, {alias.name for node in imports if node.module is None for alias in node.names}


def test_editors_see_the_names_that_are_loaded_on_first_use() -> None:
    names, modules = type_checked()
    assert names == rc._NAMES
    assert modules == rc._MODULES


def test_every_public_name_exists() -> None:
    for name in (*rc._NAMES, *rc._MODULES):
        assert getattr(rc, name) is not None, name
    assert callable(rc.invert) and callable(rc.rectify)


def exists(dotted: str) -> bool:
    try:
        pkgutil.resolve_name(f"reganie_core.{dotted}")
    except (AttributeError, ImportError):
        return False
    return True


def test_names_in_texts_exist() -> None:
    """Of strings only (messages and docstrings): code that names what is not there fails by itself."""
    found = {}
    for path in (*ROOT.rglob("*.py"), *(ROOT.parent / "nodes").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= dict.fromkeys(NAMED.findall(node.value), path.name)
    assert len(found) > 3
    assert {name: file for name, file in found.items() if not exists(name)} == {}


def test_every_loader_of_the_table_of_kinds_exists() -> None:
    for name, kind in kinds.KINDS.items():
        assert hasattr(rc, kind.loader) or hasattr(rc.checkpoints, kind.loader), name
        for network in kind.networks:
            assert rc.networks.network_class(name, network) and rc.networks.config_class(name, network)
