"""The attributes of a portrait that a person may change: names, units, ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .parameters import Portraits

__all__ = ["CONTROLS", "PortraitControl", "attributes", "edit"]


@dataclass(frozen=True)
class PortraitControl:
    """One attribute: `kind` is "numeric" or "binary", values lie in [minimum, maximum] in `unit`."""

    name: str
    kind: str
    minimum: float
    maximum: float
    unit: str
    default: float
    description: str


CONTROLS: tuple[PortraitControl, ...] = (
    PortraitControl("yaw", "numeric", -40.0, 40.0, "degrees", 0.0,
                    "Turn of the head; positive turns the face to the right side of the picture."),
    PortraitControl("pitch", "numeric", -15.0, 15.0, "degrees", 0.0, "Nod of the head; positive looks up."),
    PortraitControl("smile", "numeric", -1.0, 1.0, "", 0.0, "Mouth from sad (-1) over neutral to a broad smile (+1)."),
    PortraitControl("age", "numeric", -1.0, 1.0, "", 0.0, "Child (-1), adult (0), old (+1)."),
    PortraitControl("glasses", "binary", 0.0, 1.0, "", 0.0, "Without (0) or with (1) glasses."),
    PortraitControl("eye_openness", "numeric", 0.0, 1.0, "", 0.8, "Eyelids from closed (0) to wide open (1)."),
    PortraitControl("beard", "numeric", 0.0, 1.0, "", 0.0, "No beard (0), stubble, full and dense beard (1)."),
    PortraitControl("hair_length", "numeric", 0.0, 1.0, "", 0.3, "Cropped (0), chin (0.5), over the shoulders (1)."),
    PortraitControl("hair_lightness", "numeric", 0.0, 1.0, "", 0.4,
                    "Hair from black (0) over brown to light blond (1)."),
    PortraitControl("skin_tone", "numeric", 0.0, 1.0, "", 0.3, "Skin from very light (0) to very dark (1)."),
    PortraitControl("light_azimuth", "numeric", -60.0, 60.0, "degrees", 20.0,
                    "Side the light comes from; positive is the right side of the picture."),
    PortraitControl("light_elevation", "numeric", 0.0, 60.0, "degrees", 30.0, "Height of the light."),
)

_BY_NAME = {control.name: control for control in CONTROLS}


def attributes(portraits: Portraits) -> dict[str, Tensor]:
    """The attributes of n portraits: {control name: [n]} in the controls' units."""
    return {control.name: portraits.values[control.name].clone() for control in CONTROLS}


def edit(portraits: Portraits, changes: Mapping[str, float | Tensor]) -> Portraits:
    """The same people with attributes changed by the given amounts.

    `changes` maps control names to amounts in the controls' units, a number for all or a tensor [n]. Results are
    clamped to the control's range; a binary control is changed by +1 (on) or -1 (off). Everything else, the
    long-tail items included, stays as it is. Raises InputError for unknown names, wrong lengths, non-finite amounts.
    """
    updated = {}
    for name, amount in changes.items():
        control = _BY_NAME.get(name)
        if control is None:
            known = ", ".join(_BY_NAME)
            raise InputError(f"A portrait has no attribute {name!r}. It has: {known}.")
        value = portraits.values[name]
        step = torch.as_tensor(amount, dtype=value.dtype, device=value.device)
        if step.dim() > 1 or (step.dim() == 1 and step.shape[0] != len(portraits)):
            raise InputError(f"The change of {name!r} has shape {list(step.shape)}; give one number or one "
                             f"per portrait ({len(portraits)}).")
        if not torch.isfinite(step).all():
            raise InputError(f"The change of {name!r} is not a finite number.")
        value = (value + step).clamp(control.minimum, control.maximum)
        updated[name] = (value > 0.5).to(value.dtype) if control.kind == "binary" else value
    return portraits.replace(updated)
