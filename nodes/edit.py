"""Latent -> latent, with values for controls."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _editors, _inputs, _models
from ._sockets import DIRECTIONS, DYSTYLE, GENERATOR, LATENT, given

CATEGORY = "ReGANIE/3 Edit"
MAX_EDITS = 4096  # characters
OUTPUT_TOOLTIPS = (
    "The edited latent code; chain edit nodes to combine them.",
    "The generator's picture of the edited code, for Rectify.",
)


class DyStyleEdit:
    CATEGORY = CATEGORY
    FUNCTION = "edit"
    DESCRIPTION = (
        "Change several attributes at once (yaw, smile, age, glasses ...) with a DyStyle editor. The page shows one "
        "slider for each attribute of the editor in use."
    )
    SEARCH_ALIASES = ["dystyle", "sliders", "attributes", "age", "smile", "pose", "yaw", "glasses", "beard", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE")
    RETURN_NAMES = ("latent", "edited")
    OUTPUT_TOOLTIPS = OUTPUT_TOOLTIPS

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "generator": _inputs.generator(),
                "latent": _inputs.latent(),
                "edits": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "What the sliders are set to, as text: yaw=+10, age=-0.5 change by an amount, "
                        "yaw=@-15 asks for an absolute value, glasses=on or off sets a binary attribute. "
                        "Units are the control's own (degrees for yaw). Empty changes nothing.",
                    },
                ),
            },
            "optional": {
                "editor": _inputs.socket(DYSTYLE, "Load DyStyle"),
                "editor_name": _inputs.name(_choices.files("dystyle")),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, edits: str | None = None, editor_name: str = _choices.PACKAGED) -> bool | str:
        # Which controls exist depends on the editor on the wire, so the names are checked when the node runs.
        try:
            rc.parse_edits("" if edits is None else edits)  # None: it comes over a wire
        except rc.ReganieError as error:
            return str(error)
        return _choices.name_problem("dystyle", editor_name)

    @classmethod
    def IS_CHANGED(cls, editor_name: str = _choices.PACKAGED, **_: Any) -> str:
        return _choices.state("dystyle", editor_name)

    def edit(
        self,
        generator: _models.Model,
        latent: Any,
        edits: str = "",
        editor: _models.Model | None = None,
        editor_name: str = _choices.PACKAGED,
    ) -> tuple[Any, Tensor]:
        generator, changes = given(generator, "generator"), rc.parse_edits(edits)
        editor = _choices.chosen(self, "dystyle", editor, editor_name)
        latent.check(generator.value)
        return _editors.picture(generator, _editors.change(editor, latent, changes), show=True)


class DirectionEdit:
    CATEGORY = CATEGORY
    FUNCTION = "edit"
    DESCRIPTION = (
        "Change one attribute (yaw, smile, age, glasses ...) by moving the latent code along a known direction."
    )
    SEARCH_ALIASES = ["interfacegan", "sefa", "ganspace", "age", "smile", "pose", "yaw", "attribute slider", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE")
    RETURN_NAMES = ("latent", "edited")
    OUTPUT_TOOLTIPS = OUTPUT_TOOLTIPS

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        directions = _choices.controls()
        return {
            "required": {
                "generator": (GENERATOR, {"tooltip": "The generator the latent belongs to."}),
                "latent": _inputs.latent(),
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
                "layers": _inputs.layers(),
            },
            "optional": {
                "editor": _inputs.socket(DIRECTIONS, "Load Directions"),
                "editor_name": _inputs.name(_choices.files("directions")),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, direction: str = "", editor_name: str = _choices.PACKAGED) -> bool | str:
        # Which directions exist depends on the editor on the wire, so the name itself is checked when the node runs.
        return _inputs.text(direction, "A direction", 64) or _choices.name_problem("directions", editor_name)

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
        edited = _editors.change(editor, latent, {direction: float(strength)}, layers=layers)
        return _editors.picture(generator, edited)
