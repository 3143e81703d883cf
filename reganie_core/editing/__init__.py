"""Latent -> latent: editors behind one protocol, and the text form of edits."""

from __future__ import annotations

import os
from importlib import import_module

import torch

from ..errors import CheckpointError, WrongKindError
from .directions import DirectionEditor, load_direction_editor, parse_layers
from .protocol import (
    Control,
    Editor,
    EditValue,
    Target,
    TextEdit,
    check_edits,
    describe_controls,
    edit_latent,
)
from .text import format_edits, parse_edits

__all__ = [
    "Control",
    "DirectionEditor",
    "EditValue",
    "Editor",
    "Target",
    "TextEdit",
    "check_edits",
    "describe_controls",
    "edit_latent",
    "format_edits",
    "load_editor",
    "parse_edits",
    "parse_layers",
]


# Kind of file -> module of this package and its loader; whatever else is read as directions, which have many dialects.
_LOADERS = {"dystyle": ("dystyle", "load_dystyle_editor"), "styleclip": ("styleclip", "load_styleclip_editor")}


def load_editor(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Editor:
    """Load any editor behind the one protocol: DyStyle, StyleCLIP, or linear directions (ours and public files).

    Raises:
        ReganieError: no such file, a file that is refused, or one of another kind.
    """
    kind = "styleclip" if os.path.isdir(path) else _kind(path)  # a folder holds StyleCLIP's public tables
    if kind not in _LOADERS:
        try:
            return load_direction_editor(path, device)
        except WrongKindError:
            from ..checkpoints import inspect

            kind = inspect(path)["kind"]  # a public mapper, for example
            if kind not in _LOADERS:
                raise
    module, loader = _LOADERS[kind]
    return getattr(import_module(f".{module}", __name__), loader)(path, device)


def _kind(path: str | os.PathLike[str]) -> str | None:
    """What one of our files says it is; None for every other file."""
    from ..checkpoints.files import open_regular
    from ..checkpoints.safetensors_file import read_header

    handle, size = open_regular(path)
    with handle:
        if handle.read(9)[8:] != b"{":  # the length of a safetensors header comes first
            return None
        handle.seek(0)
        try:
            return read_header(handle, size).metadata.get("kind")
        except CheckpointError:
            return None  # the loader says what is wrong with it
