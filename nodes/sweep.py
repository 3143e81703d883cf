"""Many edits at once, and sheets of labelled pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _editors, _host, _inputs, _models, _notices, _pictures
from ._sockets import LATENT, SLIDER_EDITOR, check_wire
from .edit import CLEAR_TURN

CATEGORY = "ReGANIE/3 Edit"
MORE = "Pictures for column {} of a comparison: as many as images, of the same size. images are then the first column."
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
    SEARCH_ALIASES = [*_editors.SEARCHED, "strip", "xy plot", "range", "grid", "interpolate attribute", "contact sheet"]
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
        page = "Choosing another control on the page sets clear changes of that one."
        return {
            "required": {
                "generator": _inputs.generator(),
                "latent": _inputs.latent(),
                "control": (
                    "COMBO",
                    {
                        "options": _inputs.Names(controls),
                        "default": controls[0],
                        "tooltip": "What to change. The list holds the controls of every editor file found; the editor "
                        "in use must have it.",
                    },
                ),
                "start": ("FLOAT", {"default": -CLEAR_TURN, **ends, "tooltip": f"The first step, {unit} {page}"}),
                "stop": ("FLOAT", {"default": CLEAR_TURN, **ends, "tooltip": f"The last step, {unit} {page}"}),
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
                "inversion": _inputs.before_edit(),
            },
        }

    @classmethod
    def IS_CHANGED(cls, editor_name: str = _choices.PACKAGED, **_: Any) -> str:
        return ";".join(_choices.state(kind, editor_name) for kind in _choices.SLIDER_EDITORS)

    def sweep(
        self,
        generator: _models.Model,
        latent: Any,
        control: str,
        start: float = -CLEAR_TURN,
        stop: float = CLEAR_TURN,
        steps: int = 5,
        mode: str = "change",
        cell: int = 192,
        editor: _models.Model | None = None,
        editor_name: str = _choices.PACKAGED,
        inversion: Tensor | None = None,
    ) -> tuple[Any, Tensor, Tensor, str]:
        from ..reganie_core.editing import sweep as strips

        generator = check_wire(generator, "generator")
        editor = _editors.slider_editor(self, editor, editor_name, control)
        latent.check(generator.value)
        values = strips.steps(float(start), float(stop), int(steps))

        def work() -> Any:
            codes = latent.to(_host.device())
            many = strips.sweep(_editors.on_device(editor), codes, control, values, mode == "absolute")
            return many.to(_host.results_device())

        with _notices.show_warnings(editor.label):
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
                **{f"images_{number}": ("IMAGE", {"tooltip": MORE.format(number)}) for number in (2, 3, 4)},
            },
        }

    def draw(
        self,
        images: Tensor,
        labels: str = "",
        title: str = "",
        cell: int = 192,
        before: Tensor | None = None,
        images_2: Tensor | None = None,
        images_3: Tensor | None = None,
        images_4: Tensor | None = None,
    ) -> tuple[Tensor]:
        _inputs.check_text(labels, "The labels", 8192)
        _inputs.check_text(title, "The title", 200)
        lines = [line.strip()[:80] for line in labels.splitlines() if line.strip()]
        beside = [images, *(more for more in (images_2, images_3, images_4) if more is not None)]
        pictures, columns = _side_by_side(beside) if len(beside) > 1 else (images, len(lines) or len(images))
        return (_pictures.sheet(pictures, columns, lines, title.strip(), int(cell), before),)


def _side_by_side(batches: list[Tensor]) -> tuple[Tensor, int]:
    """The first picture of each batch, then the second of each: rows of a sheet, and its number of columns."""
    coloured = [rc.images.to_comfy(rc.images.from_comfy(batch, "pictures of a column")) for batch in batches]
    sizes = {tuple(batch.shape[:3]) for batch in coloured}
    if len(sizes) > 1:
        found = ", ".join(f"{count} of {width}x{height}" for count, height, width in sorted(sizes))
        raise rc.errors.MismatchError(f"Pictures side by side must be as many and of one size; found {found}.")
    return torch.stack(coloured, 1).flatten(0, 1), len(batches)
