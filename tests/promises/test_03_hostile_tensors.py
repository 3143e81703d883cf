"""Promise 3: hostile tensors are rejected.

Sparse, quantised and meta tensors, wrong types and shapes, lies about geometry, absurd sizes and NaN or infinity are
refused with one sentence before a network with weights is built, within little memory. Not promised: finite weights
that make ugly pictures are not noticed.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

import reganie_core as rc
from reganie_core.checkpoints import loading, save_checkpoint
from reganie_core.errors import CheckpointError, CorruptCheckpointError
from reganie_core.networks import describe
from tests import hostile
from tests.host_stubs import ROOT
from tests.hostile_headers import header_cases

MEMORY = 256 << 20
ABSURD = 10**12


def test_no_network_is_built_from_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile.tiny_generator()

    def build(*_: object) -> None:
        raise AssertionError("a network was filled with refused tensors")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for case in (*hostile.shape_cases(tmp_path), *header_cases(tmp_path)) if len(case[1]) < 1 << 20]
    monkeypatch.setattr(loading, "build", build)
    assert len(cases) > 60
    for name, content in cases:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            rc.load_generator(tmp_path / name)
        text = str(caught.value)
        assert name in text and len(text) < 600 and "\n" not in text, (name, text)


def test_sizes_beyond_reason_cost_nothing(tmp_path: Path) -> None:
    """A header that claims 10^12 numbers, a config that asks for them, storages shared to look like them."""
    claim = {"w": {"dtype": "F32", "shape": [ABSURD], "data_offsets": [0, 4 * ABSURD]}}
    text = json.dumps(claim).encode()
    (tmp_path / "claim.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    (tmp_path / "length.safetensors").write_bytes(struct.pack("<Q", ABSURD) + b"{}" + bytes(64))
    network = hostile.tiny_generator()
    for name, change in (("wide", {"w_dim": 1 << 30}), ("deep", {"mapping_layers": 10**9}),
                         ("large", {"resolution": 1 << 40})):
        save_checkpoint(tmp_path / f"{name}.safetensors", "generator", describe(network) | change,
                        network.state_dict(), {})
    for name, content in hostile.bomb_cases(tmp_path):
        (tmp_path / name).write_bytes(content)
    code = ("import json,sys,torch; torch.set_num_threads(1); from pathlib import Path; from tests import hostile;"
            "from reganie_core.checkpoints import inspect, load_generator; hostile.tiny_generator();"
            "peak = hostile.peak_memory; before = peak(); found = {}\n"
            "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
            "    try: load_generator(path); found[path.name] = 'loaded'\n"
            "    except Exception as error: found[path.name] = type(error).__name__\n"
            "print(json.dumps([found, peak() - before]))")
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], capture_output=True, text=True,
                         cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    found, memory = json.loads(run.stdout.splitlines()[-1])
    typed = {name for name in dir(rc.errors) if name.endswith("Error")}
    assert {name: kind for name, kind in found.items() if kind not in typed} == {}
    assert len(found) > 20 and memory < MEMORY


@pytest.mark.parametrize("kind", ["generator", "encoder", "rectifier"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_bad_number_is_enough(tiny_networks: SimpleNamespace, tmp_path: Path, kind: str, value: float) -> None:
    """In a file of our own that is perfect otherwise: it is named, and no such file is written either."""
    network = getattr(tiny_networks, kind)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    path, config = tmp_path / "n.safetensors", describe(network)
    save_checkpoint(path, kind, config, tensors, {})
    name = max(tensors, key=lambda key: tensors[key].numel())
    marked = tensors[name].flatten()
    raw = path.read_bytes()
    at = raw.index(marked.numpy().tobytes()) + 4 * (marked.numel() // 2)
    path.write_bytes(raw[:at] + struct.pack("<f", value) + raw[at + 4 :])
    with pytest.raises(CorruptCheckpointError, match="1 non-finite"):
        getattr(rc, f"load_{kind}")(path)
    tensors[name].view(-1)[0] = value
    with pytest.raises(CorruptCheckpointError, match="non-finite"):
        save_checkpoint(tmp_path / "bad.safetensors", kind, config, tensors, {})
    assert not (tmp_path / "bad.safetensors").exists()
