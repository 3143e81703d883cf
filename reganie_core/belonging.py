"""Which networks belong together: a part names the networks that it was trained with by their fingerprints.

One rule: two fingerprints that are both known and differ are two networks; what is not known is never refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import MismatchError

__all__ = ["check_generator", "differ", "fingerprint_of", "trained_with"]


def fingerprint_of(network: Any) -> str | None:
    """The fingerprint of a network or editor, or the text itself; None when it is not known."""
    found = network if isinstance(network, str) else getattr(network, "fingerprint", None)
    return found if isinstance(found, str) and found else None


def trained_with(part: Any) -> dict[str, str]:
    """name -> fingerprint of the networks that a part, or its provenance, says it was trained with.

    The names are generator, encoder, editor and text_encoder. Whatever a file holds in that place, the result is a
    table of texts.
    """
    provenance = part if isinstance(part, Mapping) else getattr(part, "provenance", None)
    prints = provenance.get("fingerprints") if isinstance(provenance, Mapping) else None
    if not isinstance(prints, Mapping):
        return {}
    return {str(name): mark for name, mark in prints.items() if isinstance(mark, str) and mark}


def differ(wanted: Any, found: Any) -> bool:
    """Whether two networks, or fingerprints, are known and not the same."""
    first, second = fingerprint_of(wanted), fingerprint_of(found)
    return first is not None and second is not None and first != second


def check_generator(part: Any, generator: Any, what: str, advice: str | None = None) -> None:
    """Refuse a part that was trained for another generator; silent where either fingerprint is unknown.

    Args:
        part: a network or editor with ``provenance``, or the provenance itself.
        generator: a network with ``fingerprint``, or a fingerprint.
        what: how the message calls the part.

    Raises:
        MismatchError: the message names both generators.
    """
    wanted = trained_with(part).get("generator")
    if differ(wanted, generator):
        advice = advice or "Use the one made for it, or the generator it was trained with."
        raise MismatchError(f"The {what} was trained for generator {repr(wanted)[:40]}, but this is generator "
                            f"{fingerprint_of(generator)!r}. {advice}")
