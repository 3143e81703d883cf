"""Files made to do harm raise a typed error that a person can act on, run nothing, leave nothing, and stay small."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from reganie_core import checkpoints
from reganie_core.errors import CheckpointError, InputError, NotFoundError, ReganieError
from tests import checkpoint_files as files
from tests import hostile

# What a person is told to do, or told not to do.
ADVICE = re.compile(
    r"\b(Get|get (it|the)|Give|Save|Use|use|Read it with|[Dd]o not trust|do not use|"
    r"[Dd]ownload|[Uu]npack|Update|Convert|Run|pull|newer version)\b"
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The whole corpus through every reader, in one process with 1 GiB of memory to spare."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.write_corpus(folder)
    before = sorted(str(path) for path in folder.rglob("*"))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.hostile", str(folder)], capture_output=True, text=True,
        cwd=Path(__file__).parents[1], env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}, check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    result = json.loads(run.stdout)
    result["appeared"] = sorted({str(path) for path in folder.rglob("*")} - set(before))
    return result


@pytest.mark.parametrize("group", list(hostile.GROUPS))
def test_every_file_is_refused(outcome: dict[str, Any], group: str) -> None:
    cases = {name: found for name, found in outcome["results"].items() if name.startswith(group + "/")}
    assert len(cases) >= 20
    for name, found in cases.items():
        assert found["escaped"] == [], name
        kind, text = found["load_generator"]
        assert kind.endswith("Error"), f"{name} was loaded"
        assert Path(name).name in text and len(text) < 600, f"{name}: {text}"
        assert ADVICE.search(text), f"{name}: {text}"


def test_code_is_called_unsafe(outcome: dict[str, Any]) -> None:
    for name, found in outcome["results"].items():
        # A nested payload that is no legacy storage is refused by its first bytes.
        if name.startswith("code/") and not re.search("persistence|nested_(pickle|zip)", name):
            assert found["load_generator"][0] == "UnsafeCheckpointError", name
            assert found["inspect"][0] == "UnsafeCheckpointError", name


def test_nothing_was_executed_and_little_memory_used(outcome: dict[str, Any]) -> None:
    assert outcome["appeared"] == []
    assert outcome["memory"] < 400 << 20


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("code/os_system.pt", "UnsafeCheckpointError", "system"),
        ("code/object_array.npy", "UnsafeCheckpointError", "Python objects"),
        ("shape/odd_sparse.pt", "UnsupportedCheckpointError", "sparse"),
        ("shape/odd_meta.pt", "UnsupportedCheckpointError", "meta"),
        ("shape/odd_nan.pt", "CorruptCheckpointError", "non-finite"),
        ("other/tensorflow.pkl", "UnsupportedCheckpointError", "TensorFlow"),
        ("other/stylegan3.pkl", "UnsupportedCheckpointError", "alias-free"),
        ("other/pointer.pt", "CorruptCheckpointError", "git lfs pull"),
        ("other/page.pt", "CorruptCheckpointError", "web page"),
        ("other/empty.pt", "CorruptCheckpointError", "empty"),
        ("other/direction.pt", "WrongKindError", "load_directions"),
        ("other/torchscript.pt", "UnsupportedCheckpointError", "TorchScript"),
        ("other/missing.pt", "CorruptCheckpointError", "convs.1.conv.weight"),
    ],
)
def test_the_message_says_what_it_is(outcome: dict[str, Any], name: str, error: str, words: str) -> None:
    kind, text = outcome["results"][name]["load_generator"]
    assert kind == error
    assert words in text


def test_not_regular_files(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        checkpoints.load_generator(tmp_path / "absent.pt")
    with pytest.raises(InputError, match="folder"):
        checkpoints.inspect(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pt")
        with pytest.raises(InputError, match="regular"):
            checkpoints.load_generator(tmp_path / "pipe.pt")


def _seeds(folder: Path) -> list[bytes]:
    network = hostile.tiny_generator(8)
    renamed = files.to_rosinality(network.state_dict())
    contents = [hostile.saved({"g_ema": renamed}), hostile.saved({"g_ema": renamed}, legacy=True)]
    for protocol in (4, 2):
        module = files.nvidia_generator(network.state_dict())
        contents.append(files.nvidia_file(folder / "seed.pkl", protocol, G_ema=module).read_bytes())
    checkpoints.convert(folder / "seed.pkl", folder / "seed.safetensors")
    contents.append((folder / "seed.safetensors").read_bytes())
    return contents


def test_flipped_bytes(tmp_path: Path) -> None:
    """Damage anywhere is either harmless to the reader or a ReganieError; nothing else ever escapes."""
    rng = random.Random(5)
    refused = 0
    path = tmp_path / "damaged"
    for content in _seeds(tmp_path):
        structure = [i for i in (*range(0, min(len(content), 6000)), *range(max(len(content) - 3000, 0), len(content)))]
        for _ in range(60):
            damaged = bytearray(content)
            for _ in range(rng.choice((1, 1, 3, 10))):
                damaged[rng.choice(structure)] = rng.randrange(256)
            if rng.random() < 0.2:
                at = rng.choice(structure)
                del damaged[at : at + rng.randrange(1, 50)]
            path.write_bytes(bytes(damaged))
            for reader in (checkpoints.inspect, checkpoints.load_generator):
                try:
                    reader(path)
                except ReganieError as error:
                    refused += isinstance(error, CheckpointError)
    assert refused > 100


def test_no_reader_touches_the_originals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``torch.load``, ``pickle`` and ``np.load`` are never reached, whatever the container."""
    import pickle

    import numpy as np

    paths = []
    for i, content in enumerate(_seeds(tmp_path)):
        paths.append(tmp_path / f"seed{i}")
        paths[-1].write_bytes(content)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("An unsafe reader was called.")

    for owner, name in ((torch, "load"), (torch.jit, "load"), (pickle, "load"), (pickle, "loads"), (np, "load"),
                        (pickle, "Unpickler"), (torch.storage, "_load_from_bytes")):
        monkeypatch.setattr(owner, name, refuse)
    for path in paths:
        checkpoints.inspect(path)
        checkpoints.load_generator(path)
