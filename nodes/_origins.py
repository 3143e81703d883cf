"""Which networks made an inversion on an IMAGE wire, and of which picture: Compute Delta gets pictures only.

An IMAGE is a bare tensor. ComfyUI hands the same object from node to node and keeps it in its cache, so a table by
object tells where it came from; a picture that another node has changed is another object of unknown origin.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from torch import Tensor

from .. import reganie_core as rc

SAME = 0.05  # mean difference at 32 px, of a range of 2: more than resizing or a file format makes


@dataclass(frozen=True)
class Origin:
    """Fingerprints of generator and encoder, and the prepared picture that was inverted (None when it is gone)."""

    generator: str | None
    encoder: str | None
    picture: weakref.ref

    def other_picture(self, image: Tensor) -> str | None:
        """A sentence when ``image [B,H,W,C]`` is not the picture that was inverted, else None."""
        inverted = self.picture()
        if inverted is None or inverted is image:
            return None
        small = [rc.images.resize(rc.images.from_comfy(x), 32, "bilinear") for x in (image, inverted)]
        if small[0].shape == small[1].shape and float((small[0] - small[1]).abs().mean((1, 2, 3)).max()) < SAME:
            return None
        return ("The image is not the picture that this inversion was made of, so the difference shows both. Connect "
                "the image output of the node that made the inversion.")


_known: dict[int, tuple[weakref.ref, Origin]] = {}


def record(inversion: Tensor, picture: Tensor, generator: object, encoder: object) -> None:
    """Remember where an inversion came from, for as long as it exists."""
    key = id(inversion)
    origin = Origin(getattr(generator, "fingerprint", None), getattr(encoder, "fingerprint", None),
                    weakref.ref(picture))
    _known[key] = (weakref.ref(inversion, lambda _: _known.pop(key, None)), origin)


def of(inversion: Tensor) -> Origin | None:
    """Where an inversion came from; None when another node has touched it."""
    found = _known.get(id(inversion))
    return found[1] if found is not None and found[0]() is inversion else None
