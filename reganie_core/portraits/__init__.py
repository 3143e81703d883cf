"""The packaged domain's pictures: 3D-looking portraits that are a known function of their attributes.

>>> p = sample(16, seed=0)                    # parameters of 16 people
>>> images = render(p, 64)                    # [16,3,64,64] in [-1,1]
>>> turned = render(edit(p, {"yaw": 15.0}), 64)  # the exact answer to "turn the head by 15 degrees"
"""

from __future__ import annotations

from .controls import CONTROLS, PortraitControl, attributes, edit
from .identity import variants
from .parameters import ITEMS, STYLES, Portraits, concat, mirror, sample, scores
from .render import render

__all__ = ["CONTROLS", "ITEMS", "STYLES", "PortraitControl", "Portraits", "attributes", "concat", "edit", "mirror",
           "render", "sample", "scores", "variants"]
