"""Inputs that several nodes share, described once."""

from __future__ import annotations

from typing import Any

from . import _choices
from ._sockets import GENERATOR, LATENT

Spec = tuple[str, dict[str, Any]]


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
    return "COMBO", {"options": files, "default": files[0], "tooltip": tooltip}


def layers() -> Spec:
    """Which style vectors; last among its node's own values."""
    return "STRING", {
        "default": "all",
        "tooltip": "Style vectors to change: all, or numbers from 0 such as 0-7 or 0-3,6. Low ones hold pose and "
        "shape, high ones colour.",
    }


def text(value: object, what: str, most: int) -> str | None:
    """One sentence when a widget holds no text, or far too much of it; None also for what comes over a wire.

    ComfyUI validates before it runs, and then shows None for every value that is connected.
    """
    if value is not None and (not isinstance(value, str) or len(value) > most):
        return f"{what} must be a text of at most {most} characters."
    return None


PACKAGED = _choices.PACKAGED
