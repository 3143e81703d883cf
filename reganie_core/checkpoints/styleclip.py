"""StyleCLIP's mappers: ``{"state_dict": mapper.* [+ decoder.*], "opts"}``, or the ``mapper.*`` tensors alone."""

from __future__ import annotations

import re
from typing import Any

from ..errors import CorruptCheckpointError
from .parts import Part, attempt, need
from .tables import MAX_PLACES, below, tables

NAME = "styleclip"
_LEVELS = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}
_FIRST = "mapping.1.weight"
_MAPPER = re.compile(r"((?:[^.]+\.){0,3}?mapper\.)")


def find(root: Any) -> list[Part]:
    """The mapper of a file, or nothing. Which kind it is shows in its tensors; the options are not needed."""
    for table in tables(root):
        prefixes = dict.fromkeys(match[1] for name in table.tensors if (match := _MAPPER.match(name)))
        for prefix in list(prefixes)[:MAX_PLACES]:
            tensors = below(table.tensors, prefix)
            if any(name.endswith(_FIRST) for name in tensors):
                return [attempt("styleclip", NAME, lambda t=tensors: _mapper(t))]
    return []


def _mapper(tensors: dict[str, Any]) -> Part:
    part = Part("styleclip", NAME, _config(tensors))
    for name, record in tensors.items():
        part.add(name, record, record.shape)
    return part


def _config(tensors: dict[str, Any]) -> dict[str, Any]:
    found = (re.fullmatch(r"mapper_(\d{1,2})\.mapping\.1\.weight", name) for name in tensors)
    indices = sorted(int(match[1]) for match in found if match)
    if indices:
        widths = [need(tensors, f"mapper_{i}.{_FIRST}", 2).shape[0] for i in indices]
        return {"mode": "mapper", "type": "StyleSpaceMapper", "indices": indices, "widths": widths}
    if f"mapping.{_FIRST}" in tensors:
        return {"mode": "mapper", "type": "SingleMapper", "w_dim": need(tensors, f"mapping.{_FIRST}", 2).shape[0]}
    levels = {level: f"{name}.{_FIRST}" in tensors for level, name in _LEVELS.items()}
    present = [name for level, name in _LEVELS.items() if levels[level]]
    if not present:
        raise CorruptCheckpointError("The file holds a StyleCLIP mapper of no known type (levels, single, StyleSpace).")
    return {"mode": "mapper", "type": "LevelsMapper", "w_dim": need(tensors, f"{present[0]}.{_FIRST}", 2).shape[0],
            **levels}
