"""Editors on the wires: run on the compute device, with the latents they change brought there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _inputs, _models, _notices, _pictures
from ._sockets import LATENT, check_wire

# What people type to find a node that changes a face.
SEARCHED = ("face edit", "edit face", "expression", "smile", "head pose", "turn head", "yaw", "hair", "age", "older",
            "glasses", "beard", "attributes", "reganie")


class EditNode:
    """What the edit nodes share: their wires and outputs, which file stands in for the editor, and how they end.

    A node has its own widgets between the two, its own check of them, and its own ``edit``.
    """

    CATEGORY = "ReGANIE/3 Edit"
    FUNCTION = "edit"
    RETURN_TYPES = (LATENT, "IMAGE")
    RETURN_NAMES = ("latent", "edited")
    OUTPUT_TOOLTIPS = (
        "The edited latent code; chain edit nodes to combine them.",
        "The generator's picture of the edited code, for Rectify.",
    )
    KIND = ""  # of editor

    @classmethod
    def inputs(cls, loader: str, own: dict[str, Any]) -> dict[str, Any]:
        """INPUT_TYPES with a node's own widgets in their place."""
        return {
            "required": {"generator": _inputs.generator(), "latent": _inputs.latent(), **own},
            "optional": {
                "editor": _inputs.socket(f"REGANIE_{cls.KIND.upper()}", loader),
                "editor_name": _inputs.name(cls.names()),
                "inversion": _inputs.before_edit(),
            },
        }

    @classmethod
    def names(cls) -> list[str]:
        """The list of editors."""
        return _choices.files(cls.KIND)

    @classmethod
    def kind_of(cls, name: str) -> str:
        """Which kind of editor a name of the list means."""
        return cls.KIND

    @classmethod
    def IS_CHANGED(cls, editor_name: str = _choices.PACKAGED, **_: Any) -> str:
        return _choices.state(cls.kind_of(editor_name), editor_name)

    def networks(self, generator: _models.Model, latent: Any, editor: Any, editor_name: str) -> tuple[Any, Any]:
        """The generator, which must be the latent's, and the editor: the one on the wire, else the named one."""
        generator = check_wire(generator, "generator")
        kind = self.KIND if editor is not None else self.kind_of(editor_name)
        editor = _choices.connected_or_named(self, kind, editor, editor_name)
        latent.check(generator.value)
        return generator, editor


def change(
    editor: Any, latent: Any, edits: Mapping[str, Any], generator: _models.Model | None = None, **more: Any
) -> Any:
    """The edited latent on the device for results; no edits give the same latent back.

    ``generator`` goes to editors that work on its style vectors, ``more`` to linear directions.

    Raises:
        ReganieError: unknown controls, by name with what there is; values or codes that do not fit.
    """
    if not edits:
        return latent

    def work() -> Any:
        if generator is not None and getattr(editor.value, "in_stylespace", False):
            (editor.value.generator,) = _models.on_device(0, generator)
        codes = latent.to(_host.device())
        return rc.editing.edit_latent(on_device(editor), codes, edits, **more).to(_host.results_device())

    with _notices.show_warnings(editor.label):
        rc.editing.check_edits(editor.value, edits)
        return _host.falling_back(work)


def on_device(editor: _models.Model) -> Any:
    """The editor where it computes; those without a network are moved by their own ``to``."""
    (value,) = _models.on_device(0, editor)
    if editor.resident is None and hasattr(value, "to"):
        value.to(_host.device())
    return value


def picture(generator: _models.Model, latent: Any, show: bool = False) -> tuple[Any, Tensor]:
    """What edit nodes put out: the latent and the generator's picture of it."""
    return latent, _pictures.synthesize(generator, latent, show=show)


def slider_editor(node: Any, wire: Any, name: str, control: str) -> _models.Model:
    """The editor with values for controls that is connected, else the one a name from the list means."""
    if wire is not None:
        node.model = check_wire(wire, *_choices.SLIDER_EDITORS)
    else:
        node.model = _choices.load(_choices.kind_of_editor(name, control), name)
    return node.model
