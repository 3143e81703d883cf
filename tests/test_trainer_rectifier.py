"""The encoder and rectifier stages on tiny random networks: Algorithm 1's triplets, training, export."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import reganie_core as rc
import trainer.stages.rectifier as rectifier_module
from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import InputError
from reganie_core.metrics import changed_region
from tests.trainer_files import SMALL_RECTIFIER, write_attributes
from trainer.attribute_ensemble import AttributeEnsemble
from trainer.frozen import load_attributes
from trainer.loop.config import build as build_config
from trainer.loop.randomness import generator_at
from trainer.loop.run import Run
from trainer.stages.encoder import EncoderStage, EncoderStageConfig
from trainer.stages.rectifier import RectifierStage, RectifierStageConfig
from trainer.stages.triplets import DrawnEdit, regional_mean

SMALL = ["batch=4", *SMALL_RECTIFIER, "r1_gamma=1"]


@pytest.fixture
def paths(tiny_domain: Any, tmp_path: Path) -> list[str]:
    """Options naming the files of the tiny domain and a small attribute network."""
    folder = Path(tiny_domain)
    write_attributes(tmp_path / "attributes.safetensors")
    return [f"generator={folder / 'generator.safetensors'}", f"encoder={folder / 'encoder.safetensors'}",
            f"editors={folder / 'directions.safetensors'}", f"attributes={tmp_path / 'attributes.safetensors'}"]


def test_triplets_are_those_of_algorithm_1(paths: list[str]) -> None:
    stage = RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths]))
    found = {}
    for position in range(40):
        delta, primary, target, t, *_ = stage.triplet(generator_at(0, position))
        assert delta.abs().max() <= 2 and primary.abs().max() <= 1 and target.abs().max() <= 1
        found[t] = (position, delta, primary, target)
    assert set(found) == {1, 2, 3}

    def parts(position: int) -> tuple[torch.Tensor, ...]:
        random = generator_at(0, position)
        w = stage.G.mapping(torch.randn(4, stage.G.z_dim, generator=random))
        t = int(torch.randint(1, 4, (1,), generator=random))
        x = stage.synthesize(w)
        y = stage.synthesize(stage.edit(w, random)) if t < 3 else x
        return x, stage.synthesize(stage.E(x)), y, stage.synthesize(stage.E(y))

    for t, (position, delta, primary, target) in found.items():
        x, x_hat, y, y_hat = parts(position)
        expected = {1: (y - y_hat, x_hat, x), 2: (x - x_hat, y_hat, y), 3: (x - x_hat, x_hat, x)}[t]
        for got, want in zip((delta, primary, target), expected, strict=True):
            assert torch.allclose(got, want, atol=1e-5), t


def test_edits_touch_the_asked_number_of_controls(paths: list[str]) -> None:
    stage = RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths, "edits_per_sample=1"]))
    w = torch.zeros(64, stage.G.num_ws, stage.G.w_dim)
    edited = stage.edit(w, generator_at(0, 0))
    directions = torch.stack([d.expand(stage.G.num_ws, -1).flatten() for d in stage.editors[0].directions.values()])
    amounts = torch.linalg.lstsq(directions.t(), edited.flatten(1).t()).solution.t()
    assert ((amounts.abs() > 1e-4).sum(dim=1) == 1).all()
    assert ((amounts.abs() > 1e-4).sum(dim=0) > 0).all()


def test_edits_and_triplets_are_drawn_as_readily_as_asked(paths: list[str]) -> None:
    plain = RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths]))
    names = [c.name for c in plain.editors[0].controls]
    stage = RectifierStage(build_config(RectifierStageConfig, None, [
        *SMALL, *paths, "edits_per_sample=1", f'edit_weights={{"{names[0]}": 1000}}', "triplet_weights=0,1,0"]))
    moved = stage.editors[0].edit(torch.zeros(1, stage.G.num_ws, stage.G.w_dim), {names[0]: 1.0})
    along = torch.nn.functional.normalize(moved.flatten(), dim=0)
    edited = stage.edit(torch.zeros(64, stage.G.num_ws, stage.G.w_dim), generator_at(0, 0)).flatten(1)
    assert ((edited @ along).abs() / edited.norm(dim=1) > 0.999).sum() >= 60
    assert {stage.triplet(generator_at(0, i)).number for i in range(5)} == {2}


@pytest.mark.parametrize("option", ['edit_weights={"nose": 2}', 'edit_weights={"smile": 0}', "triplet_weights=1,1",
                                    "triplet_weights=0,0,0", "real_edits=0.5", "paste_below=1.5", "crop_error=-0.1",
                                    "edited_codes=2"])
def test_impossible_options_are_refused(paths: list[str], option: str) -> None:
    with pytest.raises(InputError, match=option.split("=")[0]):
        RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths, option]))


def test_a_carried_difference_goes_along_the_flow_between_the_inversions(paths: list[str]) -> None:
    options = [*SMALL, *paths, "output=residual", "carry_channels=6,8", "edit_strength=2"]
    stage = RectifierStage(build_config(RectifierStageConfig, None, [*options, "flow_dropout=0"]))
    found = {}
    for position in range(20):
        made = stage.triplet(generator_at(0, position))
        found[made.number] = made.primary, made.flow
    assert found[3][1] is None, "nothing moves between a picture and itself"
    for t in (1, 2):
        primary, flow = found[t]
        assert flow.shape == (4, 2, *primary.shape[-2:]) and flow.abs().max() > 0.1
    assert all(torch.isfinite(v) for v in stage.step(0).values())
    silent = RectifierStage(build_config(RectifierStageConfig, None, [*options, "flow_dropout=1"]))
    assert all(silent.triplet(generator_at(0, position)).flow is None for position in range(5))


def test_the_inverted_edit_can_be_the_one_that_is_seen_in_use(paths: list[str]) -> None:
    stage = RectifierStage(build_config(RectifierStageConfig, None, [
        *SMALL, *paths, "edited_codes=1", "changed_weight=1", "triplet_weights=0,1,0"]))
    made = stage.triplet(generator_at(0, 3))
    random = generator_at(0, 3)
    w = stage.G.mapping(torch.randn(4, stage.G.z_dim, generator=random))
    torch.multinomial(torch.tensor([0.0, 1.0, 0.0]), 1, generator=random)
    state = random.get_state()
    x, y = stage.synthesize(w), stage.synthesize(stage.edit(w, random))
    random.set_state(state)
    codes = stage.E(x)
    torch.testing.assert_close(made.primary, stage.synthesize(stage.edit(codes, random)), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.target, y, atol=1e-5, rtol=0)
    assert torch.equal(made.region, changed_region(x, y)) and "changed" in stage.step(0)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    region = torch.zeros(2, 1, 10, 10)
    region[0, :, :2, :5], region[1] = 1.0, 1.0
    error = torch.zeros(2, 3, 10, 10)
    error[0, :, :2, :5], error[1] = 1.0, 3.0
    assert regional_mean(error, region) == pytest.approx(2.0)
    assert regional_mean(error, torch.zeros_like(region)) == 0.0


def test_jitter_is_one_error_for_both_pictures(paths: list[str]) -> None:
    stage = RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths, "jitter=0.5"]))
    pictures = torch.rand(8, 3, 32, 32, generator=generator_at(5, 0)) * 2 - 1
    with torch.no_grad():
        error = stage.invert(pictures, generator_at(0, 0)) - stage.E(pictures)
    assert error.abs().amax(dim=(1, 2)).max() > 0
    assert torch.allclose(error[:4], error[4:], atol=1e-6)


def test_crops_are_off_for_the_inversion_too(paths: list[str]) -> None:
    """The difference and the inversion are those of the displaced picture, and the target is that picture."""
    triplets = [RectifierStage(build_config(RectifierStageConfig, None, [
        *SMALL, *paths, "paste=0", "triplet_weights=0,0,1", f"crop_error={error}"])).triplet(generator_at(0, 0))
        for error in (0.0, 0.1)]
    assert (triplets[0].target - triplets[1].target).abs().mean() > 0.01
    for made in triplets:
        assert torch.allclose(made.delta, made.target - made.primary, atol=1e-6)


def test_edited_pictures_show_what_is_read_in_them(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No exact answer is known: what is read counts, and the picture itself where the edit changes nothing."""
    monkeypatch.setattr(rectifier_module, "training_pictures", lambda config, resolution, group: Colours())
    stage = RectifierStage(build_config(RectifierStageConfig, None, [
        *SMALL, *paths, "real_edits=1", "attribute_weight=2", "l1_weight=3", "gan_weight=0"]))
    made = stage.triplet(generator_at(0, 0))
    assert made.number == 5 and made.inversion is not None and made.region is not None
    torch.testing.assert_close(made.inversion, stage.synthesize(stage.E(made.target)), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.delta, made.target - made.inversion)
    assert torch.equal(made.region, changed_region(made.inversion, made.primary))
    assert made.put_on.shape == (4,)
    made = made._replace(put_on=torch.zeros(4, dtype=torch.bool))
    same = made._replace(inversion=made.primary)                     # an edit that changes nothing
    assert float(stage.edit_loss(same, made.target)[0]) == pytest.approx(0, abs=1e-6)
    loss, terms = stage.edit_loss(made, made.target * 0.5)
    assert terms["kept"] > 0 and terms["rest"] >= 0
    assert float(loss) == pytest.approx(float(2 * terms["kept"] + 3 * terms["rest"]))
    assert {"kept", "rest", "behind", "gradient_R"} <= set(stage.step(0))
    everywhere = made._replace(put_on=torch.ones(4, dtype=torch.bool), region=torch.ones_like(made.region))
    pasted = (made.primary + made.delta).clamp(-1, 1)
    stage.config.behind_weight = 5.0
    loss, terms = stage.edit_loss(everywhere, pasted + 0.25)
    assert float(terms["rest"]) == 0 and float(terms["behind"]) == pytest.approx(0.25, abs=1e-5)
    assert float(loss) == pytest.approx(float(2 * terms["kept"]) + 5 * 0.25, abs=1e-4)
    stage.config.behind_share = 0.8
    shown = (made.primary + 0.8 * made.delta).clamp(-1, 1)
    assert float(stage.edit_loss(everywhere, shown)[1]["behind"]) == pytest.approx(0, abs=1e-6)
    assert float(stage.edit_loss(everywhere, pasted)[1]["behind"]) > 0
    both = RectifierStage(build_config(RectifierStageConfig, None, [
        *SMALL, *paths, "real_edits=1", "attribute_weight=2", "gan_weight=1"]))
    assert {"kept", "D", "G"} <= set(both.step(0)), "a discriminator judges edited pictures for both sides"


