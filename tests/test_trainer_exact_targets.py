"""Exact codes of rendered portraits: what an edit does to them, and the stages that learn from them."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import pytest
import torch

from reganie_core import portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError, ReganieWarning
from reganie_core.networks import build, describe
from reganie_core.portraits.parameters import BEARDED, DRAWN
from tests.trainer_files import one_thread, write_attributes  # noqa: F401
from trainer.loop.config import build as build_config
from trainer.pairs import PortraitCodes, score_of, with_values
from trainer.portraits.editor import PortraitEditorConfig, PortraitEditorStage
from trainer.portraits.encoder import FLOOR, PortraitEncoderConfig, PortraitEncoderStage, principal_axes
from trainer.portraits.exact_targets import ExactEditTargets, exact_loss
from trainer.stages import editor

NAMES = ("yaw", "age", "beard", "glasses")


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A generator of random weights whose z is long enough for a portrait's scores."""
    torch.manual_seed(0)
    net = build("generator", {"type": "Generator", "resolution": 32, "channels": [8, 8, 8, 8], "z_dim": 80,
                              "w_dim": 80, "mapping_layers": 2, "mapping_lr_multiplier": 1.0})
    PortraitCodes.look_only_at_scores(net.mapping)
    save_checkpoint(tmp_path / "generator.safetensors", "generator", describe(net), net.state_dict(),
                    {"config": {"pairs": 1.0}})
    return tmp_path / "generator.safetensors"


@pytest.mark.parametrize("control", [c for c in portraits.CONTROLS if c.kind == "numeric"], ids=lambda c: c.name)
def test_scores_of_values_are_those_the_values_were_drawn_from(control: portraits.PortraitControl) -> None:
    p, scores = portraits.sample(400, 5), portraits.scores(400, 5).float()
    values, drawn = p.values[control.name], scores[:, DRAWN.index(control.name)]
    inside = (drawn.abs() < 1.8) & (values > 0 if control.name == "beard" else values == values)
    if control.name == "eye_openness":
        inside &= values < 0.999                               # wider than wide open is not seen
    assert inside.sum() > 40
    torch.testing.assert_close(score_of(control.name, values)[inside], drawn[inside], rtol=1e-3, atol=1e-3)
    assert score_of(control.name, torch.tensor([control.minimum, control.maximum])).abs().max() < 2.7


def test_binary_values_and_beards_land_on_their_side() -> None:
    scores = with_values(torch.zeros(2, len(DRAWN)), {"glasses": torch.tensor([0.0, 1.0]),
                                                      "beard": torch.tensor([0.0, 0.6])})
    quantiles = torch.special.ndtr(scores)
    assert (quantiles[:, DRAWN.index("glasses")] < 0.3).tolist() == [False, True]
    assert (quantiles[:, DRAWN.index("bearded")] < BEARDED).tolist() == [False, True]
    assert scores.count_nonzero(dim=1).max() == 3              # nothing else has changed
    with pytest.raises(InputError, match="nose"):
        score_of("nose", torch.zeros(1))


def test_the_answer_is_the_difference_of_two_exact_codes(generator: Path) -> None:
    from reganie_core.checkpoints import load_generator
    G = load_generator(generator)
    targets = ExactEditTargets(G, NAMES, 6, 0)
    free = torch.randn(6, 80, generator=torch.Generator().manual_seed(0))
    people = portraits.sample(6, 0)
    now = torch.stack([people.values[n] for n in NAMES], dim=1)
    goal = now.clone()
    goal[:, 0] = now[:, 0] + 10
    active = torch.zeros(6, 4, dtype=torch.bool)
    active[:, 0] = True
    scores = targets.codes.of(torch.arange(6), None)
    change, exact = targets.change(scores, free, now, goal, active)
    turned = scores.clone()
    turned[:, DRAWN.index("yaw")] += 10 / 16
    # Beards and glasses have the median score of their side, so whole codes are compared from there.
    plain = with_values(scores, {n: now[:, NAMES.index(n)] for n in ("age", "beard", "glasses")})
    turned = torch.where(turned != scores, turned, plain)
    for name in ("age", "beard", "glasses"):
        turned[:, DRAWN.index(name)] = plain[:, DRAWN.index(name)]
    turned[:, DRAWN.index("bearded")] = plain[:, DRAWN.index("bearded")]
    expected = [G.mapping(targets.codes.filled(s, free))[:, 0] for s in (plain, turned)]
    adults = now[:, 1] >= -0.3
    assert exact.all() and adults.any()
    torch.testing.assert_close(change[adults], (expected[1] - expected[0])[adults], rtol=1e-3, atol=1e-4)
    nothing, _ = targets.change(scores, free, now, goal, torch.zeros(6, 4, dtype=torch.bool))
    assert nothing.abs().max() == 0


