"""Edits as text, the same everywhere: ``age=+1, yaw=@-15 glasses=on``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ..errors import InputError
from .protocol import NAME, EditValue, Target

__all__ = ["format_edits", "parse_edits"]

MAX_TEXT = 4096
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_HELP = "write for example age=+1, yaw=-15, yaw=@-15 or glasses=on"


def parse_edits(text: str) -> dict[str, float | bool | Target]:
    """Read edits separated by commas, semicolons, spaces or new lines.

    ``name=+1`` and ``name=-15`` (also without a sign) are changes and become floats; ``name=@-15`` is an absolute
    value and becomes :class:`Target`; ``name=on|off`` becomes True or False. Empty text gives no edits. Which names
    exist is the editor's business.

    Raises:
        InputError: anything else, a name given twice, or more than 4096 characters.
    """
    if not isinstance(text, str):
        raise InputError(f"Edits must be a text, found {type(text).__name__}; {_HELP}.")
    if len(text) > MAX_TEXT:
        raise InputError(f"The edits have {len(text)} characters; at most {MAX_TEXT} are read.")
    edits: dict[str, float | bool | Target] = {}
    for item in re.split(r"[\s,;]+", re.sub(r"\s*=\s*", "=", text)):
        if not item:
            continue
        name, equals, value = item.partition("=")
        if not equals or not NAME.fullmatch(name):
            raise InputError(f"Cannot read the edit {repr(item)[:80]}; {_HELP}.")
        if name in edits:
            raise InputError(f"The control {name} is given twice; name each control once.")
        edits[name] = _value(name, value)
    return edits


def _value(name: str, text: str) -> float | bool | Target:
    if text.lower() in ("on", "off"):
        return text.lower() == "on"
    absolute = text.startswith("@")
    digits = text[1:] if absolute else text
    number = float(digits) if _NUMBER.fullmatch(digits) else math.nan
    if not math.isfinite(number):
        raise InputError(f"Cannot read the value {repr(text)[:80]} of {name}; {_HELP}.")
    return Target(number) if absolute else number


def format_edits(edits: Mapping[str, EditValue]) -> str:
    """The text that :func:`parse_edits` reads back to the same edits (scalars only).

    Raises:
        InputError: a value that is a tensor; a text holds one number per control.
    """
    parts = []
    for name, value in edits.items():
        if isinstance(value, bool):
            parts.append(f"{name}={'on' if value else 'off'}")
        elif isinstance(value, Target) and isinstance(value.value, int | float):
            parts.append(f"{name}=@{float(value.value)!r}")
        elif isinstance(value, int | float):
            parts.append(f"{name}={float(value):+}")
        else:
            raise InputError(f"{name}: only single numbers can be written as text.")
    return ", ".join(parts)
