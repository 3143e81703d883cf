"""Pieces of the trainer with known answers: regression of directions, pasted shapes, averages, randomness."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from reganie_core import portraits
from trainer.data.pasted_shapes import random_shapes
from trainer.evaluation.people import IN_DOMAIN, held_out_people
from trainer.loop.ema import make_average, update_average
from trainer.loop.randomness import generator_at
from trainer.stages.directions import Moments


def test_directions_recover_a_linear_world() -> None:
    """Codes that are a linear function of correlated labels give back exactly that function."""
    random = torch.Generator().manual_seed(0)
    count = len(portraits.CONTROLS)
    slopes = torch.randn(count, 6, generator=random, dtype=torch.float64)
    moments = Moments(len(portraits.CONTROLS), 6)
    for _ in range(5):
        labels = torch.randn(40, count, generator=random, dtype=torch.float64)
        labels[:, 1] += 0.9 * labels[:, 0]        # a correlation that must not leak into the directions
        moments.add(3.0 + labels @ slopes, labels)
    assert moments.count == 200
    assert torch.allclose(moments.slopes(0.0), slopes, atol=1e-9)


def test_shapes_are_bounded_cover_something_and_repeat() -> None:
    images = torch.zeros(16, 3, 32, 32)
    fill, cover = random_shapes(images, generator_at(1, 0))
    again = random_shapes(images, generator_at(1, 0))
    assert torch.equal(fill, again[0]) and torch.equal(cover, again[1])
    assert fill.abs().max() <= 1 and cover.min() >= 0 and cover.max() <= 1
    assert 0.01 < cover.mean() < 0.5
    assert (cover.amax(dim=(1, 2, 3)) > 0.5).float().mean() > 0.8


def test_average_has_the_asked_half_life() -> None:
    net = nn.Linear(2, 2)
    average = make_average(net)
    before = copy.deepcopy(average.weight)
    with torch.no_grad():
        net.weight.add_(1.0)
    for _ in range(10):
        update_average(average, net, batch=100, half_life_kimg=1.0, seen=10**9)
    assert torch.allclose(average.weight, before + 0.5, atol=1e-6)
    assert not average.weight.requires_grad


def test_randomness_depends_on_seed_and_position_only() -> None:
    def draw(*where: object) -> float:
        return float(torch.rand(1, generator=generator_at(*where)))
    assert draw(1, 2) == draw(1, 2)
    assert len({draw(1, 2), draw(1, 3), draw(2, 2), draw(1, 2, "sheet")}) == 4


def test_held_out_people_are_half_in_domain() -> None:
    people = held_out_people(20)
    assert len(people) == len(people.parameters) == 20
    assert people.groups[:10] == [IN_DOMAIN] * 10
    assert people.groups[10:] == [item for item in portraits.ITEMS for _ in "ab"]
    assert people.rows("long-tail").tolist() == list(range(10, 20)) and len(people.rows("all")) == 20
    with pytest.raises(ValueError, match="1000000000"):
        held_out_people(4, seed=5)