def test_beards_do_not_come_and_go_with_age(generator: Path) -> None:
    from reganie_core.checkpoints import load_generator
    targets = ExactEditTargets(load_generator(generator), NAMES, 2, 0)
    scores, free = torch.zeros(2, len(DRAWN)), torch.zeros(2, 80).normal_(generator=torch.Generator().manual_seed(0))
    now = torch.tensor([[0.0, 0.2, 0.8, 0.0], [0.0, 0.2, 0.0, 0.0]])     # the same but for the beard
    goal, active = now.clone(), torch.tensor([[False, True, False, False]] * 2)
    goal[:, 1] = -0.8
    change, exact = targets.change(scores, free[:1].expand(2, -1), now, goal, active)
    assert exact.all()
    torch.testing.assert_close(change[0], change[1])
    active[:, 2] = True                                        # a child with a beard is not drawn: no answer
    assert not targets.change(scores, free, now, goal, active)[1].any()


def test_the_loss_counts_rows_with_an_answer_only() -> None:
    offset, change = torch.ones(2, 3, 4), torch.full((2, 1, 4), 4.0)
    loss = exact_loss(offset, change, torch.tensor([True, False]), torch.tensor(2.0))
    assert loss == pytest.approx(1.0)
    assert exact_loss(offset, change, torch.tensor([False, False]), torch.tensor(2.0)) == 0


def editor_stage(generator: Path, tmp_path: Path, *more: str) -> PortraitEditorStage:
    write_attributes(tmp_path / "attributes.safetensors", ["yaw", "age", "beard"], ["glasses"], (0.0,) * 3,
                     (15.0, 0.5, 0.3))
    return PortraitEditorStage(build_config(PortraitEditorConfig, None, [
        "device=cpu", "batch=8", "held_out_count=4", f"generator={generator}", "encoder=",
        f"attributes={tmp_path / 'attributes.safetensors'}", *more]))


