"""What a stage may have where pictures are rendered: labelled pictures, and controls whose units are known.

Stages that are given no `images` ask here. The packaged renderer is named, not imported, so that no stage and no
source of pictures depends on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol

from reganie_core.editing import Control

from .image_set import ImageSet

RENDERER = "trainer.portraits.renderer"


class Renderer(Protocol):
    """A module with these two functions."""

    def rendered_pictures(self, folder: str, count: int, resolution: int, seed: int, device: str) -> ImageSet:
        """`count` labelled pictures with seeds seed ... seed + count - 1, rendered into `folder` on first use."""

    def rendered_controls(self) -> Sequence[Control]:
        """The labels' units, ranges and descriptions."""


def renderer() -> Renderer:
    """The renderer of this installation."""
    return importlib.import_module(RENDERER)  # type: ignore[return-value]


def known_controls() -> dict[str, Control]:
    """Name -> control, for attributes that the renderer knows."""
    return {control.name: control for control in renderer().rendered_controls()}
