"""Editors on the wires: run on the compute device, with the latents they change brought there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _models, _notices, _pictures
from ._sockets import given


def change(
    editor: _models.Model, latent: Any, edits: Mapping[str, Any], generator: _models.Model | None = None, **more: Any
) -> Any:
    """The edited latent on the device for results; no edits give the same latent back.

    ``generator`` goes to editors that work on its style vectors, ``more`` to linear directions.

    Raises:
        ReganieError: unknown controls, by name with what there is; values or codes that do not fit.
    """
    rc.editing.check_edits(editor.value, edits)
    if not edits:
        return latent

    def work() -> Any:
        if generator is not None and getattr(editor.value, "in_stylespace", False):
            (editor.value.generator,) = _models.on_device(0, generator)
        codes = latent.to(_host.device())
        return rc.editing.edit_latent(on_device(editor), codes, edits, **more).to(_host.results_device())

    with _notices.shown(editor.label):
        return _host.falling_back(work)


def on_device(editor: _models.Model) -> Any:
    """The editor where it computes; small ones without a network of their own are moved plainly."""
    (value,) = _models.on_device(0, editor)
    if editor.resident is None and hasattr(value, "to"):
        value.to(_host.device())
    return value


def picture(generator: _models.Model, latent: Any, show: bool = False) -> tuple[Any, Tensor]:
    """What edit nodes put out: the latent and the generator's picture of it."""
    return latent, _pictures.synthesize(generator, latent, show=show)


def of_sliders(node: Any, wire: Any, name: str, control: str) -> _models.Model:
    """The editor with values for controls that is connected, else the one a name from the list means."""
    if wire is not None:
        node.kept = given(wire, *_choices.SLIDER_EDITORS)
    else:
        node.kept = _choices.load(_choices.kind_of_editor(name, control), name)
    return node.kept
