"""The types on the wires. One socket type per kind, all our own, so wires of other packs are refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..reganie_core.errors import MismatchError, NotFoundError
from ..reganie_core.kinds import KINDS, PARTS

GENERATOR, ENCODER, DYSTYLE, STYLECLIP, DIRECTIONS, RECTIFIER = (str(KINDS[part].socket) for part in PARTS)
LATENT = "REGANIE_LATENT"
DELTA = "REGANIE_DELTA"  # a reganie_core.Delta
FACE = "REGANIE_FACE"
SLIDER_EDITOR = f"{DYSTYLE},{DIRECTIONS}"  # ComfyUI connects either

@dataclass(frozen=True)
class Missing:
    """What a domain without a certain network puts on the wire: an error only for a node that uses it."""

    kind: str
    domain: str

    def error(self) -> NotFoundError:
        """The sentence for the node that needed it."""
        loader = KINDS[self.kind].node
        advice = f"use {loader} for this input, or a domain that has one" if loader else "use a domain that has one"
        return NotFoundError(f"The domain {self.domain!r} has no {self.kind}; {advice}.")


def check_wire(value: Any, *kinds: str) -> Any:
    """Return what came over a wire, or say in one sentence why it cannot be used."""
    if isinstance(value, Missing):
        raise value.error()
    found = getattr(value, "kind", None)
    if found not in kinds:
        what = f"{found} ({value.label})" if isinstance(found, str) else f"something of type {type(value).__name__}"
        raise MismatchError(f"This input takes one {' or '.join(kinds)}; found {what}. Connect the matching loader.")
    return value
