"""The attributes stage, whose networks read portraits for losses and, from other people, for tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reganie_core import portraits
from reganie_core.errors import InputError
from trainer.loop.config import build as build_config
from trainer.loop.randomness import generator_at
from trainer.portraits.attributes import AttributesStage, AttributesStageConfig
from trainer.portraits.renderer import long_tail_set, rendered_pictures

SMALL = ["device=cpu", "resolution=32", "channels=8,8,8", "hidden=16", "batch=8", "data_count=20"]


def test_long_tail_people_have_an_item_each_and_their_own_labels(tmp_path: Path) -> None:
    found = long_tail_set(tmp_path, 10, 32, 7)
    for i in range(10):
        item = portraits.ITEMS[(7 + i) % len(portraits.ITEMS)]
        person = portraits.sample(1, 7 + i, items=[item])
        picture = portraits.render(person, 32)
        assert (found.batch(torch.tensor([i])) - picture).abs().max() <= 1 / 127.5 + 1e-6
        assert float(found.labels["yaw"][i]) == pytest.approx(float(portraits.attributes(person)["yaw"]), abs=1e-4)
    plain = rendered_pictures(tmp_path, 10, 32, 7)
    assert not torch.equal(plain.batch(torch.arange(10)), found.batch(torch.arange(10)))


def test_a_share_of_the_pictures_shows_items(tmp_path: Path) -> None:
    """Long-tail people are others than those of the plain set, and only with `items`."""
    plain, mixed = (AttributesStage(build_config(AttributesStageConfig, None,
                                                 [*SMALL, f"data={tmp_path}", f"items={share}"])) for share in (0, 0.5))
    assert plain.long_tail is None and mixed.long_tail is not None and len(mixed.long_tail) == 10
    first = portraits.sample(1, 20, items=[portraits.ITEMS[20 % len(portraits.ITEMS)]])
    assert float(mixed.long_tail.labels["age"][0]) == pytest.approx(float(first.values["age"]), abs=1e-4)
    images, wanted = mixed.labelled(mixed.long_tail, 4, generator_at(0, 0))
    assert images.shape == (4, 3, 32, 32) and wanted.shape == (4, len(portraits.CONTROLS))
    for stage in (plain, mixed):
        assert torch.isfinite(stage.step(0)["numeric"])
    with pytest.raises(InputError, match="items is a share"):
        build_config(AttributesStageConfig, None, [*SMALL, "items=2"])


def test_an_attribute_counts_as_much_as_asked(tmp_path: Path) -> None:
    """With all the weight on one attribute, only its own output is trained."""
    names = [c.name for c in portraits.CONTROLS]
    tiny = json.dumps({name: 1e-12 for name in names if name != "beard"})
    stage = AttributesStage(build_config(AttributesStageConfig, None, [
        *SMALL, f"data={tmp_path}", f"attribute_weights={tiny}"]))
    stage.step(0)
    gradient = stage.net.out.weight.grad.abs().amax(dim=1)
    beard = stage.network_config.numeric.index("beard")
    assert gradient[beard] > 1e6 * gradient[torch.arange(len(gradient)) != beard].max()
    with pytest.raises(InputError, match=r"found nose; the attributes are .*beard"):
        build_config(AttributesStageConfig, None, [*SMALL, 'attribute_weights={"nose": 2}'])
    with pytest.raises(InputError, match="above 0"):
        build_config(AttributesStageConfig, None, [*SMALL, 'attribute_weights={"beard": 0}'])
