"""The identity stage: what a person's pictures share, and that reading it is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reganie_core import portraits
from reganie_core.errors import InputError
from reganie_core.portraits.parameters import DRAWN
from trainer.frozen import load_identity
from trainer.portraits.fisher import discriminant
from trainer.portraits.identity import SHARED, VIEWS, IdentityStage, IdentityStageConfig


def stage(folder: Path, **options: object) -> IdentityStage:
    return IdentityStage(IdentityStageConfig(**{
        "device": "cpu", "resolution": 16, "batch": 24, "data": str(folder), "data_count": 12,
        "held_out_count": 8, **options}))


def test_shared_parameters_do_not_differ_between_pictures_of_a_person() -> None:
    people = portraits.sample(8, 40)
    views = portraits.variants(people, 2, 3)
    for i in SHARED:
        if DRAWN[i] == "age":                                      # moves by up to a quarter
            continue
        if DRAWN[i] in views.values:
            assert torch.equal(views.values[DRAWN[i]][1::2], people.values[DRAWN[i]]), DRAWN[i]
    assert {"yaw", "smile", "glasses"}.isdisjoint(DRAWN[i] for i in SHARED)


def test_rows_of_what_is_read_are_the_people_of_the_pictures(tmp_path: Path) -> None:
    one = stage(tmp_path)
    seed = one.config.data_seed
    assert torch.equal(one.shared[5], portraits.scores(1, seed + 5)[0, SHARED].float())
    column = [DRAWN[i] for i in SHARED].index("skin_tone")
    rank = portraits.sample(12, seed).values["skin_tone"].argsort()
    assert torch.equal(one.shared[:, column].argsort(), rank)


def test_reading_is_learned(tmp_path: Path) -> None:
    one = stage(tmp_path, lr=0.01)
    errors = [float(one.step(24 * i)["read"]) for i in range(40)]
    assert sum(errors[-5:]) < 0.8 * sum(errors[:5])


def test_the_discriminant_finds_what_tells_people_apart() -> None:
    """Two telling numbers under noise, turned and stretched: their plane comes back, whitened within a person."""
    random = torch.Generator().manual_seed(0)
    people, views = 400, 5
    telling = torch.randn(people, 1, 2, generator=random).expand(-1, views, -1)
    noise = torch.randn(people, views, 6, generator=random) * torch.tensor([0.3, 0.3, 5.0, 5.0, 5.0, 5.0])
    hidden = noise + torch.cat([telling, torch.zeros(people, views, 4)], dim=2)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=random))[0]
    features = (hidden @ turn * torch.linspace(0.2, 3, 6)).flatten(0, 1) + 7
    weight, bias = discriminant(features, views, 2, ridge=0)
    out = features @ weight.T + bias
    within = (out.view(people, views, 2) - out.view(people, views, 2).mean(1, keepdim=True)).flatten(0, 1)
    torch.testing.assert_close(within.T @ within / (people * (views - 1)), torch.eye(2), rtol=1e-3, atol=1e-3)
    assert out.mean(dim=0).abs().max() < 1e-3
    basis = torch.linalg.qr(torch.cat([out, torch.ones(len(out), 1)], dim=1))[0]
    centre = telling.reshape(-1, 2)
    left = centre - basis @ (basis.T @ centre)
    assert left.square().mean() < 0.12                         # 0.09 is the noise that shares the plane
    with pytest.raises(InputError, match="two pictures"):
        discriminant(features, 1, 2)
    with pytest.raises(InputError, match="directions"):
        discriminant(features, views, 7)


def test_the_exported_network_ends_with_the_discriminant(tmp_path: Path) -> None:
    one = stage(tmp_path)
    one.step(0)
    one.validate()
    one.export(tmp_path / "identity.safetensors", {})
    net = load_identity(str(tmp_path / "identity.safetensors"))
    pictures = one.data.batch(torch.arange(12 * VIEWS))
    assert net.config.dim == 11                                # one less than there are people, at most 24
    raw = net.out(net.features(pictures)[-1].flatten(1)).view(12, VIEWS, 11)
    scatter = (raw - raw.mean(dim=1, keepdim=True)).flatten(0, 1)
    variance = scatter.square().sum(dim=0) / (12 * (VIEWS - 1))
    assert variance.max() < 1.05                               # the ridge makes it a little less than 1
    one.step(24)
    assert one.finished is None                                # measured anew for other weights
