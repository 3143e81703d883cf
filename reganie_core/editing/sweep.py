"""One control over a range: the strip of pictures by which people judge an edit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..errors import InputError
from ..latents import Latent
from .protocol import Control, Editor, Target, check_edits, edit_latent

__all__ = ["MAX_STEPS", "label", "steps", "sweep"]

MAX_STEPS = 256


def steps(start: float, stop: float, count: int) -> list[float]:
    """``count`` evenly spaced values from ``start`` to ``stop``, both included; one value is ``start``.

    Raises:
        InputError: ends that are not finite, or a count outside 1..256.
    """
    if not (math.isfinite(start) and math.isfinite(stop)):
        raise InputError(f"A sweep runs between two finite numbers, found {start} and {stop}.")
    if not 1 <= count <= MAX_STEPS:
        raise InputError(f"A sweep has 1 to {MAX_STEPS} steps, found {count}.")
    # Rounded, so that the middle of -15..15 is exactly 0, which changes nothing.
    return [round(start + (stop - start) * i / max(1, count - 1), 9) + 0.0 for i in range(count)]


def label(control: Control, value: float, absolute: bool = False) -> str:
    """What stands above one picture of the strip: ``yaw +15 degrees``, ``yaw = -15 degrees``."""
    number = f"= {value:g}" if absolute else f"{value:+g}" if value else "0"
    return " ".join(filter(None, (control.name, number, control.unit)))


def sweep(editor: Editor, latent: Latent, name: str, values: Sequence[float], absolute: bool = False) -> Latent:
    """Every code with every value of one control.

    Args:
        values: K changes in the control's unit, or K absolute values with ``absolute``.

    Returns:
        ``B*K`` codes, image-major: code i has the rows i*K..i*K+K-1, the order in which one difference of each
        picture serves K edits. Rows with a change of 0 are the codes themselves, bit for bit.

    Raises:
        InputError: unknown control, no or too many values, absolute values the editor or the range does not take.
    """
    if not 0 < len(values) <= MAX_STEPS:
        raise InputError(f"A sweep has 1 to {MAX_STEPS} steps, found {len(values)}.")
    many = latent.repeat_interleave(len(values))
    amounts = torch.tensor(list(values), dtype=many.ws.dtype, device=many.ws.device).repeat(latent.batch)
    edits = {name: Target(amounts) if absolute else amounts}
    check_edits(editor, edits)
    edited = edit_latent(editor, many, edits)
    if absolute:
        return edited
    return edited.with_ws(torch.where((amounts == 0)[:, None, None], many.ws, edited.ws))
