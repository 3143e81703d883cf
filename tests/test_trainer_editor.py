"""The editor stage on tiny random networks: what is asked, its losses, training, resuming, export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.checkpoints import read_checkpoint, save_checkpoint
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks import build, describe
from tests.trainer_files import write_attributes
from trainer.attribute_ensemble import layer_distance, read, read_one
from trainer.loop.config import build as build_config
from trainer.loop.run import Run
from trainer.portraits.attributes import noisy
from trainer.portraits.editor import PortraitEditorConfig, PortraitEditorStage
from trainer.stages import editor as editor_module
from trainer.stages import editor_report, editor_requests
from trainer.stages.editor import EditorStage, EditorStageConfig
from trainer.stages.editor_losses import Contrastor, preservation_loss, target_loss
from trainer.stages.editor_requests import goals, measured_ranges

NUMERIC, BINARY = ["yaw", "age", "length"], ["glasses"]
SMALL = ["device=cpu", "batch=4", "held_out_count=4"]


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor_module, "PROBES", 32)


@pytest.fixture
def paths(tiny_domain: Path, tmp_path: Path) -> list[str]:
    """Options naming the files of the tiny domain, an attribute network and an identity network."""
    write_attributes(tmp_path / "attributes.safetensors", NUMERIC, BINARY, (0.0, 0.1, 3.0), (15.0, 0.5, 2.0))
    person = build("identity", {"type": "IdentityNet", "resolution": 32, "channels": [8, 8], "dim": 8})
    save_checkpoint(tmp_path / "identity.safetensors", "identity", describe(person), person.state_dict(), {})
    return [f"generator={tiny_domain / 'generator.safetensors'}", f"encoder={tiny_domain / 'encoder.safetensors'}",
            f"attributes={tmp_path / 'attributes.safetensors'}", f"identity={tmp_path / 'identity.safetensors'}"]


def stage(paths: list[str], *more: str) -> EditorStage:
    return EditorStage(build_config(EditorStageConfig, None, [*SMALL, *paths, *more]))


def test_it_edits_what_the_attribute_network_reads(paths: list[str]) -> None:
    s = stage(paths)
    assert s.names == ("yaw", "age", "glasses", "length")        # as the domain lists them, then what it does not know
    assert s.net.config.kinds == ("numeric", "numeric", "binary", "numeric")
    assert s.net.config.std == (15.0, 0.5, 1.0, 2.0) and s.net.config.mean == (0.0, 0.1, 0.0, 3.0)
    controls = {c.name: c for c in s.controls()}
    assert controls["yaw"].unit == "degrees" and controls["length"].unit == "" and controls["glasses"].kind == "binary"
    assert all(c.minimum <= c.default <= c.maximum for c in controls.values())
    chosen = stage(paths, "controls=length,yaw")
    assert chosen.names == ("length", "yaw") and chosen.net.config.mean == (3.0, 0.0)
    with pytest.raises(InputError, match="hat"):
        stage(paths, "controls=hat")
    with pytest.raises(InputError, match="even"):
        stage(paths, "batch=3")


def test_ranges_are_those_seen(paths: list[str], tmp_path: Path) -> None:
    s = stage(paths)
    assert dict(zip(s.names, s.ranges.ends.tolist(), strict=True))["glasses"] == [0.0, 1.0]
    seen = measured_ranges(torch.linspace(-1, 1, 2001)[:, None].repeat(1, 4), s.net)
    # 1 % and 99 % of -15..15 degrees and -0.4..0.6, rounded to a tenth of the deviation's power of ten
    assert torch.allclose(seen[0], torch.tensor([-15.0, 15.0])) and torch.allclose(seen[1], torch.tensor([-0.39, 0.59]))


def test_requests_are_even_independent_and_grow(paths: list[str]) -> None:
    s = stage(paths, "batch=2000", "total_kimg=10")
    for seen, most in ((0, 1), (5000, 3)):
        draw = s.draw(seen)
        counts = draw.active.sum(dim=1)
        assert counts.min() == 1 and counts.max() == most
        assert (draw.active.float().mean(dim=0) - counts.float().mean() / 4).abs().max() < 0.06
        assert torch.equal(draw.active[:1000], draw.active[1000:])
        assert torch.equal(draw.target[:1000], draw.target[1000:])
        assert not torch.equal(draw.z[:, :1000], draw.z[:, 1000:])
        # Targets know nothing of each other or of the codes.
        assert torch.corrcoef(draw.target[:1000].t()).triu(1).abs().max() < 0.15
        assert (draw.target.mean(dim=0) - 0.5).abs().max() < 0.05
    assert s.progress(0) == 0 and s.progress(1500) == 0.5 and s.progress(9000) == 1


def test_goals_and_changes_agree(paths: list[str]) -> None:
    s = stage(paths, "batch=8", "total_kimg=1")
    draw, net = s.draw(0), s.net
    draw.active[:] = True
    for seen, reach in ((0, editor_requests.FIRST_REACH), (900, 1.0)):
        before, rows = s.unedited(draw, 0)
        logits = before.reading.logits[:, s.columns]
        change, goal = goals(net, s.ranges, logits, before.current, draw.active[rows], draw.target[rows],
                             draw.absolute[rows], s.progress(seen))
        assert sorted(rows.tolist()) == list(range(8))
        now = torch.where(net.binary, logits.sigmoid(), logits * net.std + net.mean)
        low, high = s.ranges.ends.unbind(1)
        aim = low + draw.target[rows] * (high - low)
        wanted = now + reach * (aim - now)
        numeric = ~net.binary
        torch.testing.assert_close((goal * net.std + net.mean)[:, numeric], wanted[:, numeric], rtol=1e-4, atol=1e-4)
        start = torch.where(draw.absolute[rows], net.read(before.codes), now)
        torch.testing.assert_close(change[:, numeric], (wanted - start)[:, numeric], rtol=1e-4, atol=1e-3)
        assert torch.equal(change[:, net.binary], 2 * goal[:, net.binary] - 1)
        assert set(goal[:, net.binary].flatten().tolist()) <= {0.0, 1.0}


def test_codes_come_from_mapping_and_encoder(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    s = stage(paths, "batch=40")
    monkeypatch.setattr(editor_requests, "MIXING", 1.0)
    with torch.no_grad():
        encode, given = s.E, []
        s.E = lambda pictures: given.append(pictures) or encode(pictures) + 100
        codes, rows = s.codes(s.draw(0))
    assert [len(code.unique(dim=0)) for code in codes[:20]] == [2] * 20 and codes[:20].abs().max() < 50
    torch.testing.assert_close(codes[20:], encode(given[0]) + 100)
    assert len(given[0]) == 20 and given[0].abs().max() <= 1
    assert sorted(rows.tolist()) == list(range(40))
    plain = stage(paths, "batch=40", "encoder=")
    monkeypatch.setattr(editor_requests, "MIXING", 0.0)
    with torch.no_grad():
        codes, _ = plain.codes(plain.draw(0))
    assert all(len(code.unique(dim=0)) == 1 for code in codes)


def test_losses() -> None:
    binary = torch.tensor([False, True])
    logits, goal = torch.tensor([[0.5, 3.0], [1.0, -2.0]]), torch.tensor([[1.5, 1.0], [9.0, 1.0]])
    active = torch.tensor([[True, True], [False, True]])
    cross = torch.nn.functional.softplus(torch.tensor([-3.0, 2.0]))
    torch.testing.assert_close(target_loss(logits, goal, binary, active), (1.0 - 0.05 + cross.sum()) / 3)
    assert preservation_loss(logits, logits, binary, active) == 0
    p, q = torch.sigmoid(torch.tensor(-2.0)), torch.sigmoid(torch.tensor(1.0))
    divergence = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    others = torch.tensor([[False, True]])
    found = preservation_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, -2.0]]), binary, others)
    torch.testing.assert_close(found, divergence)


def test_the_pass_of_the_teacher_is_the_teachers(paths: list[str]) -> None:
    s = stage(paths)
    a, b = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    view = read_one(s.teacher.net, a)
    torch.testing.assert_close(view.logits, s.teacher.net.logits(a))
    torch.testing.assert_close(view.embedding, s.teacher.net.embedding(a))
    torch.testing.assert_close(layer_distance(view.layers, read_one(s.teacher.net, b).layers), s.teacher.distance(a, b))


def test_several_networks_read_on_average_in_the_firsts_standards(paths: list[str], tmp_path: Path) -> None:
    s = stage(paths)
    first = s.teacher.net
    other = type(first)(dataclasses.replace(first.config, mean=tuple(m + 1 for m in first.config.mean),
                                            std=tuple(2 * d for d in first.config.std)))
    other.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, first.config.resolution, first.config.resolution) * 2 - 1
    both, alone = read([first, other], images), read_one(first, images)
    # The same weights with other standards: v2 = 2 std logit + mean + 1 is (2 logit + 1 / std) in the first's.
    count = len(first.config.numeric)
    std = torch.tensor(first.config.std)
    expected = (alone.logits[:, :count] + 2 * alone.logits[:, :count] + 1 / std) / 2
    torch.testing.assert_close(both.logits[:, :count], expected)
    torch.testing.assert_close(both.logits[:, count:], alone.logits[:, count:])
    torch.testing.assert_close(both.embedding, alone.embedding)


def test_noise_has_a_deviation_of_its_own_in_each_picture() -> None:
    images = torch.zeros(64, 3, 32, 32)
    assert noisy(images, 0.0, torch.Generator()) is images
    deviation = noisy(images, 0.2, torch.Generator().manual_seed(0)).flatten(1).std(dim=1)
    assert deviation.max() < 0.21 and deviation.min() < 0.03
    assert deviation.mean() == pytest.approx(0.1, abs=0.02)


def test_a_weight_of_a_control_weighs_its_target_loss() -> None:
    logits, goal = torch.randn(5, 3), torch.randn(5, 3)
    binary, active = torch.zeros(3, dtype=torch.bool), torch.ones(5, 3, dtype=torch.bool)
    each = [target_loss(logits, goal, binary, active, torch.eye(3)[i]) for i in range(3)]
    torch.testing.assert_close(target_loss(logits, goal, binary, active, torch.tensor([1.0, 4.0, 0.5])),
                               each[0] + 4 * each[1] + 0.5 * each[2])


def test_networks_that_read_other_things_are_refused(paths: list[str], tmp_path: Path) -> None:
    write_attributes(tmp_path / "others.safetensors")
    with pytest.raises(InputError, match="more_attributes"):
        stage(paths, f"more_attributes={tmp_path / 'others.safetensors'}")
    with pytest.raises(InputError, match="nose"):
        stage(paths, 'control_weights={"nose": 2}')


def test_contrast_attracts_equal_targets_of_edited_attributes() -> None:
    contrastor = Contrastor(2, 6, 6, width=8, dim=4)
    z = torch.nn.functional.normalize(torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    targets = torch.tensor([[0.0, 0.5], [1.0, 0.5], [0.0, 0.5]]).repeat(2, 1)
    active = torch.tensor([True, False]).expand(6, 2)
    same = z[:1].expand(3, 2, 4).clone()
    same[1, 0] = -same[0, 0]                                  # the one with another target is far away
    good = torch.cat([same, same]).requires_grad_()
    bad = torch.cat([same, -same])                            # equal targets apart
    assert contrastor.contrast(good, targets, active) < 0.1 < contrastor.contrast(bad, targets, active)
    loss = contrastor.contrast(torch.cat([z]).requires_grad_(), targets, active)
    moving = z.clone().requires_grad_()
    contrastor.contrast(moving, targets, active).backward()
    assert moving.grad[:, 0].abs().max() > 0 and moving.grad[:, 1].abs().max() == 0     # not edited: no part in it
    assert loss > 0
    alone = torch.zeros(6, 2, dtype=torch.bool)
    assert contrastor.contrast(moving, targets, alone) == 0


def test_slope_and_correlation() -> None:
    x = torch.linspace(-1, 1, 50)
    correlation, slope = editor_report.line(x, 0.8 * x + 3)
    assert correlation == pytest.approx(1.0, abs=1e-5) and slope == pytest.approx(0.8, abs=1e-5)


def test_experts_learn_only_from_what_is_asked_and_the_head_only_from_readings(paths: list[str]) -> None:
    s = stage(paths)
    draw = s.draw(0)
    draw.active[:] = torch.tensor([True, False, False, False])
    _, terms = s.loss(draw, 0)
    sum(v for k, v in terms.items() if k != "reader").backward(retain_graph=True)
    assert s.net.experts.direction.grad[0].abs().max() > 0 and s.net.experts.direction.grad[1:].abs().max() == 0
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in s.net.reader.parameters())
    s.net.zero_grad()
    terms["reader"].backward()
    assert all(p.grad is not None for p in s.net.reader.parameters()) and s.net.experts.direction.grad is None


def run(paths: list[str], out: Path, kimg: float, resume: bool = False, *more: str) -> Run:
    options = [*SMALL, *paths, "tick_kimg=0.004", "sheet_kimg=1", f"total_kimg={kimg}", *more]
    made = Run(EditorStage(build_config(EditorStageConfig, None, options)), out, ["test"])
    made.prepare(resume)
    made.run()
    return made


def test_it_trains_resumes_and_loads(paths: list[str], tmp_path: Path) -> None:
    whole = run(paths, tmp_path / "whole", 0.016)
    # The schedule depends on the length, so the first half is stopped, not shorter.
    part = EditorStage(build_config(EditorStageConfig, None, [*SMALL, *paths, "total_kimg=0.016"]))
    for seen in (0, 4):
        part.step(seen)
    first = Run(part, tmp_path / "parts", ["test"])
    first.prepare(False)
    first.seen = 8
    first.save()
    parts = run(paths, tmp_path / "parts", 0.016, True)
    for name, value in whole.stage.average.state_dict().items():
        assert torch.equal(value, parts.stage.average.state_dict()[name]), name
    assert (tmp_path / "whole" / "sheet_last.png").exists()
    editor = rc.load_editor(whole.export_path)
    assert [c.name for c in editor.controls] == ["yaw", "age", "glasses", "length"]
    generator = rc.load_generator(paths[0].partition("=")[2])
    assert editor.provenance["fingerprints"]["generator"] == generator.fingerprint
    assert set(editor.provenance["fingerprints"]) == {"generator", "encoder", "attributes", "identity"}
    metrics = read_checkpoint(whole.export_path).provenance["metrics"]
    assert {"corr_yaw", "slope_age", "flip_glasses", "drift_length", "monotone_age", "multi_drift"} <= set(metrics)
    ws = generator.mapping(torch.randn(2, 16, generator=torch.Generator().manual_seed(1)))
    edited = editor.edit(ws, {"glasses": True})
    assert edited.shape == ws.shape and not torch.equal(edited, ws)
    with pytest.raises(MismatchError):
        rc.belonging.check_generator(editor, "another", "editor")


def test_portraits_are_encoded_when_there_is_a_folder_for_them(paths: list[str], tmp_path: Path) -> None:
    s = PortraitEditorStage(build_config(PortraitEditorConfig, None, [
        *SMALL, *paths, f"data={tmp_path / 'data'}", "data_count=8"]))
    assert len(s.data) == 8
    terms: dict[str, Any] = s.step(0)
    assert {"attribute", "preserve", "identity", "cycle", "contrast", "reader", "gradient"} <= set(terms)
    assert all(torch.isfinite(torch.as_tensor(v)) for v in terms.values())
