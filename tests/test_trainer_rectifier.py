"""The encoder and rectifier stages on tiny random networks: Algorithm 1's triplets, extras, training, export."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.algorithm1 import Triplet, training_triplet
from reganie_core.alignment.flow import estimate_flow
from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import InputError
from reganie_core.metrics import changed_region
from tests.trainer_files import SMALL_RECTIFIER, write_attributes
from trainer.attribute_ensemble import AttributeEnsemble
from trainer.extras import EXTRAS, build_extras, manual_of
from trainer.extras.changed import regional_mean
from trainer.extras.edited_pictures import EditedPictures
from trainer.frozen import load_attributes
from trainer.loop.config import build as build_config
from trainer.loop.randomness import Draws, generator_at
from trainer.loop.run import Run
from trainer.losses import equation_9, generator_loss
from trainer.stages.edits import DrawnEdit
from trainer.stages.encoder import EncoderStage, EncoderStageConfig
from trainer.stages.rectifier import RectifierStage, RectifierStageConfig

SMALL = ["batch=4", *SMALL_RECTIFIER, "r1_gamma=1"]


@pytest.fixture
def paths(tiny_domain: Any, tmp_path: Path) -> list[str]:
    """Options naming the files of the tiny domain and a small attribute network."""
    folder = Path(tiny_domain)
    write_attributes(tmp_path / "attributes.safetensors")
    return [f"generator={folder / 'generator.safetensors'}", f"encoder={folder / 'encoder.safetensors'}",
            f"editors={folder / 'directions.safetensors'}", f"attributes={tmp_path / 'attributes.safetensors'}"]


def start(paths: list[str], *options: str, **extras: Any) -> RectifierStage:
    """The stage with options, and extras as keywords."""
    section = [f"extras={json.dumps(extras)}"] if extras else []
    return RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths, *options, *section]))


def draws(position: int = 0) -> Draws:
    return Draws(generator_at(0, position), 4)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_the_training_half_of_algorithm_1_is_the_papers(t: int) -> None:
    """Against the table of the paper, on maps whose values are known: G doubles, E halves and loses a channel."""
    x, y = torch.rand(2, 2, 3, 4, 4, generator=generator_at(0, 0)) * 2 - 1
    mask = torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1)
    asked: list[int] = []

    def encoder(pictures: torch.Tensor) -> torch.Tensor:
        asked.append(len(pictures))
        return pictures * mask / 2

    made = training_triplet(t, x, y, lambda codes: 2 * codes, encoder)
    x_hat, y_hat = x * mask, y * mask
    expected = {1: (y - y_hat, x_hat, x, y_hat), 2: (x - x_hat, y_hat, y, x_hat), 3: (x - x_hat, x_hat, x, x_hat)}[t]
    for got, want in zip(made, expected, strict=True):
        torch.testing.assert_close(got, want)
    assert asked == [2 if t == 3 else 4], "Y is not inverted where it is not needed"


def test_the_stages_triplets_are_made_of_generated_pictures(paths: list[str]) -> None:
    stage = start(paths)
    found = {}
    for position in range(40):
        made = stage.triplet(draws(position))
        found[made.number] = (position, made.triplet)
    assert set(found) == {1, 2, 3}
    for t, (position, triplet) in found.items():
        random = generator_at(0, position)
        w = stage.G.mapping(torch.randn(4, stage.G.z_dim, generator=random))
        torch.multinomial(torch.ones(3), 1, generator=random)
        x = stage.synthesize(w)
        y = stage.synthesize(stage.drawn_edit(Draws(random, 4))(w))
        expected = training_triplet(t, x, y, stage.synthesize, stage.E)
        for got, want in zip(triplet, expected, strict=True):
            assert torch.allclose(got, want, atol=1e-5), t


def test_equation_9_is_three_weighted_terms() -> None:
    picture, target = torch.rand(2, 2, 3, 4, 4, generator=generator_at(0, 0))
    discriminator = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 1))

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().mean((1, 2, 3))

    loss, terms = equation_9(picture, target, distance, discriminator, (2.0, 3.0, 5.0))
    wanted = (2 * (picture - target).abs().mean() + 3 * (picture - target).square().mean()
              + 5 * generator_loss(discriminator(picture)))
    torch.testing.assert_close(loss, wanted)
    assert set(terms) == {"l1", "perceptual", "G"}
    assert "G" not in equation_9(picture, target, distance, None, (1.0, 1.0, 1.0))[1]


def test_edits_touch_the_asked_number_of_controls(paths: list[str]) -> None:
    stage = start(paths, "edits_per_sample=1")
    w = torch.zeros(64, stage.G.num_ws, stage.G.w_dim)
    edited = stage.drawn_edit(Draws(generator_at(0, 0), 64))(w)
    directions = torch.stack([d.expand(stage.G.num_ws, -1).flatten() for d in stage.editors[0].directions.values()])
    amounts = torch.linalg.lstsq(directions.t(), edited.flatten(1).t()).solution.t()
    assert ((amounts.abs() > 1e-4).sum(dim=1) == 1).all()
    assert ((amounts.abs() > 1e-4).sum(dim=0) > 0).all()


def test_edits_and_triplets_are_drawn_as_readily_as_asked(paths: list[str]) -> None:
    names = [c.name for c in start(paths).editors[0].controls]
    stage = start(paths, "edits_per_sample=1", f'edit_weights={{"{names[0]}": 1000}}', "triplet_weights=0,1,0")
    moved = stage.editors[0].edit(torch.zeros(1, stage.G.num_ws, stage.G.w_dim), {names[0]: 1.0})
    along = torch.nn.functional.normalize(moved.flatten(), dim=0)
    codes = torch.zeros(64, stage.G.num_ws, stage.G.w_dim)
    edited = stage.drawn_edit(Draws(generator_at(0, 0), 64))(codes).flatten(1)
    assert ((edited @ along).abs() / edited.norm(dim=1) > 0.999).sum() >= 60
    assert {stage.triplet(draws(i)).number for i in range(5)} == {2}


@pytest.mark.parametrize("option", ['edit_weights={"nose": 2}', 'edit_weights={"smile": 0}', "triplet_weights=1,1",
                                    "triplet_weights=0,0,0", "without=nothing_such"])
def test_impossible_options_are_refused(paths: list[str], option: str) -> None:
    with pytest.raises(InputError, match=option.partition("=")[2] if "without" in option else option.split("=")[0]):
        start(paths, option)


@pytest.mark.parametrize(("section", "words"), [
    ({"hats": {}}, "no extra 'hats'"), ({"paste": {"most": 1}}, "extras.paste has no setting most"),
    ({"paste": {"share": "half"}}, "extras.paste.share"), ({"paste": {"below": 1.5}}, "share from 0 to 1"),
    ({"edited_pictures": {"gains": {"age": 0}}}, "gains must be above 0")])
def test_extras_that_cannot_be_are_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_extras(section)


def test_every_extra_explains_its_settings_and_can_be_left_out(paths: list[str]) -> None:
    for name in EXTRAS:
        assert all(text for _, _, text in manual_of(name)), name
    assert build_extras({"paste": {}, "jitter": {}}, ["paste"])[0].most == 0.5
    assert [type(extra).__name__ for extra in start(paths, "without=l2", l2={}, changed={}).extras] == ["Changed"]
    with pytest.raises(InputError, match=r"extras.real trains on pictures.*without=real"):
        start(paths, real={})
    with pytest.raises(InputError, match="attribute network"):
        start(paths[:3], "attributes=", attribute={})


def test_a_carried_difference_goes_along_the_flow_between_the_inversions(paths: list[str]) -> None:
    stage = start(paths, "edit_strength=2", carry={"channels": [6, 8]})
    assert stage.R.config.carry_channels == (6, 8) and stage.R.config.output == "residual"
    made = next(m for i in range(20) if (m := stage.triplet(draws(i))).number == 2)
    delta, primary, _, source = made.triplet
    flow = estimate_flow(source, primary)
    assert flow.abs().max() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(stage.painted(stage.R, made), stage.R(primary, delta, flow=flow))
    assert all(torch.isfinite(v) for v in stage.step(0).values())


def test_the_inverted_edit_can_be_the_one_that_is_seen_in_use(paths: list[str]) -> None:
    stage = start(paths, "triplet_weights=0,1,0", edited_codes={"share": 1.0}, changed={"weight": 1.0})
    made = stage.triplet(draws(3))
    random = generator_at(0, 3)
    w = stage.G.mapping(torch.randn(4, stage.G.z_dim, generator=random))
    torch.multinomial(torch.tensor([0.0, 1.0, 0.0]), 1, generator=random)
    edit = stage.drawn_edit(Draws(random, 4))
    x, y = stage.synthesize(w), stage.synthesize(edit(w))
    torch.testing.assert_close(made.triplet.primary, stage.synthesize(edit(stage.E(x))), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.triplet.target, y, atol=1e-5, rtol=0)
    picture = torch.zeros_like(y)
    expected = regional_mean((picture - y).abs(), changed_region(x, y))
    assert float(stage.extras[1].terms(made, picture)["changed"]) == pytest.approx(float(expected), rel=1e-2)
    assert stage.extras[1].terms(made._replace(number=3), picture) == {} and "changed" in stage.step(0)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    region = torch.zeros(2, 1, 10, 10)
    region[0, :, :2, :5], region[1] = 1.0, 1.0
    error = torch.zeros(2, 3, 10, 10)
    error[0, :, :2, :5], error[1] = 1.0, 3.0
    assert regional_mean(error, region) == pytest.approx(2.0)
    assert regional_mean(error, torch.zeros_like(region)) == 0.0


def test_jitter_is_one_error_for_both_pictures(paths: list[str]) -> None:
    stage = start(paths, jitter={"most": 0.5})
    codes = stage.E(torch.rand(8, 3, 32, 32, generator=generator_at(5, 0)) * 2 - 1).detach()
    error = stage.extras[0].codes(codes, draws(), 2, None) - codes
    assert error.abs().amax(dim=(1, 2)).max() > 0
    assert torch.allclose(error[:4], error[4:], atol=1e-6)


def test_crops_are_off_for_the_inversion_too(paths: list[str]) -> None:
    """The difference and the inversion are those of the displaced picture, and the target is that picture."""
    triplets = [start(paths, "triplet_weights=0,0,1", **extras).triplet(draws()).triplet
                for extras in ({}, {"crop_error": {"error": 0.1}})]
    assert (triplets[0].target - triplets[1].target).abs().mean() > 0.01
    for made in triplets:
        assert torch.allclose(made.delta, made.target - made.primary, atol=1e-6)


def test_squared_errors_and_pasted_shapes_are_extras(paths: list[str]) -> None:
    stage = start(paths, "gan_weight=0", l2={"weight": 2.0}, paste={"share": 1.0})
    made = stage.triplet(draws())
    picture = made.triplet.target + 0.5
    assert float(stage.extras[1].terms(made, picture)["l2"]) == pytest.approx(0.5, rel=1e-4)
    plain = start(paths, "gan_weight=0").triplet(draws())
    assert plain.number == made.number and (plain.triplet.target - made.triplet.target).abs().mean() > 0.01
    assert {"l2", "l1", "perceptual", "gradient_R"} <= set(stage.step(0))


def test_training_pictures_are_triplet_3(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RectifierStage, "open_pictures", lambda self: Colours())
    made = start(paths, real={"share": 1.0}).triplet(draws())
    assert made.number == 4 and made.triplet.target.flatten(2).std(-1).max() < 1e-6, "pictures of one colour"


def test_edited_pictures_show_what_is_read_in_them(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No exact answer is known: what is read counts, and the picture itself where the edit changes nothing."""
    monkeypatch.setattr(RectifierStage, "open_pictures", lambda self: Colours())
    section = {"share": 1.0, "weight": 2.0, "behind_weight": 5.0}
    stage = start(paths, "l1_weight=3", "gan_weight=0", edited_pictures=section)
    [extra] = stage.extras
    assert isinstance(extra, EditedPictures)
    made = stage.triplet(draws())
    delta, primary, x, source = made.triplet
    assert made.number == 5 and made.by is extra
    torch.testing.assert_close(source, stage.synthesize(stage.E(x)), atol=1e-5, rtol=0)
    torch.testing.assert_close(delta, x - source)
    assert torch.equal(made.more["region"], changed_region(source, primary)) and made.more["adds_object"].shape == (4,)
    nothing = {**made.more, "adds_object": torch.zeros(4, dtype=torch.bool)}
    same = made._replace(triplet=Triplet(delta, primary, x, primary), more=nothing)     # an edit that changes nothing
    assert float(sum(extra.loss(same, x).values())) == pytest.approx(0, abs=1e-6)
    terms = extra.loss(made._replace(more=nothing), x * 0.5)
    assert terms["kept"] > 0 and terms["behind"] == 0
    assert float(terms["rest"]) == pytest.approx(3 * float(((x * 0.5).abs() * (1 - nothing["region"])).mean()))
    assert {"kept", "rest", "behind", "gradient_R"} <= set(stage.step(0))
    everywhere = made._replace(more={"adds_object": torch.ones(4, dtype=torch.bool),
                                     "region": torch.ones_like(made.more["region"])})
    pasted = (primary + delta).clamp(-1, 1)
    terms = extra.loss(everywhere, pasted + 0.25)
    assert float(terms["rest"]) == 0 and float(terms["behind"]) == pytest.approx(5 * 0.25, abs=1e-4)
    extra.behind_share = 0.8
    shown = (primary + 0.8 * delta).clamp(-1, 1)
    assert float(extra.loss(everywhere, shown)["behind"]) == pytest.approx(0, abs=1e-5)
    assert float(extra.loss(everywhere, pasted)["behind"]) > 0
    both = start(paths, "gan_weight=1", edited_pictures=section)
    assert {"kept", "D", "G"} <= set(both.step(0)), "a discriminator judges edited pictures for both sides"


