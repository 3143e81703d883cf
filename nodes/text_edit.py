"""Latent -> latent, by a text."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _editors, _inputs, _models

MAX_TEXT = 300
OWN = -1.0  # a threshold nobody means


class StyleCLIPEdit(_editors.EditNode):
    KIND = "styleclip"
    DESCRIPTION = "Change a picture by describing it: 'a smiling old woman with glasses'."
    SEARCH_ALIASES = [*_editors.SEARCHED, "styleclip", "text edit", "prompt edit", "clip", "global direction", "mapper"]

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return cls.inputs(
            "Load StyleCLIP",
            {
                "target": (
                    "STRING",
                    {
                        "default": "a smiling old woman with glasses",
                        "tooltip": "What the picture should look like. With a mapper, which was trained for one text, "
                        "the name of its control, or nothing.",
                    },
                ),
                "neutral": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "What target is compared with, for example: a face. Empty takes the editor's own. "
                        "Mappers do not use it.",
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.5,
                        "min": -20.0,
                        "max": 20.0,
                        "step": 0.05,
                        "round": False,
                        "tooltip": "How much to change: 1 to 2 is a clear change for the packaged editor, 3 to 5 "
                        "for StyleCLIP's published directions, 1 is as trained for mappers. 0 changes nothing, "
                        "negative values go the other way.",
                    },
                ),
                "threshold": (
                    "FLOAT",
                    {
                        "default": OWN,
                        "min": OWN,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": "How relevant a channel must be to be moved: higher changes less beside what is "
                        "asked. -1 takes the editor's own. Mappers do not use it.",
                    },
                ),
            },
        )

    def edit(
        self,
        generator: _models.Model,
        latent: Any,
        target: str = "a smiling old woman with glasses",
        neutral: str = "",
        strength: float = 1.5,
        threshold: float = OWN,
        editor: Any = None,
        editor_name: str = _choices.PACKAGED,
        inversion: Tensor | None = None,
    ) -> tuple[Any, Tensor]:
        _inputs.check_text(target, "The target", MAX_TEXT)
        _inputs.check_text(neutral, "The neutral text", MAX_TEXT)
        generator, editor = self.networks(generator, latent, editor, editor_name)
        own = None if threshold < 0 else float(threshold)
        edits = _edits(editor.value.controls, target.strip(), neutral.strip(), float(strength), own)
        return _editors.picture(generator, _editors.change(editor, latent, edits, generator))


def _edits(controls: Any, target: str, neutral: str, strength: float, threshold: float | None) -> dict[str, Any]:
    """The text for an editor that reads texts; for one with trained texts the matching control."""
    for control in controls:
        if control.kind == "text":
            return {control.name: rc.editing.TextEdit(target, neutral, strength, threshold)}
    if not target and len(controls) == 1:
        target = controls[0].name
    return {target: strength}
