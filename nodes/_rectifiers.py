"""Which rectifier Rectify uses: a chosen one, or by itself the one that was trained for this generator, else carry."""

from __future__ import annotations

from functools import cache
from typing import Any

from .. import reganie_core as rc
from . import _choices, _models
from ._sockets import check_wire

AUTO, CARRY = "auto", "carry"


def names() -> list[str]:
    """The list on Rectify: auto first."""
    return [AUTO, CARRY, *_choices.files("rectifier")]


@cache
def carry() -> _models.Model:
    """Carrying without a network, as a wire carries rectifiers."""
    value = rc.load_rectifier(CARRY)
    return _models.Model("rectifier", rc.rectification.name_of(value), value)


def choose(wire: Any, name: str, delta: rc.Delta) -> _models.Model:
    """What is connected, else what ``name`` means for this difference.

    Raises:
        MismatchError, NotFoundError, CheckpointError: the wire or the file cannot be used.
    """
    if wire is not None:
        return check_wire(wire, "rectifier")
    if name == AUTO:
        name = trained_for(delta) or CARRY
    return carry() if name == CARRY else _choices.load("rectifier", name)


def trained_for(delta: rc.Delta) -> str | None:
    """The entry of the list that was trained for the generator of ``delta``, one with its encoder first; else None.

    A domain's rectifier counts only where the domain itself prefers it to carrying.
    """
    if delta.generator is None:
        return None
    found = []
    for name in _choices.files("rectifier"):
        prints = _choices.fingerprints_of("rectifier", name)
        if prints.get("generator") == delta.generator and not _domain_carries(name):
            found.append((prints.get("encoder") != delta.encoder, name))
    return min(found, default=(True, None), key=lambda entry: entry[0])[1]


def _domain_carries(name: str) -> bool:
    """Whether the domain that a rectifier's file belongs to, if any, says that carrying is better."""
    try:
        folder = _choices.path_of("rectifier", name).parent
        return rc.domains.load_manifest(folder)[1].get("default_rectifier") == "carry"
    except rc.ReganieError:
        return False


def state(name: str) -> str:
    """For IS_CHANGED: changes when the file is replaced, or with auto when any rectifier comes or goes."""
    if name == AUTO:
        return ";".join(f"{entry}:{_choices.state('rectifier', entry)}" for entry in _choices.files("rectifier"))
    return name if name == CARRY else _choices.state("rectifier", name)
