"""Python 3.10 is promised: no newer grammar, and no name that only newer standard libraries have.

Where the tests run on 3.10, importing everything says the same; this says it on every other version.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host_stubs import ROOT

OLDEST = (3, 10)
ROOMS = ("reganie_core", "nodes", "trainer", "tests", "benchmarks")
FILES = [ROOT / "__init__.py", *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]
# Names that came with 3.11 or later, by module.
NEWER = {
    "asyncio": "Barrier Runner TaskGroup Timeout timeout timeout_at",
    "builtins": "BaseExceptionGroup ExceptionGroup PythonFinalizationError",
    "collections.abc": "Buffer",
    "contextlib": "chdir",
    "copy": "replace",
    "datetime": "UTC",
    "enum": "EnumCheck FlagBoundary ReprEnum StrEnum member nonmember property verify",
    "hashlib": "file_digest",
    "inspect": "getmembers_static markcoroutinefunction",
    "itertools": "batched",
    "logging": "getHandlerByName getHandlerNames getLevelNamesMapping",
    "math": "cbrt exp2 fma sumprod",
    "operator": "call",
    "os": "listdrives listmounts process_cpu_count",
    "pathlib": "UnsupportedOperation",
    "queue": "ShutDown",
    "re": "NOFLAG PatternError",
    "sys": "activate_stack_trampoline exception monitoring",
    "threading": "setprofile_all_threads settrace_all_threads",
    "types": "CapsuleType get_original_bases",
    "typing": "LiteralString Never NoDefault NotRequired ReadOnly Required Self TypeAliasType TypeIs TypeVarTuple "
              "Unpack assert_never assert_type clear_overloads dataclass_transform evaluate_forward_ref "
              "get_overloads get_protocol_members is_protocol override reveal_type",
    "warnings": "deprecated",
}
NEWER_MODULES = {"annotationlib", "compression", "concurrent.interpreters", "string.templatelib", "tomllib"}
NOT_REQUIRED = {"typing_extensions"}  # no requirement of ours: it may be absent where the code runs


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path), feature_version=OLDEST)


def too_new(tree: ast.Module) -> list[str]:
    """What Python 3.10 would refuse when it imports this; annotations are never evaluated."""
    found, modules = [], {"builtins": "builtins"}
    nodes = list(_run(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
            found += [f"{node.lineno}: {a.name}" for a in node.names if a.name in NEWER_MODULES | NOT_REQUIRED]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            newer = NEWER.get(node.module or "", "").split()
            whole = node.module in NEWER_MODULES | NOT_REQUIRED
            found += [f"{node.lineno}: {node.module}.{a.name}" for a in node.names if whole or a.name in newer]
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NEWER.get(modules.get(node.value.id, ""), "").split():
                found.append(f"{node.lineno}: {node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in NEWER["builtins"].split():
            found.append(f"{node.lineno}: {node.id}")
    return found


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: not what only type checkers read."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or (name == "body" and _for_checkers(node)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _run(child)


def _for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@pytest.mark.parametrize("room", ["__init__.py", *ROOMS])
def test_every_file_is_python_310(room: str) -> None:
    files = [path for path in FILES if path.relative_to(ROOT).parts[0] == room]
    assert files
    assert {str(path.relative_to(ROOT)): found for path in files if (found := too_new(parsed(path)))} == {}


def test_annotations_are_never_evaluated() -> None:
    """What ``too_new`` relies on, wherever something is annotated."""
    for path in FILES:
        tree = parsed(path)
        annotated = any(isinstance(node, ast.AnnAssign) or getattr(node, "annotation", None) or
                        getattr(node, "returns", None) for node in ast.walk(tree))
        postponed = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        assert postponed or not annotated, f"{path}: begin with 'from __future__ import annotations'"


@pytest.mark.parametrize("text", [
    "from typing import Any, Self", "import typing\nx = typing.Self", "import typing as t\nclass A(t.Required): ...",
    "import tomllib", "from enum import StrEnum", "from datetime import UTC", "import datetime\ndatetime.UTC",
    "from typing_extensions import Self", "def f():\n    raise ExceptionGroup('', [])", "import math\nmath.cbrt(8)",
    "try:\n    pass\nexcept* ValueError:\n    pass", "type A = int", "def f[T](x: T) -> T: ...", "class A[T]: ...",
])
def test_what_is_too_new_is_found(text: str) -> None:
    try:
        assert too_new(ast.parse(text, feature_version=OLDEST))
    except SyntaxError:
        pass  # the grammar itself


@pytest.mark.parametrize("text", [
    "match 1:\n    case 1: ...", "with (open('a') as a, open('b') as b): ...", "x: int | None\nzip([], strict=True)",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from typing import Self\ndef f() -> Self: ...",
    "import os\nos.walk('.')", "from .typing import Self", "import datetime\ndatetime.timezone.utc",
])
def test_what_310_has_is_not(text: str) -> None:
    assert too_new(ast.parse(text, feature_version=OLDEST)) == []


@pytest.mark.skipif(sys.version_info[:2] != OLDEST, reason="only Python 3.10 knows what it lacks")
def test_the_list_is_true() -> None:
    for module, names in NEWER.items():
        there = [name for name in names.split() if hasattr(importlib.import_module(module), name)]
        assert there == [], module
    for module in NEWER_MODULES:
        assert importlib.util.find_spec(module.split(".")[0]) is None or "." in module


# ---------------------------------------------------------------------------------------- other Pythons on this machine
OTHER = """
import pathlib, sys
files = sys.stdin.read().split("\\n")
for file in files:
    compile(pathlib.Path(file).read_bytes(), file, "exec", dont_inherit=True)
sys.path.insert(0, sys.argv[1])
import reganie_core.errors, reganie_core.paths  # these need no other package
print(len(files), *sys.version_info[:2])
"""


def interpreter(version: str) -> str | None:
    """Beside the running one, as pyenv lays them, or on the path."""
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))
    return str(beside[-1]) if beside else shutil.which(f"python{version}")


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12"])
def test_another_python_compiles_every_file_without_a_warning(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    run = subprocess.run([python, "-I", "-B", "-W", "error", "-c", OTHER, str(ROOT)], text=True, capture_output=True,
                         input="\n".join(map(str, FILES)), timeout=300, check=False)
    if "command not found" in run.stderr:  # pyenv's stand-in for a version that is switched off
        pytest.skip(f"no Python {version} here")
    assert (run.returncode, run.stdout.split()) == (0, [str(len(FILES)), *version.split(".")]), run.stderr[-2000:]


# --------------------------------------------------------------------------------------------------- declared packages
@pytest.mark.parametrize(("package", "least"), [("einops", 5), ("kornia", 3), ("safetensors", 1)])
def test_the_declared_packages_are_used(package: str, least: int) -> None:
    """A requirement that only tests import would be one that nobody needs."""
    users = []
    for path in (p for p in FILES if p.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")):
        nodes = list(_run(parsed(path)))
        names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
        if any(name.split(".")[0] == package for name in names):
            users.append(path.relative_to(ROOT))
    assert len(users) >= least, users
