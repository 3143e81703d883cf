"""Our own files: the package reads the tensors, our check stands in front, and the bytes are always the same."""

from __future__ import annotations

import json
import os
import struct
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reganie_core.checkpoints import ours, read_checkpoint, safetensors_file, save_checkpoint
from reganie_core.errors import CorruptCheckpointError

OURS = {"format_version": "1", "kind": "training", "config": "{}", "provenance": "{}"}


def of_every_kind() -> dict[str, torch.Tensor]:
    numbers = torch.tensor([[1.0, 0.0, 3.0], [0.0, 5.0, 6.0]])
    made = {str(dtype).split(".")[1]: numbers.to(dtype) for dtype in safetensors_file.NAMES}
    made |= {f"{name} 0-d": tensor[1, 1].clone() for name, tensor in list(made.items())}
    made |= {f"{name} empty": tensor[:, :0].clone() for name, tensor in list(made.items()) if tensor.ndim}
    return {**made, "turned": numbers.t(), "one row": numbers[:1].expand(4, -1), "of more": numbers[0, 1:]}


@pytest.fixture(params=["read", "mapped"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The package as it is, and as it was before 0.8."""
    if request.param == "mapped":
        newest = safetensors_file.safe_open

        def older(path: Any, framework: str) -> Any:
            return newest(path, framework=framework)

        monkeypatch.setattr(safetensors_file, "safe_open", older)
    return request.param


def test_every_type_and_shape_comes_back(tmp_path: Path, package: str) -> None:
    tensors, path = of_every_kind(), tmp_path / "x.safetensors"
    save_checkpoint(path, "training", {}, tensors, {})
    found, theirs = read_checkpoint(path).tensors, load_file(path)
    assert found.keys() == theirs.keys() == tensors.keys() and len(tensors) > 30
    for name, tensor in tensors.items():
        wanted = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        assert found[name].dtype == wanted.dtype and torch.equal(found[name], wanted), name
        assert theirs[name].dtype == tensor.dtype and torch.equal(theirs[name], tensor), name
        found[name].zero_()  # memory of its own ...
    assert all(torch.equal(load_file(path)[name], tensor) for name, tensor in tensors.items())  # ... not the file's


def test_what_the_package_writes_is_read(tmp_path: Path, package: str) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in of_every_kind().items() if name != "of more"}
    save_file({n: t.clone() for n, t in tensors.items()}, tmp_path / "x.safetensors", OURS)
    found = read_checkpoint(tmp_path / "x.safetensors", "training").tensors
    assert found.keys() == tensors.keys() and all(torch.equal(found[n], t.to(found[n])) for n, t in tensors.items())


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order of names: of tensors, of the configuration and of the metadata."""
    tensors, seen = of_every_kind(), set()
    for names in (list(tensors), list(reversed(tensors))):
        path = tmp_path / "x.safetensors"
        save_checkpoint(path, "training", {"a": 1, "b": 2}, {n: tensors[n].clone() for n in names}, {"seed": 1})
        seen.add(path.read_bytes())
    content, = seen
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_bytes_that_are_no_bools(tmp_path: Path, package: str) -> None:
    header = {"__metadata__": OURS, "m": {"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0\1\2\xff")
    found = read_checkpoint(tmp_path / "x.safetensors").tensors["m"]
    assert found.view(torch.uint8).tolist() == [0, 1, 1, 1]


def replaced(path: Path) -> None:
    save_checkpoint(path, "training", {}, {"a": torch.ones(1000)}, {})


def shortened(path: Path) -> None:
    os.truncate(path, 3000)


@pytest.mark.parametrize(("change", "words"), [(replaced, "changed while it was read"), (shortened, "to its end")])
def test_a_file_that_changes_after_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any,
                                             words: str) -> None:
    path, checked = tmp_path / "x.safetensors", ours.read_header
    save_checkpoint(path, "training", {}, {"a": torch.zeros(1000)}, {})

    def then_changed(*args: Any) -> Any:
        header = checked(*args)
        change(path)
        return header

    monkeypatch.setattr(ours, "read_header", then_changed)
    with pytest.raises(CorruptCheckpointError, match=words):
        read_checkpoint(path)
    monkeypatch.undo()
    if change is replaced:
        assert torch.equal(read_checkpoint(path).tensors["a"], torch.ones(1000))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not list what is mapped")
@pytest.mark.skipif(version("safetensors") < "0.8", reason="before 0.8 the package always maps")
def test_reading_takes_no_more_memory_than_the_tensors(tmp_path: Path) -> None:
    """The file is not mapped beside them, and each tensor is its own and only memory."""
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, "training", {}, {name: torch.zeros(100_000) for name in "ab"}, {})
    with open(path, "rb") as handle:
        header = safetensors_file.read_header(handle, path.stat().st_size)
    found = []
    for _, tensor in safetensors_file.stored_tensors(path, header):
        assert str(path) not in Path("/proc/self/maps").read_text()
        found.append(tensor.untyped_storage())
    assert [storage.nbytes() for storage in found] == [400_000, 400_000]
    assert found[0].data_ptr() != found[1].data_ptr()
