"""Linear edits in W+."""

from __future__ import annotations

import pytest
import torch

from reganie_core.checkpoints import save_checkpoint
from reganie_core.editing import Control, DirectionEditor, Editor, Target, load_editor, parse_layers
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError, ReganieError

NUM_WS, W_DIM = 5, 4


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def editor() -> DirectionEditor:
    controls = [Control("yaw", "numeric", -40.0, 40.0, "degrees"), Control("glasses", "binary", 0.0, 1.0)]
    return DirectionEditor({"yaw": normal(NUM_WS, W_DIM, seed=1), "glasses": normal(1, W_DIM, seed=2)}, controls)


def test_changes_add_up_and_numbers_per_image(editor):
    ws = normal(3, NUM_WS, W_DIM)
    yaw, glasses = editor.directions["yaw"].double(), editor.directions["glasses"].double()
    changes = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    expected = ws + changes[:, None, None] * yaw + glasses
    torch.testing.assert_close(editor.edit(ws, {"yaw": changes, "glasses": True}), expected)
    torch.testing.assert_close(editor.edit(ws, {"glasses": False}), ws - glasses)
    assert editor.edit(ws, {}) is ws
    assert isinstance(editor, Editor) and not editor.accepts_targets


def test_it_is_differentiable_and_leaves_its_input_alone(editor):
    ws = normal(2, NUM_WS, W_DIM).requires_grad_()
    before = ws.detach().clone()
    editor.edit(ws, {"yaw": 3.0}).sum().backward()
    assert torch.equal(ws.grad, torch.ones_like(ws)) and torch.equal(ws.detach(), before)


@pytest.mark.parametrize(("layers", "rows"), [("all", [0, 1, 2, 3, 4]), (None, [0, 1, 2, 3, 4]), ("0-1, 4", [0, 1, 4]),
                                              ([2], [2])])
def test_layers(editor, layers, rows):
    moved = editor.edit(torch.zeros(1, NUM_WS, W_DIM), {"yaw": 1.0}, layers=layers)[0].abs().sum(1) > 0
    assert moved.nonzero()[:, 0].tolist() == rows


@pytest.mark.parametrize("layers", ["5", "0-9", "x", "3-1", "-1", [7], []])
def test_layers_refused(layers):
    with pytest.raises(InputError):
        parse_layers(layers, NUM_WS)


def test_targets_are_refused_with_a_reason(editor):
    with pytest.raises(InputError, match="only know changes"):
        editor.edit(normal(1, NUM_WS, W_DIM), {"yaw": Target(-15.0)})


def test_unknown_control_lists_names_and_ranges(editor):
    with pytest.raises(InputError, match=r"yaw \(-40..40 degrees\), glasses \(on\|off\)"):
        editor.edit(normal(1, NUM_WS, W_DIM), {"age": 1.0})


@pytest.mark.parametrize("edits", [
    {"yaw": float("nan")}, {"yaw": True}, {"yaw": "1"}, {"yaw": torch.ones(3)}, {"yaw": torch.ones(2, 2)},
    {"yaw": torch.tensor([1, 2])}, {"yaw": torch.tensor([float("inf"), 0.0])},
])
def test_values_refused(editor, edits):
    with pytest.raises(InputError):
        editor.edit(normal(2, NUM_WS, W_DIM), edits)


def test_codes_of_another_generator(editor):
    with pytest.raises(MismatchError, match="another generator"):
        editor.edit(normal(1, NUM_WS + 1, W_DIM), {"yaw": 1.0})
    with pytest.raises(MismatchError):
        DirectionEditor({"a": normal(4, 8), "b": normal(5, 8)})


def test_public_shapes_are_accepted():
    pose = normal(1, NUM_WS, W_DIM).float()
    editor = DirectionEditor({"age": torch.ones(1, W_DIM), "pose": pose, "x": torch.ones(4)})
    assert editor.num_ws == NUM_WS and [control.name for control in editor.controls] == ["age", "pose", "x"]
    edited = editor.edit(torch.zeros(1, NUM_WS, W_DIM), {"age": 1.0, "pose": 2.0, "x": 4.0})
    torch.testing.assert_close(edited, 5.0 + 2.0 * pose)


@pytest.mark.parametrize("fields", [
    {"name": "<img>"}, {"name": "a" * 65}, {"name": "a", "kind": "magic"}, {"name": "a", "minimum": 1, "maximum": 1},
    {"name": "a", "description": "x" * 301}, {"name": "a", "unit": "a\nb"}, {"name": "a", "maximum": "9"}, {}, [],
])
def test_controls_from_files_are_checked(fields):
    with pytest.raises(InputError):
        Control.from_dict(fields)


def test_our_file_round_trip(tmp_path, editor):
    tensors = {f"direction.{name}": tensor for name, tensor in editor.directions.items()}
    config = {"controls": [control.to_dict() for control in editor.controls], "space": "w+"}
    save_checkpoint(tmp_path / "d.safetensors", "directions", config, tensors, {"fingerprints": {"generator": "abc"}})
    loaded = load_editor(tmp_path / "d.safetensors")
    assert loaded.controls == editor.controls and len(loaded.fingerprint) == 16
    assert loaded.provenance == {"fingerprints": {"generator": "abc"}}
    ws = torch.zeros(1, NUM_WS, W_DIM)
    torch.testing.assert_close(loaded.edit(ws, {"yaw": 2.0}), editor.edit(ws, {"yaw": 2.0}))


@pytest.mark.parametrize("controls", [[{"name": "<b>"}], [{"name": "unknown"}], ["yaw"], 7])
def test_files_with_bad_controls(tmp_path, controls):
    save_checkpoint(tmp_path / "d.safetensors", "directions", {"controls": controls},
                    {"direction.yaw": torch.ones(1, 4)}, {})
    with pytest.raises((CorruptCheckpointError, ReganieError)):
        load_editor(tmp_path / "d.safetensors")
