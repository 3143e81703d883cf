"""Promise 1: no code from files.

Whatever a model file asks for, nothing it names is imported or executed, by no reader, node or command; it is refused
with ``UnsafeCheckpointError``, and there is no fallback to an unsafe reader. Not promised: that the weights in a
harmless container mean well.
"""

from __future__ import annotations

import ast
import pickle
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import reganie_core as rc
from reganie_core import checkpoints
from reganie_core.errors import ReganieError, UnsafeCheckpointError
from tests import checkpoint_files as files
from tests import hostile
from tests.host_stubs import ROOT, call
from tests.promises.helpers import shipped_files

pytest_plugins = ["tests.nodes_fixtures"]

# Code that is only carried along, not asked for: it is data here, whatever else is wrong with the file.
DULL = ("persistence_source", "nested_pickle", "nested_zip")
READERS = {
    "inspect": rc.inspect, "load_generator": rc.load_generator, "load_encoder": rc.load_encoder,
    "load_rectifier": rc.load_rectifier, "load_editor": rc.load_editor, "load_inverter": rc.load_inverter,
    "read_checkpoint": checkpoints.read_checkpoint,
    "convert": lambda path: rc.convert(path, path.parent / "converted.safetensors"),
}


@pytest.fixture
def corpus(tmp_path: Path) -> list[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = list(hostile.code_cases(tmp_path))
    paths = []
    for name, content in cases:
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    assert len(paths) > 40
    return paths


def test_files_that_ask_for_code_are_refused_by_every_reader(corpus: list[Path], tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a hostile source would write
    before = sorted(tmp_path.iterdir())
    for path in corpus:
        for name, reader in READERS.items():
            try:
                reader(path)
                refused = None
            except ReganieError as error:
                refused = type(error)
            if path.stem.startswith(DULL):
                assert refused or name == "inspect", (path.name, name)
            elif name != "read_checkpoint":
                assert refused is UnsafeCheckpointError, (path.name, name, refused)
    assert sorted(tmp_path.iterdir()) == before, "something ran, or something was written"


def test_a_graph_that_names_such_a_file_is_refused_too(pack: SimpleNamespace, corpus: list[Path]) -> None:
    folder = Path(pack.host.folder_paths.models_dir) / "stylegan"
    folder.mkdir(exist_ok=True)
    try:
        for path in (p for p in corpus if p.suffix in (".pkl", ".pt")):
            shutil.copy(path, folder / path.name)
            pack.nodes["LoadStyleGAN"].INPUT_TYPES()  # the list looks into files as well
            with pytest.raises(pack.rc.ReganieError):
                call(pack, "LoadStyleGAN", file=path.name)
            assert not (path.parent / hostile.SENTINEL).exists(), path.name
    finally:
        shutil.rmtree(folder)


def test_harmless_files_are_read_without_the_unsafe_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = hostile.tiny_generator()
    paths = [files.rosinality_file(tmp_path / "r.pt", files.to_rosinality(network.state_dict())),
             files.nvidia_file(tmp_path / "n.pkl", 4, G_ema=files.nvidia_generator(network.state_dict(), clamp=None))]

    hostile.tiny_generator(8)  # torch imports parts of itself late
    rc.load_generator(paths[0])

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("An unsafe reader was called.")

    for owner, name in ((torch, "load"), (torch.jit, "load"), (pickle, "load"), (pickle, "loads"), (np, "load"),
                        (pickle, "Unpickler"), (torch.storage, "_load_from_bytes")):
        monkeypatch.setattr(owner, name, refuse)
    assert all(rc.load_generator(path).resolution == 16 for path in paths)


def forbidden_calls(tree: ast.AST) -> list[str]:
    """Calls that execute what a file or a text names."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = ("eval", "exec", "torch.load", "torch.jit.load", "pickle.load", "pickle.loads")
    return [ast.unparse(node.func) for node in calls if ast.unparse(node.func) in names
            or any(k.arg == "allow_pickle" and getattr(k.value, "value", 1) is not False for k in node.keywords)]


def test_the_checker_finds_what_it_looks_for() -> None:
    code = "torch.load(x); np.load(f, allow_pickle=True); eval('1'); np.load(f, allow_pickle=False)"
    assert forbidden_calls(ast.parse(code)) == ["torch.load", "np.load", "eval"]


def test_no_shipped_file_calls_what_executes() -> None:
    found = {path.relative_to(ROOT).as_posix(): forbidden_calls(ast.parse(path.read_text(encoding="utf-8")))
             for path in shipped_files()}
    assert {path: calls for path, calls in found.items() if calls} == {}
