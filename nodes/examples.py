"""Pictures that come with the pack, so that a first graph runs with no file placed anywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _domains, _host, _models

CATEGORY = "ReGANIE/1 Load"
FIRST_SEED = 700_000_000  # people that no training has seen
NONE = "no packaged examples found"


class PortraitExample:
    CATEGORY = CATEGORY
    FUNCTION = "load"
    DESCRIPTION = (
        "A packaged example: a drawn portrait with something its generator has never seen, such as a hat or a hand, "
        "or a photograph for the faces domain. Replace it with Load Image for a picture of your own."
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


class PhotoExample:
    CATEGORY = CATEGORY
    FUNCTION = "draw"
    DESCRIPTION = (
        "A drawn photo of several people, or a clip of one who turns the head, with the exact points of the faces: to "
        "try Align Face and Paste Face without a photo or a detector. Replace it with Load Image for your own."
    )
    SEARCH_ALIASES = ["example photo", "test video", "demo clip", "frames", "scene", "reganie"]
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("photo", "points")
    OUTPUT_TOOLTIPS = ("One photo, or the frames of the clip.", "The points of the faces, for Align Face.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "kind": (
                    "COMBO",
                    {
                        "options": ["photo", "clip"],
                        "default": "photo",
                        "tooltip": "photo: several people, turned this way and that. clip: one person with earrings.",
                    },
                ),
                "count": (
                    "INT",
                    {"default": 2, "min": 1, "max": 300, "tooltip": "People on the photo (at most 9), or frames."},
                ),
                "people": ("INT", {"default": 3, "min": 0, "max": 100_000_000, "tooltip": "Chooses the people."}),
            }
        }

    def draw(self, kind: str = "photo", count: int = 2, people: int = 3) -> tuple[Tensor, str]:
        from ..reganie_core.portraits.clips import clip_scenes, turning_head
        from ..reganie_core.portraits.scenes import sample_scene

        if kind == "clip":
            scenes = clip_scenes(turning_head(int(count), FIRST_SEED + int(people)), seed=int(people))
        else:
            some = min(9, int(count))
            scenes = [sample_scene(some, FIRST_SEED + int(people), 640, 400, turn=20.0, items=("hat",))]
        progress, pictures, points = _host.Progress(len(scenes)), [], []
        for scene in scenes:
            pictures.append(rc.images.to_comfy(scene.render()))
            points += [rc.faces.format_points([face]) for face in scene.points()]
            progress.step()
        return torch.cat(pictures).to(_host.results_device()), "\n".join(line.strip() for line in points)
