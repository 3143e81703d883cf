"""What comes over the wires, looked at once for every node and before it runs.

ComfyUI checks types and limits of what is typed into a node; a widget that was made an input takes anything, and wires
of our own types take whatever another pack puts on them. What is wrong is said in one sentence, never by torch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from functools import cache, wraps
from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from ._inputs import Names
from ._sockets import DELTA, FACE, LATENT, check_wire

InputError = rc.errors.InputError
LONGEST = 1 << 20  # characters
SHOWN = 60


def guard(cls: type) -> None:
    """Let a node's function look at its inputs first; a class with several ids is wrapped once."""
    plain = getattr(cls, cls.FUNCTION)
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    def checked(self: Any, **inputs: Any) -> Any:
        check(cls, inputs)
        return plain(self, **inputs)

    setattr(cls, cls.FUNCTION, checked)


def check(cls: type, inputs: dict[str, Any]) -> None:
    """Raise for the first input of a node that is not what its type says.

    Raises:
        InputError: nothing on a wire that must have something, another type, a number that is not finite or outside
            its limits, a choice that is not on its list, codes that are not finite.
        MismatchError, NotFoundError: see ``_sockets.check_wire``.
    """
    for name, kind, options, required in _specs(cls):
        value = inputs.get(name)
        if name not in inputs or (value is None and not required):
            continue
        if value is None:
            raise InputError(f"Nothing came over the wire of {name}; connect a node that gives one, or type a value.")
        if kind in CHECKS:
            CHECKS[kind](name, value, options)
        elif kind.startswith("REGANIE_"):
            check_wire(value, *(part.removeprefix("REGANIE_").lower() for part in kind.split(",")))


@cache
def _specs(cls: type) -> tuple[tuple[str, str, dict[str, Any], bool], ...]:
    return tuple(sorted(_list(cls), key=lambda spec: spec[1] in CHECKS))  # a missing network is the clearest sentence


def _list(cls: type) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    # Lists of files change, and the node that names such an input in VALIDATE_INPUTS looks after it by itself.
    own = inspect.signature(cls.VALIDATE_INPUTS).parameters if hasattr(cls, "VALIDATE_INPUTS") else {}
    groups = cls.INPUT_TYPES()
    for group in ("required", "optional"):
        for name, (kind, options) in groups.get(group, {}).items():
            beside = kind == "COMBO" and (name in own or isinstance(options["options"], Names))
            limits = {key: options[key] for key in ("min", "max", "options") if key in options and not beside}
            yield name, kind, limits, group == "required" and not beside


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool) else f"something of type {type(value).__name__}"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _number(name: str, value: Any, options: dict[str, Any]) -> None:
    low, high = options.get("min", -math.inf), options.get("max", math.inf)
    if isinstance(value, str) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{name} takes a finite number from {low:g} to {high:g}; found {_shown(value)}.")


def _whole(name: str, value: Any, options: dict[str, Any]) -> None:
    _number(name, value, options)
    if value != int(value):
        raise InputError(f"{name} takes a whole number; found {_shown(value)}.")


def _text(name: str, value: Any, options: dict[str, Any]) -> None:
    if not isinstance(value, str) or len(value) > LONGEST:
        raise InputError(f"{name} takes a text of at most {LONGEST} characters; found {_shown(value)}.")


def _choice(name: str, value: Any, options: dict[str, Any]) -> None:
    known = options.get("options")
    if known is not None and value not in known:
        raise InputError(f"{name} is one of {', '.join(map(str, known))}; found {_shown(value)}.")


def _flag(name: str, value: Any, options: dict[str, Any]) -> None:
    if not isinstance(value, bool | int):
        raise InputError(f"{name} is on or off; found {_shown(value)}.")


def _tensor(name: str, value: Any, what: str, axes: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor) or value.ndim not in axes or 0 in value.shape:
        found = f"the shape {list(value.shape)}" if isinstance(value, Tensor) else _shown(value)
        raise InputError(f"{name} takes {what}; found {found}. Connect a node that gives one.")


def _picture(name: str, value: Any, options: dict[str, Any]) -> None:
    _tensor(name, value, "an IMAGE [B,H,W,C] with at least one picture", (4,))


def _mask(name: str, value: Any, options: dict[str, Any]) -> None:
    _tensor(name, value, "a MASK [B,H,W] with at least one mask", (3,))


def _difference(name: str, value: Any, options: dict[str, Any]) -> None:
    if not isinstance(value, rc.Delta):
        raise InputError(f"{name} takes a difference from Compute Delta; found {_shown(value)}. Connect that node.")


def _latent(name: str, value: Any, options: dict[str, Any]) -> None:
    if not isinstance(value, rc.Latent):
        raise InputError(
            f"{name} takes latent codes of this pack; found {_shown(value)}. Connect an invert node, Sample Latent, "
            "Load Latent or an edit node."
        )
    if not bool(value.ws.isfinite().all()):
        raise InputError(f"The codes of {name} hold NaN or infinite values; look at the node that made them.")


def _face(name: str, value: Any, options: dict[str, Any]) -> None:
    check_wire(value, "face")


CHECKS: dict[str, Callable[[str, Any, dict[str, Any]], None]] = {
    "INT": _whole, "FLOAT": _number, "STRING": _text, "BOOLEAN": _flag, "COMBO": _choice,
    "IMAGE": _picture, "MASK": _mask, LATENT: _latent, DELTA: _difference, FACE: _face,
}
