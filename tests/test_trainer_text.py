"""The stages of text edits: a text encoder that learns, statistics that resume, a mapper that follows its prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reganie_core import portraits
from reganie_core.checkpoints import read_checkpoint, save_checkpoint
from reganie_core.editing import load_editor
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.attribute_net import AttributeNet, AttributeNetConfig
from reganie_core.portraits.captions import Prompt
from reganie_core.text import load_text_encoder
from trainer.evaluation.texts import text_table
from trainer.loop.run import Run
from trainer.portraits.text import TEXT_SIDE, TextStage, TextStageConfig, area_under_curve
from trainer.stages.styleclip import StyleCLIPStage, StyleCLIPStageConfig

SMALL = {"device": "cpu", "resolution": 16, "channels": (8, 12),
         "batch": 16, "data_count": 32, "held_out_count": 24, "total_kimg": 0.032}


def run(stage: object, folder: Path, resume: bool = False) -> Run:
    work = Run(stage, folder, ["test"])  # type: ignore[arg-type]
    work.prepare(resume)
    work.run()
    return work


def test_the_text_stage_learns_its_captions():
    """On a handful of portraits the losses fall and every term is a tensor: the loop decides when to wait for it."""
    stage = TextStage(TextStageConfig(**{**SMALL, "lr": 0.01}))
    terms = [stage.step(0) for _ in range(12)]
    assert all(isinstance(value, torch.Tensor) for value in terms[0].values())
    assert float(terms[-1]["contrast"]) < float(terms[0]["contrast"]) - 0.05
    assert float(terms[-1]["read"]) < float(terms[0]["read"])


def test_targets_are_shared_by_all_true_portraits():
    """Where every caption is true of every portrait there is nothing to learn but evenness."""
    from reganie_core.portraits.captions import Caption

    stage = TextStage(TextStageConfig(**SMALL))
    images, values = stage.pool.batch(torch.arange(4), torch.zeros(4, dtype=torch.bool))
    loss = stage.loss(stage.net.embed_images(images), [Caption("a face")] * 4, values)["contrast"]
    assert float(loss.detach()) >= torch.tensor(4.0).log() - 1e-5


def test_a_frozen_image_side_stays_and_the_text_side_learns(tmp_path):
    first = run(TextStage(TextStageConfig(**SMALL)), tmp_path / "first")
    stage = TextStage(TextStageConfig(**{**SMALL, "frozen": True, "init_from": str(first.export_path), "lr": 0.01}))
    before = {name: value.clone() for name, value in stage.net.state_dict().items()}
    losses = [float(stage.step(0)["contrast"]) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.02
    changed = {name for name, value in stage.net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(TEXT_SIDE) for name in changed)
    images, _ = stage.pool.batch(torch.arange(4), torch.tensor([False, True, False, True]))
    known = stage.known[torch.tensor([0, 1, 0, 1]), torch.arange(4)]
    torch.testing.assert_close(known, stage.average.embed_images(images), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="init_from"):
        TextStageConfig(**{**SMALL, "frozen": True}).validate()


def test_mirrored_portraits_swap_sides():
    stage = TextStage(TextStageConfig(**SMALL))
    plain, values = stage.pool.batch(torch.arange(4), torch.zeros(4, dtype=torch.bool))
    flipped, other = stage.pool.batch(torch.arange(4), torch.ones(4, dtype=torch.bool))
    assert torch.equal(flipped, plain.flip(-1)) and torch.equal(other["yaw"], -values["yaw"])
    assert torch.equal(other["age"], values["age"])


def test_text_run_resume_and_export(tmp_path):
    run(TextStage(TextStageConfig(**SMALL)), tmp_path / "one")
    half = TextStage(TextStageConfig(**{**SMALL, "total_kimg": 0.016}))
    run(half, tmp_path / "two")
    run(TextStage(TextStageConfig(**SMALL)), tmp_path / "two", resume=True)
    first, second = (read_checkpoint(tmp_path / name / "text_image.safetensors") for name in ("one", "two"))
    assert all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())
    assert {"best_portrait", "auc_smile", "auc_hair_length"} <= set(first.provenance["metrics"])
    encoder = load_text_encoder(tmp_path / "one" / "text_image.safetensors")
    assert encoder.encode_text(["a smiling child"]).shape == (1, 64)


def test_the_trunk_of_an_attribute_network(tmp_path):
    net = AttributeNet(AttributeNetConfig(16, (8, 12), ("age",), (), (0.0,), (1.0,), 192))
    path = tmp_path / "a.safetensors"
    config = {"type": "AttributeNet", "resolution": 16, "channels": [8, 12], "numeric": ["age"], "mean": [0.0],
              "std": [1.0], "hidden": 192}
    save_checkpoint(path, "attributes", config, net.state_dict(), {})
    stage = TextStage(TextStageConfig(**SMALL, trunk=str(path)))
    assert torch.equal(stage.net.convs[1].weight, net.convs[1].weight) and torch.equal(stage.net.fc.bias, net.fc.bias)
    with pytest.raises(MismatchError, match="channels"):
        TextStage(TextStageConfig(**{**SMALL, "channels": (8, 16)}, trunk=str(path)))


def test_seeds_and_sizes_are_checked():
    with pytest.raises(InputError, match="reserved"):
        TextStageConfig(data_seed=10**9 - 5).validate()
    with pytest.raises(InputError, match="prompt"):
        StyleCLIPStageConfig(mode="mapper", total_kimg=1).validate()
    with pytest.raises(InputError, match="even"):
        StyleCLIPStageConfig(batch=3).validate()
    with pytest.raises(InputError, match="mode"):
        StyleCLIPStageConfig(mode="magic").validate()


def test_area_under_the_curve():
    scores, positive = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True])
    assert area_under_curve(scores, positive) == 0.75 and area_under_curve(-scores, positive) == 0.25


@pytest.fixture(scope="module")
def parts(tmp_path_factory, tiny_domain) -> dict[str, str]:
    """A generator and a text encoder as files."""
    folder = tmp_path_factory.mktemp("text")
    stage = TextStage(TextStageConfig(**SMALL))
    stage.export(folder / "text_image.safetensors", {})
    return {"generator": str(tiny_domain / "generator.safetensors"), "device": "cpu",
            "text_encoder": str(folder / "text_image.safetensors")}


def config(parts: dict[str, str], **more: object) -> StyleCLIPStageConfig:
    small = {"pictures": 2, "samples": 16, "batch": 64, "step": 1.0, "tick_kimg": 0.1}
    made = StyleCLIPStageConfig(**{**parts, **small, **more})
    made.validate()
    return made


def test_statistics_resume_to_the_same_file(tmp_path, parts):
    run(StyleCLIPStage(config(parts)), tmp_path / "one")
    stage = StyleCLIPStage(config(parts))
    stage.config.total_kimg = 0.128                     # as if it had been stopped there
    run(stage, tmp_path / "two")
    run(StyleCLIPStage(config(parts)), tmp_path / "two", resume=True)
    first, second = (read_checkpoint(tmp_path / name / "styleclip.safetensors") for name in ("one", "two"))
    assert first.config == second.config and first.config["text_encoder"] == "text.safetensors"
    assert all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())
    editor = load_editor(tmp_path / "one" / "styleclip.safetensors")        # with its encoder beside it
    assert editor.method == "least_squares" and editor.neutral == "a person"
    assert first.provenance["fingerprints"]["text_encoder"] == editor.encoder.fingerprint
    lines = [json.loads(line) for line in (tmp_path / "one" / "stats.jsonl").read_text().splitlines()]
    assert all(0 < line["done"] <= 1 for line in lines)


def test_a_mapper_follows_its_prompt(tmp_path, parts):
    stage = StyleCLIPStage(config(parts, mode="mapper", prompt="a smiling person", batch=8, total_kimg=0.08, lr=0.3,
                                  samples=2))
    before = stage.validate()["similarity"]
    work = run(stage, tmp_path / "m")
    assert stage.validate()["similarity"] > before
    editor = load_editor(work.export_path)
    assert "a smiling person" in editor.controls[0].description
    ws = stage.held_out().ws[:2]
    torch.testing.assert_close(editor.edit(ws, {editor.controls[0].name: 1.0}), ws + 0.1 * stage.average(ws),
                               rtol=1e-4, atol=1e-5)


def test_the_table_of_prompts_counts_what_moved(parts, tmp_path):
    """A reader that sees brightness as age and nothing else: pictures that get brighter are right."""
    stage = StyleCLIPStage(config(parts))
    stage.gatherer.run(0, stage.gatherer.total)
    names = [c.name for c in portraits.CONTROLS]

    def read(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        zero = torch.zeros(len(pictures))
        return {name: pictures.mean((1, 2, 3)) if name == "age" else zero for name in names}

    latent = stage.held_out()[:6]
    row, other = text_table(stage.G, stage.editor(), read, latent,
                            [Prompt("an old person", {"age": 1}), Prompt("an old person", {"age": -1})])
    assert row["right"] + other["right"] == pytest.approx(1.0) and row["moved"] == other["moved"]
    assert row["worst_drift"] == 0.0 and set(row["drift"]) == set(names) - {"age"}


@pytest.mark.parametrize("method", ["sefa", "ganspace"])
def test_unnamed_directions_by_the_directions_stage(tmp_path, tiny_domain, method):
    from trainer.stages.directions import DirectionsStage, DirectionsStageConfig

    made = DirectionsStageConfig(method=method, generator=str(tiny_domain / "generator.safetensors"), device="cpu",
                                 count=3, rows="1-2")
    made.validate()
    editor = load_editor(run(DirectionsStage(made), tmp_path / method).export_path)
    names = [control.name for control in editor.controls]
    assert len(names) == 3 and editor.controls[0].maximum == 5.0
    ws = torch.zeros(1, 8, 16)
    moved = editor.edit(ws, {names[0]: 1.0})[0].abs().sum(1) > 0
    assert moved.nonzero()[:, 0].tolist() == [1, 2]
    with pytest.raises(InputError, match="sefa"):
        DirectionsStageConfig(method="magic").validate()
