"""ReGANIE: edit a real picture through a StyleGAN without losing what the StyleGAN cannot express.

The names below load on first use, so that importing the package costs nothing and changes nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for editors and type checkers; a test compares the two lists
    from . import (
        algorithm1, alignment, batches, belonging, checkpoints, delta, domains, editing, errors, faces, images,
        inversion, kinds, latents, metrics, networks, paths, pipeline, portraits, rectification, sheets, text,
    )
    from .checkpoints import convert, inspect, load_discriminator, load_encoder, load_generator
    from .delta import Delta
    from .domains import Domain, load_domain
    from .editing import Control, Target, TextEdit, format_edits, load_editor, parse_edits
    from .errors import ReganieError, ReganieWarning
    from .inversion import load_inverter
    from .latents import Latent
    from .pipeline import EditResult, edit, invert
    from .rectification import load_rectifier, rectify

__version__ = "0.2.0"

_NAMES = {
    "load_generator": "checkpoints",
    "load_discriminator": "checkpoints",
    "load_encoder": "checkpoints",
    "load_rectifier": "rectification",
    "load_inverter": "inversion",
    "inspect": "checkpoints",
    "convert": "checkpoints",
    "load_editor": "editing",
    "Target": "editing",
    "TextEdit": "editing",
    "Control": "editing",
    "parse_edits": "editing",
    "format_edits": "editing",
    "load_domain": "domains",
    "Domain": "domains",
    "edit": "pipeline",
    "invert": "pipeline",
    "rectify": "rectification",
    "Delta": "delta",
    "EditResult": "pipeline",
    "Latent": "latents",
    "ReganieError": "errors",
    "ReganieWarning": "errors",
}
_MODULES = frozenset({
    "algorithm1", "alignment", "batches", "belonging", "checkpoints", "delta", "domains", "editing", "errors",
    "faces", "images", "inversion", "kinds", "latents", "metrics", "networks", "paths", "pipeline", "portraits",
    "rectification", "sheets", "text",
})

__all__ = [*_NAMES, "portraits", "__version__"]  # noqa: PLE0604 - literal names, held in one table


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
