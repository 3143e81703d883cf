"""Pictures that come with the pack, so that a first graph runs with no file placed anywhere."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _domains, _host, _models

NONE = "no packaged examples found"


class PortraitExample:
    CATEGORY = "ReGANIE/1 Load"
    FUNCTION = "load"
    DESCRIPTION = (
        "A packaged example portrait with something the generator has never seen, such as a hat or a hand before the "
        "face. Replace it with Load Image for a picture of your own."
    )
    SEARCH_ALIASES = ["example image", "demo picture", "test portrait", "sample image", "reganie"]
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The picture, for E4E Invert.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        options = _domains.examples() or [NONE]
        return {
            "required": {
                "example": (
                    "COMBO",
                    {"options": options, "default": options[0], "tooltip": "Which of the packaged pictures to use."},
                )
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, example: str) -> bool | str:
        try:
            _domains.example(example)
        except rc.ReganieError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, example: str) -> str:
        return _models.state(_domains.example(example))

    def load(self, example: str) -> tuple[Tensor]:
        return (rc.images.to_comfy(rc.images.load_image(_domains.example(example))).to(_host.results_device()),)
