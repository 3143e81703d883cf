"""Fault 14: networks and directions are found under whatever beginning, in whatever table, they were saved."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reganie_core import checkpoints
from reganie_core.editing import load_editor, parse_edits
from reganie_core.errors import MismatchError, UnsafeCheckpointError, UnsupportedCheckpointError
from tests import checkpoint_files as files
from tests import hostile

State = dict[str, Tensor]


def prefixed(prefix: str) -> Callable[[State], Any]:
    return lambda state: {prefix + name: value for name, value in state.items()}


PLACES: dict[str, Callable[[State], Any]] = {
    "root": lambda s: s,
    "model": lambda s: {"model": s, "epoch": 3},
    "state_dict": lambda s: {"state_dict": s},
    "generator": lambda s: {"generator": s, "latent": torch.zeros(4, 16)},
    "params_ema": lambda s: {"params": {k: v * 2 for k, v in s.items()}, "params_ema": s},
    "ema table": lambda s: {"models": {"generator": {k: v * 2 for k, v in s.items()}, "generator_ema": s}},
    "g_ema.": lambda s: {**prefixed("g.")({k: v * 2 for k, v in s.items()}), **prefixed("g_ema.")(s)},
    "module.": prefixed("module."),
    "generator.module.": lambda s: {"state_dict": prefixed("generator.module.")(s)},
    "compiled": lambda s: {"state_dict": prefixed("_orig_mod.")(s)},
    "model.generator.": prefixed("model.generator."),
    "wrapped parts": lambda s: {k.replace("mapping.", "mapping.module.").replace("style.", "style.module."): v
                                for k, v in s.items()},
}


@pytest.fixture(scope="module")
def G() -> nn.Module:
    return hostile.tiny_generator(16)


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("names", ["rosinality", "nvidia"])
def test_generators(G: nn.Module, tmp_path: Path, place: str, names: str) -> None:
    state = dict(G.state_dict()) if names == "nvidia" else files.to_rosinality(G.state_dict())
    content = PLACES[place](state)
    if names == "rosinality":
        content["latent_avg"] = G.w_avg
    torch.save(content, tmp_path / "g.pt")
    assert checkpoints.inspect(tmp_path / "g.pt")["kind"] == "generator"
    found = checkpoints.load_generator(tmp_path / "g.pt").state_dict()
    assert all(torch.equal(found[name], value) for name, value in G.state_dict().items())


@pytest.mark.parametrize("prefix", ["encoder.", "encoder.module.", "module.encoder.", "module.", "net.E."])
def test_encoders(tmp_path: Path, prefix: str) -> None:
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "body.0.res_layer.1.weight": (1,),
              "body.23.res_layer.1.weight": (1,), "linear.weight": (16, 512)}
    state = {prefix + name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({"state_dict": state, "latent_avg": torch.ones(6, 16)}, tmp_path / "e.pt")
    part = checkpoints.loading.choose(checkpoints.loading.open_source(tmp_path / "e.pt"), "encoder")
    assert part.tensors.keys() == {*shapes, "latent_avg"} and part.config["num_ws"] == 6


AGE, SMILE = torch.linspace(-1, 1, 32), torch.linspace(1, 0, 32)
TABLES: dict[str, Any] = {
    "tensors": {"age": AGE, "smile": SMILE},
    "arrays": {"age": AGE[None].numpy(), "smile": SMILE.double().numpy()},
    "lists": {"age": AGE.tolist(), "smile": [SMILE.tolist()]},
    "inside": {"directions": {"age": AGE, "smile": SMILE[None]}, "made_by": "somebody"},
    "with numbers": {"age": AGE, "smile": SMILE, "intercept": 0.5, "scale": torch.tensor(2.0), "note": "w space"},
}


@pytest.mark.parametrize("table", list(TABLES))
@pytest.mark.parametrize("suffix", ["pt", "npy"])
def test_tables_of_directions(tmp_path: Path, table: str, suffix: str) -> None:
    path = tmp_path / f"edits.{suffix}"
    if suffix == "pt":
        torch.save(TABLES[table], path)
    else:
        np.save(path, TABLES[table], allow_pickle=True)  # one object: a pickle inside the array
    editor = load_editor(path)
    assert [control.name for control in editor.controls] == ["age", "smile"]
    moved = editor.edit(torch.zeros(1, 4, 32), {"age": 2.0, "smile": -1.0})
    torch.testing.assert_close(moved, (2 * AGE - SMILE).expand(1, 4, 32))


def test_npy_objects_that_are_no_table_stay_refused(tmp_path: Path) -> None:
    import os

    for value in (hostile.Evil(os.system, "true"), {"a": hostile.Evil(os.system, "true")}, [1, 2], "text"):
        array = np.empty((), dtype=object)
        array[()] = value
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        with pytest.raises(UnsafeCheckpointError, match="Python objects"):
            checkpoints.inspect(tmp_path / "x.npy")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": array}))
    with pytest.raises(UnsafeCheckpointError):
        checkpoints.inspect(tmp_path / "x.pkl")


def test_rosinalitys_factors(tmp_path: Path) -> None:
    vectors = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q
    torch.save({"ckpt": "/somewhere/550000.pt", "eigvec": vectors}, tmp_path / "factor.pt")
    editor = load_editor(tmp_path / "factor.pt")
    assert len(editor.controls) == 16 and editor.controls[3].name == "sefa03"
    torch.testing.assert_close(editor.edit(torch.zeros(1, 6, 16), {"sefa03": 5.0}), 5 * vectors[:, 3].expand(1, 6, 16))
    assert "somewhere" not in str(checkpoints.load_directions(tmp_path / "factor.pt").provenance)


def test_a_network_is_no_table_of_directions(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(32, 128), nn.LayerNorm(32))
    torch.save(dict(network.state_dict()), tmp_path / "n.pt")
    torch.save({"a": torch.zeros(1, 32), "b": torch.zeros(1, 64)}, tmp_path / "m.pt")
    for name in ("n.pt", "m.pt"):
        with pytest.raises(UnsupportedCheckpointError, match="not read here"):
            checkpoints.load_directions(tmp_path / name)


@pytest.mark.parametrize("rows", [14, 16, 18])
def test_equal_rows_fit_every_generator(tmp_path: Path, rows: int) -> None:
    pose = torch.randn(1, 1, 32).repeat(1, 18, 1)
    torch.save(pose, tmp_path / "pose.pt")
    moved = load_editor(tmp_path / "pose.pt").edit(torch.zeros(2, rows, 32), {"pose": -2.0})
    torch.testing.assert_close(moved, -2 * pose[:, :1].expand(2, rows, 32))
    own = torch.randn(1, 18, 32)
    torch.save(own, tmp_path / "own.pt")
    if rows != 18:
        with pytest.raises(MismatchError, match="another generator"):
            load_editor(tmp_path / "own.pt").edit(torch.zeros(2, rows, 32), {"own": 1.0})


@pytest.mark.parametrize(("name", "control"), [("微笑", "微笑"), ("Улыбка (сильная)", "улыбка_сильная"),
                                               ("Größe", "größe"), ("!!!", "direction")])
def test_names_of_every_script(tmp_path: Path, name: str, control: str) -> None:
    torch.save({name: AGE, f"{name} 2": SMILE}, tmp_path / "edits.pt")
    torch.save(AGE, tmp_path / f"{name}.pt")
    assert load_editor(tmp_path / f"{name}.pt").controls[0].name == control
    editor = load_editor(tmp_path / "edits.pt")
    assert editor.controls[0].name == control and len({c.name for c in editor.controls}) == 2
    edits = parse_edits(f"{control}=+2")
    torch.testing.assert_close(editor.edit(torch.zeros(1, 4, 32), edits), 2 * AGE.expand(1, 4, 32))


def test_two_keys_of_one_name_stay_two_controls(tmp_path: Path) -> None:
    torch.save({"hair length": AGE, "hair-length": SMILE}, tmp_path / "e.pt")
    assert [c.name for c in load_editor(tmp_path / "e.pt").controls] == ["hair_length", "hair_length_2"]
