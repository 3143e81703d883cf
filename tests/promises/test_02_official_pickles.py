"""Promise 2: official ``.pkl`` files work without execution.

NVIDIA's pickles are read as metadata and arrays; the Python source they carry is dropped. ``convert`` writes
safetensors that draw the same pictures to 1e-5. Not promised: other architectures (alias-free, TensorFlow), which are
refused by name.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

import reganie_core as rc
from reganie_core.errors import UnsupportedCheckpointError
from tests import checkpoint_files as files
from tests import hostile


@pytest.fixture(params=[2, 4], ids=["protocol 2", "protocol 4"])
def official(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny network pickled the way the original code does it, with source that would leave a file behind."""
    monkeypatch.chdir(tmp_path)
    network = files.nvidia_generator(hostile.tiny_generator().state_dict(), clamp=None)
    return files.nvidia_file(tmp_path / "network.pkl", request.param, G_ema=network)


def test_the_converted_file_draws_the_same_pictures(official: Path) -> None:
    assert files.MODULE_SRC.encode() in official.read_bytes(), "the file must carry code, or this shows nothing"
    converted = official.with_suffix(".safetensors")
    report = rc.convert(official, converted)
    before, after, original = rc.load_generator(official), rc.load_generator(converted), hostile.tiny_generator()
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    for network in (before, after):
        found = network.synthesis(network.mapping(z, truncation_psi=0.7), noise="const")
        wanted = original.synthesis(original.mapping(z, truncation_psi=0.7), noise="const")
        assert wanted.std() > 0.01
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert report["fingerprint"] == after.fingerprint
    assert sorted(p.name for p in official.parent.iterdir()) == ["network.pkl", "network.safetensors"]


def test_the_pictures_are_those_of_the_original_code(tmp_path: Path) -> None:
    """Synthetic weights through NVIDIA's own networks, whose outputs are stored with the tests."""
    network = files.nvidia_generator(files.weights("nvada_g64"), 256)
    rc.convert(files.nvidia_file(tmp_path / "n.pkl", 4, G_ema=network), tmp_path / "n.safetensors")
    loaded = rc.load_generator(tmp_path / "n.safetensors")
    with torch.no_grad():
        found = loaded.synthesis(loaded.mapping(files.given("nvz", 2, 512)), noise="const")
    assert files.error_over_scale(found, files.golden("nvada_g64"), "img_const_psi1") <= 1.0


@pytest.mark.parametrize(("tensors", "word"), [
    ({"synthesis.input.freqs": (8, 2), "synthesis.L0_36_8.weight": (8, 8, 3, 3)}, "alias-free"),
    (None, "TensorFlow"),
])
def test_other_architectures_are_refused_by_name(tmp_path: Path, tensors: dict | None, word: str) -> None:
    path = tmp_path / "other.pkl"
    if tensors is None:
        path.write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\nq\x00)\x81q\x01N\x87q\x02.")
    else:
        with files.nvidia_modules():
            other = files.nvidia_network({name: torch.zeros(shape) for name, shape in tensors.items()})
            path.write_bytes(pickle.dumps({"G_ema": other}))
    with pytest.raises(UnsupportedCheckpointError, match=word):
        rc.convert(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
