"""Many edits at once, and sheets of labelled pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from . import _choices, _editors, _host, _inputs, _models, _notices, _pictures
from ._sockets import LATENT, SLIDER_EDITOR, given

CATEGORY = "ReGANIE/3 Edit"
CELL = {
    "default": 192,
    "min": 32,
    "max": 1024,
    "step": 16,
    "tooltip": "Side of one picture on the sheet, in pixels.",
}


class EditSweep:
    CATEGORY = CATEGORY
    FUNCTION = "sweep"
    DESCRIPTION = (
        "Edit every picture with one control over a range: a batch of edits and one labelled sheet. Rectify takes the "
        "batch with the one difference of each picture."
    )
    SEARCH_ALIASES = ["strip", "xy plot", "range", "grid", "interpolate attribute", "contact sheet", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("latent", "edited", "sheet", "labels")
    OUTPUT_TOOLTIPS = (
        "The edited codes: all steps of the first picture, then all of the second.",
        "Their pictures in the same order, for Rectify's edited input beside one difference for each picture.",
        "All of them on one labelled sheet: a row for each picture, a column for each step.",
        "One line for each step, for Picture Sheet.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        controls = _choices.controls(_choices.SLIDER_EDITORS)
        ends = {"min": -1000.0, "max": 1000.0, "step": 0.05, "round": False}
        unit = "in the control's own unit (degrees for yaw, -1 to 1 for smile and age)."
        return {
            "required": {
                "generator": _inputs.generator(),
                "latent": _inputs.latent(),
                "control": (
                    "COMBO",
                    {
                        "options": controls,
                        "default": controls[0],
                        "tooltip": "What to change. The list holds the controls of every editor file found; the editor "
                        "in use must have it.",
                    },
                ),
                "start": ("FLOAT", {"default": -1.0, **ends, "tooltip": f"The first step, {unit}"}),
                "stop": ("FLOAT", {"default": 1.0, **ends, "tooltip": f"The last step, {unit}"}),
                "steps": (
                    "INT",
                    {"default": 5, "min": 1, "max": 64, "tooltip": "How many pictures, both ends included."},
                ),
                "mode": (
                    "COMBO",
                    {
                        "options": ["change", "absolute"],
                        "default": "change",
                        "tooltip": "change: steps are added to what the picture has, 0 is the picture itself. "
                        "absolute: steps are the values to reach (DyStyle only).",
                    },
                ),
                "cell": ("INT", CELL),
            },
            "optional": {
                "editor": _inputs.socket(SLIDER_EDITOR, "Load DyStyle, Load Directions"),
                "editor_name": _inputs.name(_choices.editor_files()),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, control: str = "", editor_name: str = _choices.PACKAGED) -> bool | str:
        return _inputs.text(control, "A control", 64) or _choices.name_problem("directions", editor_name)

    @classmethod
    def IS_CHANGED(cls, editor_name: str = _choices.PACKAGED, **_: Any) -> str:
        return ";".join(_choices.state(kind, editor_name) for kind in _choices.SLIDER_EDITORS)

    def sweep(
        self,
        generator: _models.Model,
        latent: Any,
        control: str,
        start: float = -1.0,
        stop: float = 1.0,
        steps: int = 5,
        mode: str = "change",
        cell: int = 192,
        editor: _models.Model | None = None,
        editor_name: str = _choices.PACKAGED,
    ) -> tuple[Any, Tensor, Tensor, str]:
        from ..reganie_core.editing import sweep as strips

        generator = given(generator, "generator")
        editor = _editors.of_sliders(self, editor, editor_name, control)
        latent.check(generator.value)
        values = strips.steps(float(start), float(stop), int(steps))

        def work() -> Any:
            codes = latent.to(_host.device())
            many = strips.sweep(_editors.on_device(editor), codes, control, values, mode == "absolute")
            return many.to(_host.results_device())

        with _notices.shown(editor.label):
            changed = _host.falling_back(work)
        many, edited = _editors.picture(generator, changed)
        known = next(item for item in editor.value.controls if item.name == control)
        labels = [strips.label(known, value, mode == "absolute") for value in values]
        return many, edited, _pictures.sheet(edited, len(values), labels, cell=cell), "\n".join(labels)


class PictureSheet:
    CATEGORY = CATEGORY
    FUNCTION = "draw"
    DESCRIPTION = (
        "Put a batch of pictures on one labelled sheet: rows of an edit sweep after rectifying, or several methods "
        "side by side."
    )
    SEARCH_ALIASES = ["contact sheet", "image grid", "compare", "labels", "montage", "reganie"]
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheet",)
    OUTPUT_TOOLTIPS = ("The sheet, for Preview Image or Save Image.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures, row by row."}),
                "labels": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "One line above each column, for example Edit Sweep's labels. Their number sets "
                        "the number of columns; empty puts all pictures in one row.",
                    },
                ),
                "title": ("STRING", {"default": "", "tooltip": "A heading for the sheet; may be empty."}),
                "cell": ("INT", CELL),
            },
            "optional": {
                "before": (
                    "IMAGE",
                    {"tooltip": "A picture for each row, shown in a first column of its own labelled Before."},
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, labels: str = "", title: str = "") -> bool | str:
        return _inputs.text(labels, "The labels", 8192) or _inputs.text(title, "The title", 200) or True

    def draw(
        self, images: Tensor, labels: str = "", title: str = "", cell: int = 192, before: Tensor | None = None
    ) -> tuple[Tensor]:
        lines = [line.strip()[:80] for line in labels.splitlines() if line.strip()]
        return (_pictures.sheet(images, len(lines) or len(images), lines, title.strip()[:200], int(cell), before),)
