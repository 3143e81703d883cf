"""Inputs that several nodes share, described once."""

from __future__ import annotations

from typing import Any

from .. import reganie_core as rc
from . import _choices
from ._sockets import GENERATOR, LATENT

Spec = tuple[str, dict[str, Any]]


class Names(list):
    """A list that offers names and accepts every name that stays inside its folder.

    Which file or control exists matters only when it is used. ComfyUI asks the list itself (``value in options``); an
    input that VALIDATE_INPUTS takes instead shares one sentence with all the others there.
    """

    def __contains__(self, name: Any) -> bool:
        try:
            return super().__contains__(name) or bool(rc.paths.check_name(name))
        except rc.ReganieError:
            return False


def generator() -> Spec:
    """The generator a latent belongs to."""
    return GENERATOR, {"tooltip": "The generator the latent belongs to."}


def latent() -> Spec:
    """A latent to edit."""
    return LATENT, {"tooltip": "A latent code from an invert node, Sample Latent, Load Latent or another edit node."}


def socket(kind: str, loader: str, what: str = "editor") -> Spec:
    """An optional network: when it is connected, the name beside it is not used."""
    tooltip = f"{what.capitalize()} from {loader} or Load ReGANIE. When connected, {what}_name is not used."
    return kind, {"tooltip": tooltip}


def name(files: list[str], what: str = "editor") -> Spec:
    """The file that stands in for an optional network."""
    tooltip = f"The {what} to use when none is connected."
    return "COMBO", {"options": Names(files), "default": files[0], "tooltip": tooltip}


def before_edit() -> Spec:
    """What a bypassed edit node lets through: ComfyUI passes an output's own type on, and only from an input."""
    return "IMAGE", {
        "tooltip": "The picture without this edit: an invert node's inversion, or the edited picture of the edit node "
        "before. Only used when the node is bypassed: then it goes on in place of the edited picture."
    }


def layers() -> Spec:
    """Which style vectors; last among its node's own values."""
    return "STRING", {
        "default": "all",
        "tooltip": "Style vectors to change: all, or numbers from 0 such as 0-7 or 0-3,6. Low ones hold pose and "
        "shape, high ones colour.",
    }


def check_text(value: str, what: str, most: int) -> None:
    """Raise InputError for a text that is far too long."""
    if len(value) > most:
        raise rc.errors.InputError(f"{what} must be a text of at most {most} characters, found {len(value)}.")


PACKAGED = _choices.PACKAGED
