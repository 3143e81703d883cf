"""Fault 7: latent_avg is read in any array form; what takes the place of one that cannot be read is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reganie_core import checkpoints
from reganie_core.errors import ReganieWarning, UnsupportedCheckpointError
from tests import checkpoint_files as files
from tests import hostile

FORMS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda w: w.numpy(),
    "numpy float64 [1,16]": lambda w: w.double().numpy()[None],
    "numpy float16": lambda w: w.half().numpy(),
    "fortran order": lambda w: np.asfortranarray(w.repeat(6, 1).numpy()),
    "list": lambda w: w.tolist(),
    "list of rows": lambda w: w.repeat(6, 1).tolist(),
    "tuple": lambda w: tuple(w.tolist()),
    "parameter": lambda w: nn.Parameter(w),
    "half": lambda w: w.half(),
    "[1,6,16]": lambda w: w.repeat(1, 6, 1),
    "on its side": lambda w: w.repeat(6, 1).t().contiguous().t(),
}


@pytest.fixture(scope="module")
def G() -> nn.Module:
    network = hostile.tiny_generator(16)
    network.mapping.w_avg.copy_(torch.linspace(-2, 2, 16).half().float())
    return network


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("legacy", [False, True])
def test_any_array_is_the_mean_latent(G: nn.Module, tmp_path: Path, form: str, legacy: bool) -> None:
    content = {"g_ema": files.to_rosinality(G.state_dict()), "latent_avg": FORMS[form](G.w_avg)}
    (tmp_path / "g.pt").write_bytes(hostile.saved(content, legacy))
    loaded = checkpoints.load_generator(tmp_path / "g.pt")
    assert torch.equal(loaded.w_avg, G.w_avg)
    assert not any("seed 0" in note for note in loaded.provenance["notes"])


@pytest.mark.parametrize("form", list(FORMS))
def test_it_is_what_an_encoder_starts_from(G: nn.Module, tmp_path: Path, form: str) -> None:
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "body.0.res_layer.1.weight": (1,),
              "body.23.res_layer.1.weight": (1,), "linear.weight": (16, 512)}
    state = {f"encoder.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    state |= {f"decoder.{name}": value for name, value in files.to_rosinality(G.state_dict()).items()}
    torch.save({"state_dict": state, "latent_avg": FORMS[form](G.w_avg), "opts": {"start_from_latent_avg": True}},
               tmp_path / "e.pt")
    part = checkpoints.loading.choose(checkpoints.loading.open_source(tmp_path / "e.pt"), "encoder")
    assert part.average_from is None
    assert torch.equal(part.tensors["latent_avg"].read(), G.w_avg.repeat(6, 1))


@pytest.mark.parametrize("value", ["mean", {"a": 1}, [[1.0], [1.0, 2.0]], torch.zeros(7, 3), [float("nan")] * 16])
def test_what_is_no_mean_latent_is_replaced_aloud(G: nn.Module, tmp_path: Path, value: Any) -> None:
    path = files.rosinality_file(tmp_path / "g.pt", files.to_rosinality(G.state_dict()), latent_avg=value)
    with pytest.warns(ReganieWarning, match="latent_avg is .* takes its place"):
        loaded = checkpoints.load_generator(path)
    assert "takes its place" in loaded.provenance["notes"][0]
    assert "takes its place" in checkpoints.inspect(path)["metadata"]["notes"][0]
    assert not torch.equal(loaded.w_avg, G.w_avg)


def test_an_encoder_does_not_start_from_anything_else(G: nn.Module, tmp_path: Path) -> None:
    state = {f"encoder.{name}": torch.zeros(shape) for name, shape in (
        ("input_layer.0.weight", (64, 3, 3, 3)), ("body.0.res_layer.1.weight", (1,)),
        ("body.23.res_layer.1.weight", (1,)), ("linear.weight", (16, 512)))}
    torch.save({"state_dict": state, "latent_avg": "mean", "opts": {"stylegan_size": 16}}, tmp_path / "e.pt")
    with pytest.raises(UnsupportedCheckpointError, match="latent_avg is something of type str"):
        checkpoints.load_encoder(tmp_path / "e.pt")


def test_nothing_is_said_where_nothing_is_replaced(G: nn.Module, tmp_path: Path) -> None:
    path = files.rosinality_file(tmp_path / "g.pt", files.to_rosinality(G.state_dict()), latent_avg=G.w_avg.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoints.load_generator(path)
