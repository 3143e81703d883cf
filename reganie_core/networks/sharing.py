"""What the pictures of one batch share although they are computed one after the other: prepared weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor, nn

__all__ = ["once", "sharing"]

_KNOWN: ContextVar[dict[tuple[str, int], tuple[Tensor, Tensor]] | None] = ContextVar("known", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """What :func:`once` makes inside is made once."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def once(what: str, weight: Tensor, make: Callable[[], Tensor]) -> Tensor:
    """``make()``, or what it made before for this ``weight`` (the very object) inside :func:`sharing`.

    Only a network's own parameters are remembered: whatever was computed from them belongs to one picture.
    """
    known = _KNOWN.get()
    if known is None or not isinstance(weight, nn.Parameter):
        return make()
    key = what, id(weight)
    if key not in known:
        known[key] = weight, make()  # the weight is kept, so that nothing else can get its id
    return known[key][1]