def test_only_an_object_is_put_on() -> None:
    controls = [rc.editing.Control("yaw", "numeric", -1, 1), rc.editing.Control("glasses", "binary", 0, 1)]
    changes = {"yaw": torch.tensor([1.0, 1, 0, 0]), "glasses": torch.tensor([0.0, 1, -1, 1])}
    assert DrawnEdit(SimpleNamespace(controls=controls), changes).only_puts_on().tolist() == [False, False, False, True]


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
    with pytest.raises(InputError, match="edit_gains must be above 0"):
        build_config(RectifierStageConfig, None, ['edit_gains={"age": 0}'])


def test_input_ablations_hide_what_they_say(paths: list[str]) -> None:
    for shown in ("delta", "image", "nothing"):
        stage = RectifierStage(build_config(RectifierStageConfig, None, [*SMALL, *paths, f"delta_input={shown}"]))
        x, inverted = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.25)
        value = {"delta": 0.25, "image": 0.5, "nothing": 0.0}[shown]
        assert (stage.seen_by_delta_encoder(x, inverted) == value).all()
    with pytest.raises(InputError, match="delta_input"):
        build_config(RectifierStageConfig, None, ["delta_input=other"])


def test_rectifier_trains_resumes_and_loads(paths: list[str], tmp_path: Path) -> None:
    def start(out: str, kimg: float, resume: bool = False) -> Run:
        options = [*SMALL, *paths, f"total_kimg={kimg}", "tick_kimg=0.008", "sheet_kimg=1", "gan_start_kimg=0.004",
                   "r1_interval=2"]
        run = Run(RectifierStage(build_config(RectifierStageConfig, None, options)), tmp_path / out, ["test"])
        run.stage.held_out = lambda count: (torch.zeros(2, 3, 32, 32),) * 2     # portraits are not this domain
        run.prepare(resume)
        run.run()
        return run

    whole = start("whole", 0.024)
    start("parts", 0.012)
    parts = start("parts", 0.024, resume=True)
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
