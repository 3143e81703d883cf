"""Latent -> latent."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from . import _choices, _models, _pictures
from ._sockets import DIRECTIONS, GENERATOR, LATENT, given


class DirectionEdit:
    CATEGORY = "ReGANIE/3 Edit"
    FUNCTION = "edit"
    DESCRIPTION = (
        "Change one attribute (yaw, smile, age, glasses ...) by moving the latent code along a known direction."
    )
    SEARCH_ALIASES = ["interfacegan", "sefa", "ganspace", "age", "smile", "pose", "yaw", "attribute slider", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE")
    RETURN_NAMES = ("latent", "edited")
    OUTPUT_TOOLTIPS = (
        "The edited latent code; chain edit nodes to change several attributes.",
        "The generator's picture of the edited code, for Rectify.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        directions, editors = _choices.controls(), _choices.files("directions")
        return {
            "required": {
                "generator": (GENERATOR, {"tooltip": "The generator the latent belongs to."}),
                "latent": (LATENT, {"tooltip": "A latent code from E4E Invert, Sample Latent or another edit node."}),
                "direction": (
                    "COMBO",
                    {
                        "options": directions,
                        "default": directions[0],
                        "tooltip": "What to change. The list holds the controls of every directions file "
                        "found; the editor in use must have it.",
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": -1000.0,
                        "max": 1000.0,
                        "step": 0.05,
                        "round": False,
                        "tooltip": "How much to change, in the control's own unit: degrees for yaw and pitch "
                        "(15 is a clear turn), -1 to 1 for smile and age, +1 / -1 for glasses on "
                        "/ off. Public directions without a unit: try -5 to 5. 0 changes nothing.",
                    },
                ),
                "layers": (
                    "STRING",
                    {
                        "default": "all",
                        "tooltip": "Style vectors to change: all, or numbers from 0 such as 0-7 or 0-3,6. Low "
                        "ones hold pose and shape, high ones colour.",
                    },
                ),
            },
            "optional": {
                "editor": (
                    DIRECTIONS,
                    {"tooltip": "Directions from Load Directions. When connected, editor_name is not used."},
                ),
                "editor_name": (
                    "COMBO",
                    {
                        "options": editors,
                        "default": editors[0],
                        "tooltip": "The directions file to use when none is connected.",
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, direction: str = "", editor_name: str = _choices.PACKAGED) -> bool | str:
        # Which directions exist depends on the editor on the wire, so the name itself is checked when the node runs.
        if not isinstance(direction, str) or len(direction) > 64:
            return "A direction is the name of a control, at most 64 characters."
        return _choices.name_problem("directions", editor_name)

    @classmethod
    def IS_CHANGED(cls, editor_name: str = _choices.PACKAGED, **_: Any) -> str:
        return _choices.state("directions", editor_name)

    def edit(
        self,
        generator: _models.Model,
        latent: Any,
        direction: str,
        strength: float,
        layers: str = "all",
        editor: _models.Model | None = None,
        editor_name: str = _choices.PACKAGED,
    ) -> tuple[Any, Tensor]:
        generator = given(generator, "generator")
        editor = _choices.chosen(self, "directions", editor, editor_name)
        latent.check(generator.value)
        edited = latent.with_ws(editor.value.edit(latent.ws, {direction: float(strength)}, layers=layers))
        return edited, _pictures.synthesize(generator, edited)