def test_only_an_object_is_put_on() -> None:
    controls = [rc.editing.Control("yaw", "numeric", -1, 1), rc.editing.Control("glasses", "binary", 0, 1)]
    changes = {"yaw": torch.tensor([1.0, 1, 0, 0]), "glasses": torch.tensor([0.0, 1, -1, 1])}
    drawn = DrawnEdit(SimpleNamespace(controls=controls), changes)
    assert drawn.only_adds_objects().tolist() == [False, False, False, True]


class Colours:
    """Pictures of one colour each."""

    def __len__(self) -> int:
        return 8

    def batch(self, indices: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
        return (indices / 8 - 0.5)[:, None, None, None].expand(-1, 3, 32, 32).clone()


def test_several_attribute_networks_count_alike(tmp_path: Path) -> None:
    first, second = (write_attributes(tmp_path / f"{seed}.safetensors", ("yaw", "age"), ("glasses",), (0, 0), (1, 1),
                                      seed) for seed in (0, 1))
    x, x_hat, y_hat, picture = torch.rand(4, 2, 3, 32, 32, generator=generator_at(0, 0)) * 2 - 1
    both, *each = (AttributeEnsemble(load_attributes(str(names[0])), [str(n) for n in names[1:]], "cpu", torch.float32)
                   for names in ([first, second], [first], [second]))
    assert len(both.read(x)) == 2
    for errors in ([r.edit_error(picture, x, x_hat, y_hat) for r in (both, *each)],
                   [r.compared(picture, x)[1] for r in (both, *each)]):
        assert float(errors[1]) != float(errors[2])
        assert float(errors[0]) == pytest.approx(float(errors[1] + errors[2]) / 2, rel=1e-5)
    distance, error = both.compared(x, x)
    assert float(error) == 0 and float(distance.abs().max()) < 1e-6
    logits = each[0].changed(*(torch.full((1, 3), v) for v in (1.0, 0.5, 2.0)))
    assert logits.tolist() == [[2.5, 2.5, 2.0]]
    more = AttributeEnsemble(load_attributes(str(first)), [], "cpu", torch.float32, {"age": 1.5})
    logits = more.changed(*(torch.full((1, 3), v) for v in (1.0, 0.5, 2.0)))
    assert logits.tolist() == [[2.5, 3.25, 2.0]]
    with pytest.raises(InputError, match="edit_gains.*glasses.*yaw, age"):
        AttributeEnsemble(load_attributes(str(first)), [], "cpu", torch.float32, {"glasses": 1.5})


def test_rectifier_trains_resumes_and_loads(paths: list[str], tmp_path: Path) -> None:
    def train(out: str, kimg: float, resume: bool = False) -> Run:
        stage = start(paths, f"total_kimg={kimg}", "tick_kimg=0.008", "sheet_kimg=1", "r1_interval=2",
                      jitter={"most": 0.3}, paste={"share": 0.5}, changed={})
        run = Run(stage, tmp_path / out, ["test"])
        run.prepare(resume)
        run.run()
        return run

    whole = train("whole", 0.024)
    train("parts", 0.012)
    parts = train("parts", 0.024, resume=True)
    for name, module in whole.stage.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, parts.stage.modules[name].state_dict()[key]), (name, key)
    rectifier = rc.load_rectifier(whole.export_path)
    assert rectifier(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    marks = read_checkpoint(whole.export_path, kind="rectifier").provenance["fingerprints"]
    assert marks["generator"] == whole.stage.G.fingerprint and marks["encoder"] == whole.stage.E.fingerprint


def test_offsets_of_the_encoder_are_released_one_by_one(paths: list[str], tmp_path: Path) -> None:
    generator, _, _, attributes = paths
    options = ["batch=4", "data_count=8", f"data={tmp_path}",
               "stage_start_kimg=0.004", "stage_every_kimg=0.004", "total_kimg=0.02", "tick_kimg=0.02", "sheet_kimg=1"]
    config = build_config(EncoderStageConfig, None, [*options, generator, attributes])
    stage = EncoderStage(config)
    stage.sheet = lambda path: None
    assert [stage.stage_at(n) for n in (0, 4, 8, 12, 100)] == [0, 0, 1, 2, stage.E.num_ws - 1]
    run = Run(stage, tmp_path / "run", ["test"])
    run.prepare(False)
    run.run()
    encoder = rc.load_encoder(run.export_path)
    assert encoder(torch.zeros(1, 3, 32, 32)).shape == (1, stage.G.num_ws, stage.G.w_dim)
    assert torch.allclose(encoder.latent_avg, stage.G.w_avg.expand(stage.G.num_ws, -1), atol=1e-3)
