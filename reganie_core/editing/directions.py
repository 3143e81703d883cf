"""Linear edits in W+: ``w' = w + change * direction`` (InterFaceGAN, SeFa, GANSpace and e4e's age, pose, smile)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, InputError, MismatchError
from .protocol import MAX_CONTROLS, Control, EditValue, change_of, check_edits, controls_from

__all__ = ["DirectionEditor", "load_direction_editor", "parse_layers"]

PREFIX = "direction."


def parse_layers(layers: str | Sequence[int] | None, num_ws: int) -> list[int] | None:
    """Which style vectors to change: None or ``"all"`` for every one, else ``"0-3,6"`` or numbers from 0.

    Raises:
        InputError: not readable, or outside 0..num_ws-1.
    """
    if layers is None or (isinstance(layers, str) and layers.strip().lower() in ("", "all")):
        return None
    if isinstance(layers, str):
        found: set[int] = set()
        for part in re.split(r"[\s,;]+", layers.strip()[:1000]):
            match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if last < first:
                raise InputError(f"Cannot read the layers {repr(layers)[:80]}; write all, or for example 0-3,6.")
            found.update(range(first, last + 1))
        numbers = sorted(found)
    else:
        numbers = sorted({int(layer) for layer in layers})
    if not numbers or numbers[0] < 0 or numbers[-1] >= num_ws:
        raise InputError(
            f"Layers must lie in 0..{num_ws - 1} (this latent has {num_ws} style vectors), found "
            f"{layers}."
        )
    return numbers


class DirectionEditor:
    """Adds known directions to latent codes; changes only, no absolute values.

    Args:
        directions: name -> tensor ``[num_ws or 1, w_dim]``, the change of w per one unit of the control. A binary
            control's on / off adds plus / minus one whole direction.
        controls: metadata, one per direction and in the order to show them; missing ones get a plain -3..3 range.

    Raises:
        InputError: no direction, more than 512, a control without direction.
        MismatchError: directions of different sizes.
    """

    accepts_targets = False

    def __init__(self, directions: Mapping[str, Tensor], controls: Sequence[Control] = (), *,
                 fingerprint: str | None = None, provenance: Mapping[str, Any] | None = None) -> None:
        if not 0 < len(directions) <= MAX_CONTROLS:
            raise InputError(f"An editor needs 1 to {MAX_CONTROLS} directions, found {len(directions)}.")
        missing = [control.name for control in controls if control.name not in directions]
        if missing:
            raise InputError(f"The controls {', '.join(missing)} have no direction.")
        self.directions = {name: _as_rows(name, tensor) for name, tensor in directions.items()}
        named = {control.name for control in controls}
        if len(named) < len(controls):
            raise InputError("Two controls have the same name.")
        plain = [Control(name, minimum=-3.0, maximum=3.0, guessed=True) for name in directions if name not in named]
        self.controls: tuple[Control, ...] = (*controls, *plain)
        widths = {tensor.shape[1] for tensor in self.directions.values()}
        rows = {tensor.shape[0] for tensor in self.directions.values()} - {1}
        if len(widths) > 1 or len(rows) > 1:
            shapes = {name: tuple(tensor.shape) for name, tensor in self.directions.items()}
            raise MismatchError(f"The directions belong to different generators: {shapes}.")
        self.w_dim = widths.pop()
        self.num_ws: int | None = rows.pop() if rows else None
        self.fingerprint = fingerprint
        self.provenance: dict[str, Any] = dict(provenance or {})

    def to(self, device: torch.device | str) -> DirectionEditor:
        """Move the directions to a device; returns itself."""
        self.directions = {name: tensor.to(device) for name, tensor in self.directions.items()}
        return self

    def edit(self, ws: Tensor, edits: Mapping[str, EditValue], layers: str | Sequence[int] | None = None) -> Tensor:
        """``ws [B,num_ws,w_dim]`` + sum of change * direction, on ``layers`` only if given; see :func:`parse_layers`.

        Raises:
            InputError: unknown control, an absolute value, numbers of the wrong shape.
            MismatchError: codes of another size than the directions.
        """
        if ws.ndim != 3:
            raise InputError(f"Latent codes must have the shape [B,num_ws,w_dim], found {list(ws.shape)}.")
        checked = check_edits(self, edits)
        if ws.shape[2] != self.w_dim or self.num_ws not in (None, ws.shape[1]):
            raise MismatchError(
                f"The latent has {ws.shape[1]} style vectors of {ws.shape[2]}, the directions are for "
                f"{self.num_ws or 'any number'} of {self.w_dim}: they were made for another generator."
            )
        chosen = parse_layers(layers, ws.shape[1])
        mask = ws.new_ones(ws.shape[1], 1)
        if chosen is not None:
            mask.zero_()
            mask[chosen] = 1.0
        for name, (_, value) in checked.items():
            direction = self.directions[name].to(ws)
            ws = ws + change_of(name, value, ws) * (direction * mask)
        return ws


def _as_rows(name: str, tensor: Tensor) -> Tensor:
    """Accept [w_dim], [1,w_dim], [num_ws,w_dim] and the public files' [1,num_ws,w_dim].

    Equal rows become one, which fits a generator of any size: e4e's pose has 18 of them.
    """
    rows = tensor.detach().float()
    rows = rows[None] if rows.ndim == 1 else rows
    rows = rows[0] if rows.ndim == 3 and rows.shape[0] == 1 else rows
    if rows.ndim != 2 or 0 in rows.shape or not bool(rows.isfinite().all()):
        raise InputError(
            f"The direction {repr(name)[:80]} must be finite [num_ws or 1, w_dim], found "
            f"{list(tensor.shape)}."
        )
    return rows[:1] if bool((rows == rows[:1]).all()) else rows


def load_direction_editor(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> DirectionEditor:
    """Read our directions file (with units and ranges) or a public one (plain range -3..3).

    Raises:
        ReganieError: what :func:`reganie_core.checkpoints.load_directions` raises.
        CorruptCheckpointError: controls that do not fit the tensors.
    """
    from .. import checkpoints

    loaded = checkpoints.load_directions(path)
    tensors, config = loaded.tensors, loaded.config
    directions = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    try:
        controls = controls_from(config.get("controls", []))
        editor = DirectionEditor(directions, controls, fingerprint=checkpoints.fingerprint(tensors),
                                 provenance=loaded.provenance)
    except (InputError, TypeError) as error:
        raise CorruptCheckpointError(f"{os.path.basename(path)} holds unusable directions: {error}") from error
    return editor.to(device)
