"""How far an edit may go: outside twice the trained range it is refused, outside the range it is said.

Two readings of the range, for a control of yaw from -40 to 40 degrees and one of beard from 0 to 1:

    absolute value    the range itself; twice is -80..80 and -0.5..1.5
    change            up to the end farther from 0, but no more than from end to end: 40 and 1; twice is 80 and 2

A file of somebody else's directions tells no range. What stands there is a suggestion for sliders (``guessed``), so a
change along it is refused only where nothing can be meant by it any more.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from ..errors import InputError, OutOfRangeWarning

__all__ = ["allowed", "check_range", "unlimited"]

TWICE, GUESSED = 2.0, 100.0
_limited: ContextVar[bool] = ContextVar("limited", default=True)


@contextmanager
def unlimited() -> Iterator[None]:
    """Values of any size within: for training, which draws random ones and must not wait for a device to look."""
    before = _limited.set(False)
    try:
        yield
    finally:
        _limited.reset(before)


def allowed(control: Any, absolute: bool = False, factor: float = 1.0) -> tuple[float, float]:
    """Lowest and highest value within ``factor`` times the range of a control (``minimum``, ``maximum``)."""
    low, high = float(control.minimum), float(control.maximum)
    if absolute:
        middle, half = (low + high) / 2.0, (high - low) / 2.0 * factor
        return middle - half, middle + half
    reach = min(max(abs(low), abs(high)), high - low) * factor
    return -reach, reach


def check_range(control: Any, value: float | Tensor, absolute: bool = False) -> None:
    """Warn of a value (or any of a tensor) outside a control's range.

    Args:
        control: with ``name``, ``minimum``, ``maximum`` and ``unit``.
        absolute: whether the value is one to reach; otherwise a change, or the strength of a text.

    Raises:
        InputError: outside twice the range.
    """
    if not _limited.get() or (isinstance(value, Tensor) and not value.numel()):
        return
    ends = (float(value.min()), float(value.max())) if isinstance(value, Tensor) else (float(value),) * 2
    trained = f"{control.minimum:g}..{control.maximum:g}" + (f" {control.unit}" if control.unit else "")
    widest = GUESSED if getattr(control, "guessed", False) and not absolute else TWICE
    for factor in (widest, 1.0):
        low, high = allowed(control, absolute, factor)
        slack = 1e-6 * (high - low)             # float32 of a value at the end
        found = next((v for v in ends if not low - slack <= v <= high + slack), None)
        if found is None:
            continue
        sentence = f"{control.name}={f'@{found:g}' if absolute else f'{found:+g}'} lies outside its range {trained}"
        if factor == widest:
            raise InputError(f"{sentence} by far; give {low:g} to {high:g}.")
        warnings.warn(f"{sentence}: what comes out may not be what was asked for.", OutOfRangeWarning, stacklevel=4)
