"""Pairs: the code of a portrait says everything about it, and a generator learns from such pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reganie_core import portraits
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.attribute_net import AttributeNet, AttributeNetConfig
from reganie_core.portraits.parameters import BINARY, DRAWN, NORMAL, UNIFORM
from tests.trainer_files import write_attributes
from trainer.frozen import load_attributes
from trainer.loop.config import build
from trainer.portraits.generator import PortraitGeneratorStage
from trainer.portraits.pairs import PortraitCodes


def test_scores_are_what_sample_draws() -> None:
    p, scores = portraits.sample(500, 123), portraits.scores(500, 123)
    quantiles = {name: torch.special.ndtr(scores[:, i]) for i, name in enumerate(DRAWN)}
    for name, (low, high) in UNIFORM.items():
        if name in quantiles:
            torch.testing.assert_close(p.values[name], (low + (high - low) * quantiles[name]).float(),
                                       rtol=1e-5, atol=1e-5)
    for name, (deviation, limit) in NORMAL.items():
        expected = (scores[:, DRAWN.index(name)] * deviation).clamp(-limit, limit)
        torch.testing.assert_close(p.values[name], expected.float(), rtol=1e-5, atol=1e-4)
    for name, probability in BINARY.items():
        assert torch.equal(p.values[name].bool(), quantiles[name] < probability)


def test_every_number_of_a_portrait_without_items_has_a_score() -> None:
    """Portraits that agree in their scores agree in their pictures: nothing else is drawn."""
    items = ("hat_", "earring_", "paint_", "hand_", "pattern_", *portraits.ITEMS)
    free = {name for name in portraits.sample(1, 0).values if not name.startswith(items)}
    assert free <= set(DRAWN)


def test_codes_have_the_norm_the_mapping_network_expects_and_know_mirrors() -> None:
    codes = PortraitCodes(50, 7, 128)
    free = torch.randn(50, 128, generator=torch.Generator().manual_seed(0))
    z, flipped = (codes.batch(torch.arange(50), m, free) for m in (None, torch.ones(50, dtype=torch.bool)))
    torch.testing.assert_close(z.square().mean(dim=1), torch.ones(50))
    torch.testing.assert_close(z[:, :len(DRAWN)], portraits.scores(50, 7).float())
    yaw, age = DRAWN.index("yaw"), DRAWN.index("age")
    assert torch.equal(flipped[:, yaw], -z[:, yaw])
    assert torch.equal(flipped[:, age], z[:, age])


def stage(tmp_path: Path, *options: str) -> PortraitGeneratorStage:
    return PortraitGeneratorStage(build(PortraitGeneratorStage.config_class, None, [
        "resolution=16", "channels=8,8,8", "w_dim=80", "batch=8", "data_count=16",
        "device=cpu", f"data={tmp_path}", *options]))


def test_regression_needs_no_discriminator_and_learns(tmp_path: Path) -> None:
    learner = stage(tmp_path, "adversarial=0", "pairs=1", "lr=0.01", "beta1=0.9")
    before = {k: v.clone() for k, v in learner.D.state_dict().items()}
    losses = [float(learner.step(8 * i)["l1"]) for i in range(60)]
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])
    assert all(torch.equal(before[k], v) for k, v in learner.D.state_dict().items())


def test_pairs_and_the_discriminator_together(tmp_path: Path) -> None:
    terms = stage(tmp_path, "pairs=1", "adversarial=0.5").step(0)
    assert {"l1", "G", "D", "r1", "gradient_D", "gradient_G"} <= set(terms)


def test_pairs_may_have_to_read_alike(tmp_path: Path) -> None:
    reader = write_attributes(tmp_path / "a.safetensors", ["yaw"], ["glasses"])
    options = ["adversarial=0", "pairs=1", "resolution=32", "channels=8,8,8,8", f"attributes={reader}"]
    terms = stage(tmp_path, *options, "attribute_weight=1").step(0)
    assert "attribute" in terms and "perceptual" not in terms
    features = load_attributes(str(reader))
    a, b = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x, y = features.net.logits(a), features.net.logits(b)
    expected = ((x[:, 0] - y[:, 0]).abs() + (x[:, 1].sigmoid() - y[:, 1].sigmoid()).abs()) / 2
    torch.testing.assert_close(features.difference(a, b), expected)
    assert features.difference(a, a).abs().max() == 0
    moving = a.clone().requires_grad_()
    features.difference(moving, b).sum().backward()
    assert moving.grad.abs().max() > 0


def test_the_free_entries_start_without_a_say(tmp_path: Path) -> None:
    G = stage(tmp_path, "adversarial=0", "pairs=1").G
    codes, first, second = PortraitCodes(4, 0, 80), *torch.randn(2, 4, 80)
    ws = [G.mapping(codes.batch(torch.arange(4), None, free)) for free in (first, second)]
    torch.testing.assert_close(ws[0], ws[1])


@pytest.mark.parametrize(("options", "word"), [
    (["pairs=1", "images=somewhere"], "your own pictures"), (["adversarial=0"], "pairs=1"),
    (["pairs=1", "perceptual=1"], "attributes=FILE")])
def test_settings_that_cannot_train(options: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        build(PortraitGeneratorStage.config_class, None, options)


def test_too_short_codes_are_refused() -> None:
    with pytest.raises(InputError, match="z_dim"):
        PortraitCodes(4, 0, 32)


def test_a_small_reader_looks_at_larger_pictures() -> None:
    net = AttributeNet(AttributeNetConfig(16, (4, 4), ("age",), (), (0.0,), (1.0,), 8))
    small = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(net(large)["age"], net(small)["age"])
    with pytest.raises(MismatchError, match="16 px"):
        net(torch.zeros(1, 3, 24, 24))
