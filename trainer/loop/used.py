"""Which networks a run trains with: their fingerprints are kept with its state and compared when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reganie_core.errors import MismatchError

NAMES = {"G": "generator", "E": "encoder", "teacher": "attributes", "features": "attributes",
         "readers": "more_attributes", "ensemble": "more_attributes", "editors": "editor"}
"""What the options call the networks that stages keep under other names."""


def networks_of(stage: Any) -> dict[str, str]:
    """Name -> fingerprint of every network of other files that a stage uses; several of one kind are joined by "+"."""
    found: dict[str, str] = {}
    for name, value in vars(stage).items():
        if name not in getattr(stage, "modules", {}) and (mark := _mark(value)):
            found[NAMES.get(name, name)] = mark
    return {**found, **(stage.fingerprints() if hasattr(stage, "fingerprints") else {})}


def _mark(value: Any, depth: int = 2) -> str:
    if isinstance(value, list | tuple) and depth:
        return "+".join(mark for item in value if (mark := _mark(item, depth - 1)))
    mark = getattr(value, "fingerprint", None)
    if isinstance(mark, str) and mark:
        return mark
    if depth and type(value).__module__.startswith("trainer.") and hasattr(value, "__dict__"):  # what holds networks
        return _mark(list(vars(value).values()), depth - 1)
    return ""


def changes(before: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """One sentence part for every network that is another one than before; silent where either is unknown."""
    return [f"{name} {ascii(before[name])[:40]} (now {mark!r})" for name, mark in now.items()
            if name in before and before[name] != mark]


def refuse(changed: list[str], options: Mapping[str, Any]) -> None:
    """Raises MismatchError that names the networks, their files, and both ways to go on."""
    names = {part.split(" ")[0] for part in changed}
    files = [f"{name}={value}" for name, value in options.items()
             if value and any(name.startswith(found) for found in names) and isinstance(value, str | list | tuple)]
    raise MismatchError(
        f"This run was trained with {', '.join(changed)}: another network lies under that name"
        f"{' (' + ', '.join(files) + ')' if files else ''}. Give the file that it was trained with, or start anew in "
        "another folder. To go on with the other network all the same: --resume --other-networks.")