@pytest.fixture(autouse=True)
def all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard requests from the start, a small network, and few pictures to measure ranges."""
    small = functools.partial(editor.DyStyleConfig, reader=8, trunk=8, expert=8, bank=4, attention=4)
    monkeypatch.setattr(editor, "DyStyleConfig", small)
    monkeypatch.setattr(editor, "PROBES", 32)
    monkeypatch.setattr(PortraitEditorStage, "progress", lambda self, seen: 1.0)


def test_an_editor_learns_from_codes_alone_without_pictures_of_them(generator: Path, tmp_path: Path) -> None:
    s = editor_stage(generator, tmp_path, "exact_weight=1", "lr=0.02", "beta1=0.9", "batch=32", "controls=yaw,age",
                     "attribute_weight=0")

    def held_out() -> float:
        return s.loss(s.draw(10**6), 10**6)[1]["exact"].item()

    first, made, synthesize = held_out(), [], s.synthesize
    s.synthesize = lambda codes: made.append(len(codes)) or synthesize(codes)
    for i in range(60):
        s.step(32 * i)
    assert made == [32] * 60                                   # those before the edit, which are read
    assert held_out() < 0.7 * first


def test_exact_answers_beside_what_pictures_say(generator: Path, tmp_path: Path) -> None:
    terms = editor_stage(generator, tmp_path, "exact_weight=1").step(0)
    assert {"exact", "attribute", "preserve", "reader", "contrast"} <= set(terms)
    assert "exact" not in editor_stage(generator, tmp_path).step(0)


def test_answers_of_some_controls_may_be_left_out(generator: Path, tmp_path: Path) -> None:
    s = editor_stage(generator, tmp_path, "exact_weight=1", "exact_without=yaw", "encoder=")
    draw = s.draw(0)
    draw.active[:] = torch.tensor([True, False, False, False])
    draw.active[3] = torch.tensor([False, False, False, True])
    before, rows = s.unedited(draw, 0)
    active, goal = draw.active[rows], torch.zeros(8, len(s.names))
    _, exact = s.exact_change(draw, rows, before, goal, active)
    assert exact.tolist() == (rows == 3).tolist()


def test_a_generator_that_never_saw_pairs_is_named(generator: Path, tmp_path: Path) -> None:
    from reganie_core.checkpoints import load_generator
    net = load_generator(generator)
    save_checkpoint(tmp_path / "plain.safetensors", "generator", describe(net), net.state_dict(), {})
    with pytest.warns(ReganieWarning, match="set pairs=0"):
        encoder_stage(tmp_path / "plain.safetensors", tmp_path, "pairs=1")
    with pytest.warns(ReganieWarning, match="set exact_weight=0"):
        ExactEditTargets(load_generator(tmp_path / "plain.safetensors"), NAMES, 2, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder_stage(generator, tmp_path, "pairs=1")


def test_an_editor_needs_something_to_learn_from(generator: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exact_weight"):
        editor_stage(generator, tmp_path, "attribute_weight=0")
    write_attributes(tmp_path / "a.safetensors", ["hat"])
    with pytest.raises(InputError, match="hat is none"):
        editor_stage(generator, tmp_path, "exact_weight=1", f"attributes={tmp_path / 'a.safetensors'}")


def encoder_stage(generator: Path, tmp_path: Path, *more: str) -> PortraitEncoderStage:
    write_attributes(tmp_path / "attributes.safetensors")
    return PortraitEncoderStage(build_config(PortraitEncoderConfig, None, [
        "device=cpu", "batch=8", "data_count=8", f"data={tmp_path / 'data'}", f"generator={generator}",
        f"attributes={tmp_path / 'attributes.safetensors'}", *more]))


def test_an_encoder_learns_the_codes_of_portraits(generator: Path, tmp_path: Path) -> None:
    s = encoder_stage(generator, tmp_path, "pairs=1", "l2_weight=0", "perceptual_weight=0", "lr=0.01", "beta1=0.9")
    terms = [s.step(8 * i) for i in range(40)]
    assert {"code", "pairs"} <= set(terms[0]) and "l2" not in terms[0]
    assert float(terms[-1]["pairs"]) < 0.9 * float(terms[0]["pairs"])
    assert {"code", "pairs", "l2", "perceptual"} <= set(encoder_stage(generator, tmp_path, "pairs=1").step(0))
    read = encoder_stage(generator, tmp_path, "attribute_weight=1", "lr=0.01", "beta1=0.9")
    differences = [float(read.step(8 * i)["attribute"]) for i in range(40)]
    assert sum(differences[-8:]) < 0.9 * sum(differences[:8])
    framed, off = (encoder_stage(generator, tmp_path, f"crop_error={error}", "pairs=1") for error in (0, 0.1))
    (x, codes), (x_off, codes_off) = framed.batch(0, framed.parts()[0]), off.batch(0, off.parts()[0])
    assert torch.equal(x[:4], x_off[:4]) and (x[4:] - x_off[4:]).abs().mean() > 0.01 and torch.equal(codes, codes_off)
    with pytest.raises(InputError, match="attributes=FILE"), pytest.warns(ReganieWarning):
        encoder_stage(generator, tmp_path, "attribute_weight=1", "attributes=")
    with pytest.raises(InputError, match="your own pictures"):
        build_config(PortraitEncoderConfig, None, ["pairs=1", "images=somewhere"])


def test_an_encoder_may_have_to_please_several_readers(generator: Path, tmp_path: Path) -> None:
    """With several networks the attribute loss is the mean of what each of them alone would be."""
    second = write_attributes(tmp_path / "second.safetensors", seed=1)
    options = ("attribute_weight=1", "l2_weight=0", "perceptual_weight=0", "code_weight=0")
    first = float(encoder_stage(generator, tmp_path, *options).step(0)["attribute"])
    other = float(encoder_stage(generator, tmp_path, *options, f"attributes={second}").step(0)["attribute"])
    both = float(encoder_stage(generator, tmp_path, *options, f"more_attributes={second}").step(0)["attribute"])
    assert abs(first - other) > 1e-3 * first
    assert both == pytest.approx((first + other) / 2, rel=1e-5)
    with pytest.raises(InputError, match="more_attributes are compared by attribute_weight"):
        build_config(PortraitEncoderConfig, None, ["more_attributes=x.safetensors"])


def test_an_encoder_learns_to_look_past_shapes(generator: Path, tmp_path: Path) -> None:
    """Shapes cover what it sees, not what its codes are compared with; micro-batches get the same ones."""
    plain, pasted = (encoder_stage(generator, tmp_path, "pairs=1", f"paste={share}") for share in (0, 1))
    rows = pasted.parts()[0]
    (x, codes), (targets, targets_codes) = plain.batch(0, plain.parts()[0]), pasted.batch(0, rows)
    assert torch.equal(x, targets) and torch.equal(codes, targets_codes)
    assert torch.equal(plain.covered(x, 0, rows), x)
    looks = pasted.covered(targets, 0, rows)
    assert ((looks - targets).abs().amax(dim=(1, 2, 3)) > 0.05).float().mean() > 0.8      # some shapes lie outside
    part = (rows[0][1:3], rows[1][:2])
    assert torch.allclose(pasted.covered(torch.cat([x[1:3], x[4:6]]), 0, part), looks[[1, 2, 4, 5]], atol=1e-6)
    learns = encoder_stage(generator, tmp_path, "pairs=1", "paste=1", "l2_weight=0", "perceptual_weight=0", "lr=0.01",
                           "beta1=0.9")
    terms = [learns.step(8 * i) for i in range(40)]
    assert float(terms[-1]["pairs"]) < 0.95 * float(terms[0]["pairs"])
    with pytest.raises(InputError, match="paste is a share"):
        build_config(PortraitEncoderConfig, None, ["paste=1.5"])


def test_whitened_codes_count_small_axes_as_much_as_large_ones(generator: Path, tmp_path: Path) -> None:
    """Closed form: w = z A has covariance A'A, so axes take w back to something of variance one in every direction."""
    random = torch.Generator().manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=random))[0] * torch.tensor([3.0, 2.0, 1.0, 1.0, 1.0, 0.7])
    w = torch.randn(40000, 6, generator=random) @ mixing + 5
    white = torch.cov((w @ principal_axes(w)).T)
    wanted = torch.linalg.eigvalsh(mixing.T @ mixing)
    assert torch.allclose(white, torch.diag(wanted / (wanted + FLOOR * wanted.mean())), atol=0.03)
    plain, whitened = (encoder_stage(generator, tmp_path, f"whiten={on}") for on in ("false", "true"))
    known, codes = torch.zeros(2, plain.G.num_ws, plain.G.w_dim), torch.randn(2, plain.G.num_ws, plain.G.w_dim)
    assert torch.allclose(plain.distance(codes, known), codes.square().mean(dim=(1, 2)) / plain.code_variance)
    assert torch.allclose(whitened.distance(codes, known), (codes @ whitened.axes).square().mean(dim=(1, 2)))
    variances = torch.linalg.eigvalsh(torch.cov((plain.G.mapping.w(torch.randn(4096, plain.G.z_dim))).T))
    assert variances.max() > 10 * variances.min()            # or the option would change nothing
