"""DyStyle as an editor: several numeric and binary attributes in one pass, as changes or as absolute values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, InputError, MismatchError
from ..networks.dystyle import DyStyle
from .protocol import Control, EditValue, Target, check_edits, controls_from

__all__ = ["DyStyleEditor", "load_dystyle_editor"]

# A reading is never exact, so a value at the end of the range may still move by this share of the range.
SLACK = 0.05


class DyStyleEditor:
    """A trained :class:`~reganie_core.networks.dystyle.DyStyle` behind the editor protocol.

    Args:
        network: its attributes, in its order, are the controls.
        controls: names, kinds, units and ranges; one per attribute of the network, shown in the order given.
        fingerprint, provenance: of the file.

    Raises:
        InputError: controls that are not those of the network.
    """

    accepts_targets = True

    def __init__(self, network: DyStyle, controls: Sequence[Control], *, fingerprint: str | None = None,
                 provenance: Mapping[str, Any] | None = None) -> None:
        config = network.config
        kinds = dict(zip(config.names, config.kinds, strict=True))
        if {control.name: control.kind for control in controls} != kinds or len(controls) != len(kinds):
            found = ", ".join(f"{repr(c.name)[:80]} ({c.kind})" for c in controls) or "none"
            wanted = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise InputError(f"The controls must be those of the network: {wanted}; found {found}.")
        self.network = network
        self.controls: tuple[Control, ...] = tuple(controls)
        self.names, self.num_ws, self.w_dim = config.names, config.num_ws, config.w_dim
        self.fingerprint = fingerprint
        self.provenance: dict[str, Any] = dict(provenance or {})
        known = {control.name: control for control in controls}
        self._range = torch.tensor([[known[name].minimum, known[name].maximum] for name in config.names])

    def to(self, device: torch.device | str) -> DyStyleEditor:
        """Move the network to a device; returns itself."""
        self.network.to(device)
        self._range = self._range.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the network is; codes are brought there and the result back."""
        return self.network.center.device

    def read(self, ws: Tensor) -> dict[str, Tensor]:
        """The attributes that codes ``[B,num_ws,w_dim]`` have now, {name: [B]}: in their units, binary in 0..1.

        An estimate from the code alone; an attribute network reads pictures better.
        """
        values = self.network.read(self._checked(ws).to(self.device)).to(ws.device)
        return dict(zip(self.names, values.unbind(1), strict=True))

    def edit(self, ws: Tensor, edits: Mapping[str, EditValue]) -> Tensor:
        """Edited codes of the shape of ``ws [B,num_ws,w_dim]``; differentiable in ``ws`` and in tensors of changes.

        A number or a tensor ``[B]`` is a change in the control's unit. :class:`Target` is an absolute value. A bool
        sets a binary control; for those a change of +1 means on, -1 off, numbers between go a part of the way, and
        ``Target(0..1)`` runs from off over "as it is" at 0.5 to on. Values stay within the trained range: what is
        asked beyond it ends at its limit. Rows whose changes are all 0 are returned bit for bit.

        Raises:
            InputError: unknown control, a value outside its range, numbers of the wrong shape.
            MismatchError: codes of another size.
        """
        self._checked(ws)
        checked = check_edits(self, edits)
        if not checked:
            return ws
        here = ws.to(self.device)
        current = self.network.read(here)
        columns = {name: self._change(value, control, current[:, self.names.index(name)])
                   for name, (control, value) in checked.items()}
        still = current.new_zeros(len(ws))
        amounts = torch.stack([columns.get(name, still) for name in self.names], dim=1)
        return self._apply(here, amounts, current).to(ws.device)

    def change(self, ws: Tensor, amounts: Tensor) -> Tensor:
        """:meth:`edit` for training loops: changes ``[B,K]`` in the order of ``names``, with no check that would wait
        for the device. The codes must be where the network is."""
        return self._apply(ws, amounts, self.network.read(ws))

    def _checked(self, ws: Tensor) -> Tensor:
        if ws.ndim != 3:
            raise InputError(f"Latent codes must have the shape [B,num_ws,w_dim], found {list(ws.shape)}.")
        if tuple(ws.shape[1:]) != (self.num_ws, self.w_dim):
            raise MismatchError(f"The latent has {ws.shape[1]} style vectors of {ws.shape[2]}, this editor is for "
                                f"{self.num_ws} of {self.w_dim}: it was trained for another generator.")
        return ws

    def _change(self, value: EditValue, control: Control, current: Tensor) -> Tensor:
        """One control's changes [B]."""
        absolute = isinstance(value, Target)
        number = value.value if absolute else value
        if isinstance(number, Tensor):
            if number.ndim > 1 or (number.ndim == 1 and number.shape[0] not in (1, len(current))):
                raise InputError(f"{control.name}: values of shape {list(number.shape)} for {len(current)} latents; "
                                 "give one, or one for each.")
            number = number.to(current).expand(len(current))
        else:
            if isinstance(number, bool):
                number = 1.0 if number else -1.0
            number = torch.full_like(current, float(number))
        if not absolute:
            return number
        return 2.0 * number - 1.0 if control.kind == "binary" else number - current

    def _apply(self, ws: Tensor, amounts: Tensor, current: Tensor) -> Tensor:
        """Changes that stay in the trained range, then the network."""
        low, high = self._range.to(current).unbind(1)
        slack = (high - low) * SLACK
        # A value already beyond the limit stays; it is not pulled back against the direction asked for.
        up, down = (high + slack - current).clamp_min(0.0), (low - slack - current).clamp_max(0.0)
        limited = amounts.minimum(up).maximum(down)
        amounts = torch.where(self.network.binary, amounts.clamp(-1.0, 1.0), limited)
        return self.network(ws, amounts, current=current)


def load_dystyle_editor(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> DyStyleEditor:
    """Read a file of kind ``dystyle``; its ``config`` holds the network's sizes and the controls.

    Raises:
        ReganieError: no such file, refused, or of another kind.
        CorruptCheckpointError: controls or tensors that do not make an editor.
    """
    from ..checkpoints import fingerprint, read_checkpoint
    from ..checkpoints.loading import build, naming

    with naming(path):
        checkpoint = read_checkpoint(path, "dystyle")
        config = dict(checkpoint.config)
        listed = config.pop("controls", None)
        network = build("dystyle", config, checkpoint.tensors)
        try:
            editor = DyStyleEditor(network, controls_from(listed), fingerprint=fingerprint(checkpoint.tensors),
                                   provenance=checkpoint.provenance)
        except (InputError, TypeError) as error:
            raise CorruptCheckpointError(f"It holds unusable controls: {error}") from error
    return editor.to(device)
