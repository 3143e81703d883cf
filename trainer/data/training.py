"""The pictures a stage trains on: the user's (`images=PATH`), or rendered portraits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .image_set import ImageSet, portraits_set
from .pictures import Pictures
from .sources import open_pictures


def training_pictures(config: Any, resolution: int, group: int = 1) -> Pictures | ImageSet:
    """Pictures of `config.images` when that is given, portraits otherwise; both have `.batch(indices, mirror)`.

    `group`: the stage's group size (see `distributed.shares`), for shards that are read side by side.
    """
    if not config.images:
        return portraits_set(config.data, config.data_count, resolution, config.data_seed, config.device)
    cache = Path(config.data) / "shards"
    return open_pictures(config.images, resolution, config.seed, max(config.batch // group, 1), cache)
