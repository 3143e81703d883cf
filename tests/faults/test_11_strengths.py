"""How far an edit may go, one rule everywhere: outside twice the trained range refused, outside the range said."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import reganie_core as rc
from reganie_core.__main__ import main
from reganie_core.editing import Control, DirectionEditor, TextEdit, check_edits
from reganie_core.editing.ranges import unlimited
from reganie_core.editing.sweep import sweep
from reganie_core.errors import InputError, OutOfRangeWarning
from reganie_core.latents import Latent
from tests.host_stubs import call
from trainer.stages.edits import DrawnEdit

pytest_plugins = ["tests.nodes_fixtures"]

CONTROLS = [Control("yaw", "numeric", -40.0, 40.0, "degrees"), Control("age"), Control("beard", minimum=0.0),
            Control("years", minimum=20.0, maximum=80.0, default=40.0), Control("glasses", "binary", 0.0, 1.0),
            Control("text", "text", -3.0, 3.0)]
EDITOR: Any = SimpleNamespace(controls=CONTROLS, accepts_targets=True)

# name, values that pass silently, that are said, that are refused: as changes, and as values to reach
CHANGES = [("yaw", (0, -40, 40.0), (41, -80), (81, -400, 1e39)), ("age", (-1, 1), (1.5, -2), (2.1, 1000000, -1e39)),
           ("beard", (-1, 1), (-1.5, 2), (2.5,)), ("years", (-60, 60), (61, -120), (121,)),
           ("glasses", (-1, 1, 0.5), (2,), (3,))]
TARGETS = [("yaw", (-40, 40), (50, -80), (81, 400)), ("age", (0.5,), (1.5, -2), (2.1,)),
           ("beard", (0, 1), (-0.5, 1.5), (-0.6, 1.6)), ("years", (20, 80), (-10, 110), (111, -11)),
           ("glasses", (0, 1), (1.2,), (2,))]


def asked(value: float, form: str) -> Any:
    """A number, a tensor with one value that counts, or either as a value to reach."""
    if "tensor" in form:
        value = torch.tensor([0.5, value], dtype=torch.float64 if abs(value) > 1e38 else torch.float32)
    return rc.Target(value) if "target" in form else value


@pytest.mark.parametrize("form", ["number", "tensor", "target", "tensor target"])
def test_the_rule(form: str) -> None:
    for name, silent, told, refused in TARGETS if "target" in form else CHANGES:
        if name == "years" and form == "tensor target":
            continue        # the other value of the tensor is outside
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for value in silent:
                check_edits(EDITOR, {name: asked(value, form)})
        for value in told:
            with pytest.warns(OutOfRangeWarning, match=f"{name}=.* lies outside its range"):
                check_edits(EDITOR, {name: asked(value, form)})
        for value in refused:
            with pytest.raises(InputError, match=f"{name}=.* lies outside its range .* give"):
                check_edits(EDITOR, {name: asked(value, form)})


def test_training_draws_what_it_likes() -> None:
    """Random changes of two deviations go beyond; networks learn from them what lies there."""
    with warnings.catch_warnings(), unlimited():
        warnings.simplefilter("error")
        check_edits(EDITOR, {"age": torch.tensor([2.4, -9.0])})
    with pytest.raises(InputError):
        check_edits(EDITOR, {"age": torch.tensor([2.4])})
    editor = DirectionEditor({"age": torch.ones(1, 4)}, [CONTROLS[1]])
    moved = DrawnEdit(editor, {"age": torch.tensor([2.5])})(torch.zeros(1, 2, 4))
    assert torch.equal(moved, torch.full_like(moved, 2.5))


def test_texts_have_strengths_too() -> None:
    check_edits(EDITOR, {"text": TextEdit("old", strength=3.0)})
    with pytest.warns(OutOfRangeWarning):
        check_edits(EDITOR, {"text": TextEdit("old", strength=-5.0)})
    with pytest.raises(InputError, match="give -6 to 6"):
        check_edits(EDITOR, {"text": TextEdit("old", strength=1e39)})


def test_other_people_s_directions_tell_no_range(tmp_path: Path) -> None:
    """Their scale is their own: strong steps are usual and only said; a number that means nothing is refused."""
    np.save(tmp_path / "smile.npy", np.ones((1, 32), np.float32))
    for editor in (rc.load_editor(tmp_path / "smile.npy"), DirectionEditor({"smile": torch.ones(1, 32)})):
        ws = torch.zeros(1, 4, 32)
        with pytest.warns(OutOfRangeWarning):
            moved = editor.edit(ws, {"smile": 20.0})
        assert torch.equal(moved, torch.full_like(ws, 20.0))
        with pytest.raises(InputError, match="outside its range"):
            editor.edit(ws, {"smile": 1e39})
    rc.convert(tmp_path / "smile.npy", tmp_path / "smile.safetensors")
    assert rc.load_editor(tmp_path / "smile.safetensors").controls[0].guessed
    assert "guessed" not in CONTROLS[0].to_dict()


@pytest.mark.parametrize(("edit", "status", "said"), [
    ("age=+1e39", 1, "outside its range"), ("age=+1000000", 1, "give -2 to 2"), ("yaw=+400", 1, "give -80 to 80"),
    ("yaw=@400", 1, "absolute value"), ("yaw=+50", 0, "warning: yaw=+50 lies outside"), ("age=+1", 0, "")])
def test_the_command_line(tmp_path: Path, tiny_domain: Path, capfd: pytest.CaptureFixture[str], edit: str, status: int,
                          said: str) -> None:
    photo = tiny_domain / "examples" / "one.png"
    for photos, out in (([photo], tmp_path / "o.png"), ([photo, photo], tmp_path / "o")):
        assert main(["edit", *map(str, photos), "-o", str(out), "--edit", edit, "--domain", str(tiny_domain),
                     "--no-rectify"]) == status
        text = capfd.readouterr().err
        assert said in text and text.count("outside its range") == ("outside" in said or "give" in said)
        assert out.exists() == (status == 0) or out.is_dir()
    drawn = ["render", "--seed", "3", "--size", "16", "-o", str(tmp_path / "d.png"), "--edit", edit]
    assert main(drawn) == (status if edit != "yaw=@400" else 1)
    assert ("outside its range" in capfd.readouterr().err) == (edit != "age=+1")


def test_the_library(tiny_domain: Path) -> None:
    domain = rc.load_domain(tiny_domain)
    photo = tiny_domain / "examples" / "one.png"
    for edits in ({"age": 1e39}, {"age": torch.tensor([1e6])}, "yaw=-400"):
        with pytest.raises(InputError, match="outside its range"):
            rc.edit(photo, edits, domain=domain)
    with pytest.warns(OutOfRangeWarning, match="yaw=-60"):
        rc.edit(photo, "yaw=-60", domain=domain, rectify=False)
    with pytest.raises(InputError, match="outside its range"):
        sweep(domain.directions, Latent(torch.zeros(1, domain.generator.num_ws, 16)), "age", [0.0, 3.0])


NODES = {"DyStyleEdit": lambda v: {"edits": f"age={v:+g}"},
         "DirectionEdit": lambda v: {"direction": "age", "strength": v},
         "EditSweep": lambda v: {"control": "age", "start": 0.0, "stop": v, "steps": 2}}


@pytest.fixture
def wires(pack: SimpleNamespace, edit_domain: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", edit_domain)
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain="portraits (packaged)"), strict=True)))


@pytest.mark.parametrize("node", NODES)
def test_the_nodes(pack: SimpleNamespace, wires: SimpleNamespace, node: str) -> None:
    latent = call(pack, "SampleLatent", generator=wires.generator, seed=1)[0]
    editor = wires.directions if node == "DirectionEdit" else wires.dystyle
    inputs = {"generator": wires.generator, "latent": latent, "editor": editor}
    for value, notices in ((1.0, 0), (1.5, 1)):
        pack.host.state.notices.clear()
        call(pack, node, **inputs, **NODES[node](value))
        texts = [notice["text"] for _, notice in pack.host.state.notices]
        assert len(texts) == notices and all("age=+1.5 lies outside its range -1..1" in text for text in texts)
    for value in (2.1, 999.0):
        with pytest.raises(pack.rc.ReganieError, match="outside its range -1..1 by far; give -2 to 2"):
            call(pack, node, **inputs, **NODES[node](value))
    if node == "DyStyleEdit":
        with pytest.raises(pack.rc.ReganieError, match="outside its range"):
            call(pack, node, **inputs, edits="age=+1e39")
