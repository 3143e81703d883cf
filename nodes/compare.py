"""Two pictures, one over the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _outputs

MOST = 64  # pairs kept for the page


class BeforeAfter:
    CATEGORY = "ReGANIE/4 Rectify"
    FUNCTION = "show"
    OUTPUT_NODE = True
    DESCRIPTION = "Compare two pictures on the node: move the pointer across, left of it is before, right of it after."
    SEARCH_ALIASES = ["compare images", "image comparer", "slider compare", "a b", "difference", "reganie"]
    RETURN_TYPES = ()
    RETURN_NAMES = ()
    OUTPUT_TOOLTIPS = ()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "before": ("IMAGE", {"tooltip": "For example the photo, or E4E Invert's image output."}),
                "after": ("IMAGE", {"tooltip": "For example Rectify's picture. As many as before, or K for each."}),
            }
        }

    def show(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        first, second = rc.images.from_comfy(before, "picture before"), rc.images.from_comfy(after, "picture after")
        repeats, uneven = divmod(len(second), len(first))
        if uneven:
            raise rc.errors.MismatchError(
                f"There are {len(first)} pictures before and {len(second)} after; give as many, or K times as many."
            )
        count = min(len(second), MOST)
        lefts = _outputs.temp_pictures([first[i // repeats] for i in range(count)], "reganie_before")
        rights = _outputs.temp_pictures([second[i] for i in range(count)], "reganie_after")
        return {"ui": {"reganie_before": lefts, "reganie_after": rights}}
