"""The pictures a stage trains on: the user's (`images=PATH`), or rendered ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..loop.config import StageConfig, option
from .image_set import ImageSet
from .pictures import Pictures
from .renderer import renderer
from .sources import open_pictures

__all__ = ["HeldOutConfig", "PicturesConfig", "RenderedConfig", "training_pictures"]


@dataclass
class RenderedConfig(StageConfig):
    """Options of stages that train on rendered pictures."""

    data: str = option("runs/data", "folder of rendered portraits, filled on first use")
    data_count: int = option(20000, "how many portraits")
    data_seed: int = option(0, "seed of the first one")


@dataclass
class HeldOutConfig(RenderedConfig):
    """Options of stages that are measured on rendered pictures which nothing else sees."""

    held_out_count: int = option(1000, "pictures of which the metrics are measured")


@dataclass
class PicturesConfig(RenderedConfig):
    """Options of stages that train on pictures."""

    images: str = option("", "your pictures: a folder, .zip, .tar or pattern of shards; empty: rendered portraits")


def training_pictures(config: Any, resolution: int, group: int = 1) -> Pictures | ImageSet:
    """Pictures of `config.images` when that is given, rendered ones otherwise; both have `.batch(indices, mirror)`.

    `group`: the stage's group size (see `distributed.shares`), for shards that are read side by side.
    """
    if not config.images:
        return renderer().rendered_pictures(config.data, config.data_count, resolution, config.data_seed,
                                            config.device)
    cache = Path(config.data) / "shards"
    return open_pictures(config.images, resolution, config.seed, max(config.batch // group, 1), cache)
