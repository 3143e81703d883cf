"""Latent -> latent: editors behind one protocol, and the text form of edits."""

from __future__ import annotations

import os

import torch

from .directions import DirectionEditor, load_direction_editor, parse_layers
from .protocol import Control, Editor, EditValue, Target, check_edits, describe_controls
from .text import format_edits, parse_edits

__all__ = [
    "Control",
    "DirectionEditor",
    "EditValue",
    "Editor",
    "Target",
    "check_edits",
    "describe_controls",
    "format_edits",
    "load_editor",
    "parse_edits",
    "parse_layers",
]


def load_editor(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Editor:
    """Load any editor this version knows (linear directions) behind the one protocol.

    Raises:
        ReganieError: no such file, a file that is refused, or one of another kind.
    """
    return load_direction_editor(path, device)
