"""e4e and pSp against outputs of the original networks on synthetic weights (tests/golden, fp32)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reganie_core import networks

GOLDEN = Path(__file__).parent / "golden"


def _fill_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = _fill_module()


def manifest(name: str) -> dict[str, list]:
    return json.loads((GOLDEN / f"{name}.manifest.json").read_text())


def weights(name: str, prefix: str = "") -> dict[str, Tensor]:
    """The synthetic checkpoint's tensors under ``prefix``, with their full keys (the values depend on them)."""
    entries = {key: value for key, value in manifest(name).items() if key.startswith(prefix)}
    return {key: torch.from_numpy(value) for key, value in fill.fill(entries).items()}


def latent_avg(num_ws: int = 18) -> Tensor:
    return torch.from_numpy(fill.fill({"latent_avg": [[num_ws, 512], "float32"]})["latent_avg"])


def build(kind: str, name: str) -> nn.Module:
    """An encoder holding the synthetic weights, made without initialising 267 M parameters first."""
    with torch.device("meta"):
        network = networks.build("encoder", {"type": kind})
    state = {key.removeprefix("encoder."): value for key, value in weights(name, "encoder.").items()}
    network.load_state_dict({**state, "latent_avg": latent_avg()}, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def assert_close(found: Tensor, golden: np.ndarray, floor: np.ndarray | None = None) -> None:
    """1e-4 of the largest value, or 20 times the original's own float32 error where that is known and larger."""
    largest = float(np.abs(golden).max())
    allowed = 1e-4 * largest
    if floor is not None:
        allowed = max(allowed, 20 * float(floor[0]))
    assert tuple(found.shape) == golden.shape
    assert float(np.abs(found.detach().double().numpy() - golden).max()) <= allowed


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "e4e_1024.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file}


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.from_numpy(fill.make_image("e4e_x", (1, 3, 256, 256)))


@pytest.fixture(scope="module")
def e4e() -> Iterator[nn.Module]:
    yield build("Encoder4Editing", "e4e_1024")


def test_e4e_codes(e4e: nn.Module, picture: Tensor, golden: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        assert_close(e4e.codes(picture), golden["encoder_codes"], golden["encoder_codes.floor"])
        assert_close(e4e(picture), golden["latents"], golden["encoder_codes.floor"])


def test_e4e_stages(e4e: nn.Module, picture: Tensor, golden: dict[str, np.ndarray]) -> None:
    try:
        for stage in (0, 1, 5, 10, 17):
            e4e.stage = stage
            with torch.inference_mode():
                assert_close(e4e.codes(picture), golden[f"encoder_codes_stage{stage}"])
    finally:
        e4e.stage = 17


def test_trunk_statistics(e4e: nn.Module, picture: Tensor, golden: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        x = e4e.input_layer(picture)
        for i, unit in enumerate(e4e.body):
            x = unit(x)
            if f"body{i}.stats" in golden:
                mean, std = x.double().mean().item(), x.double().std(correction=0).item()
                assert (mean, std) == pytest.approx(tuple(golden[f"body{i}.stats"]), abs=1e-5)
    assert x.shape == (1, 512, 16, 16)


def test_a_batch_of_codes_is_its_rows(e4e: nn.Module, picture: Tensor) -> None:
    other = picture.flip(3)
    with torch.inference_mode():
        together = e4e(torch.cat([picture, other]))
        assert torch.allclose(together[1:], e4e(other), atol=1e-5)
        assert (together[0] - together[1]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["GradualStyleEncoder", "SingleStyleCodeEncoder"])
def test_psp_codes(kind: str, picture: Tensor) -> None:
    encoder = build(kind, f"psp_{kind}_encoder")
    with np.load(GOLDEN / f"psp_{kind}_encoder.npz", allow_pickle=False) as file, torch.inference_mode():
        assert_close(encoder.codes(picture), file["codes"])
        assert_close(encoder(picture), file["codes"] + latent_avg().numpy())


@pytest.mark.parametrize(("name", "num_ws"), [("e4e_1024", 18), ("e4e_512", 16), ("e4e_256", 14)])
def test_full_size_names_and_shapes(name: str, num_ws: int) -> None:
    with torch.device("meta"):
        encoder = networks.build("encoder", {"type": "Encoder4Editing", "num_ws": num_ws})
    expected = {key.removeprefix("encoder."): tuple(shape) for key, (shape, _) in manifest(name).items()
                if key.startswith("encoder.")}
    found = {key: tuple(value.shape) for key, value in encoder.state_dict().items() if key != "latent_avg"}
    assert found == expected
