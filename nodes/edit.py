"""Latent -> latent, with values for controls."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _editors, _inputs, _models

CLEAR_TURN = 20.0  # of yaw, the first of the packaged directions; web/amounts.js sets the others' own


class DyStyleEdit(_editors.EditNode):
    KIND = "dystyle"
    DESCRIPTION = (
        "Change several attributes at once (yaw, smile, age, glasses ...) with a DyStyle editor. The page shows one "
        "slider for each attribute of the editor in use."
    )
    SEARCH_ALIASES = [*_editors.SEARCHED, "dystyle", "sliders"]

    @classmethod
    def names(cls) -> list[str]:
        return _choices.slider_files()

    @classmethod
    def kind_of(cls, name: str) -> str:
        return _choices.slider_kind(name)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return cls.inputs(
            "Load DyStyle",
            {
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
        )

    @classmethod
    def VALIDATE_INPUTS(cls, edits: str | None = None) -> bool | str:
        # Which controls exist depends on the editor on the wire, so the names are checked when the node runs.
        try:
            rc.parse_edits("" if edits is None else edits)  # None: it comes over a wire
        except rc.ReganieError as error:
            return str(error)
        return True

    def edit(
        self,
        generator: _models.Model,
        latent: Any,
        edits: str = "",
        editor: _models.Model | None = None,
        editor_name: str = _choices.PACKAGED,
        inversion: Tensor | None = None,
    ) -> tuple[Any, Tensor]:
        changes = rc.parse_edits(edits)
        generator, editor = self.networks(generator, latent, editor, editor_name)
        return _editors.picture(generator, _editors.change(editor, latent, changes), show=True)


class DirectionEdit(_editors.EditNode):
    KIND = "directions"
    DESCRIPTION = (
        "Change one attribute (yaw, smile, age, glasses ...) by moving the latent code along a known direction."
    )
    SEARCH_ALIASES = [*_editors.SEARCHED, "interfacegan", "sefa", "ganspace", "attribute slider"]

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        directions = _choices.controls()
        return cls.inputs(
            "Load Directions",
            {
                "direction": (
                    "COMBO",
                    {
                        "options": _inputs.Names(directions),  # which exist depends on the editor on the wire
                        "default": directions[0],
                        "tooltip": "What to change. The list holds the controls of every directions file "
                        "found; the editor in use must have it.",
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": CLEAR_TURN,
                        "min": -1000.0,
                        "max": 1000.0,
                        "step": 0.05,
                        "round": False,
                        "tooltip": "How much to change, in the control's own unit: degrees for yaw and pitch "
                        "(20 is a clear turn), -1 to 1 for smile and age, +1 / -1 for glasses on "
                        "/ off. Choosing another direction on the page sets a clear change of that one. "
                        "Public directions without a unit: try -5 to 5. 0 changes nothing.",
                    },
                ),
                "layers": _inputs.layers(),
            },
        )

    def edit(
        self,
        generator: _models.Model,
        latent: Any,
        direction: str,
        strength: float,
        layers: str = "all",
        editor: _models.Model | None = None,
        editor_name: str = _choices.PACKAGED,
        inversion: Tensor | None = None,
    ) -> tuple[Any, Tensor]:
        generator, editor = self.networks(generator, latent, editor, editor_name)
        edited = _editors.change(editor, latent, {direction: float(strength)}, layers=layers)
        return _editors.picture(generator, edited)
