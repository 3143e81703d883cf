"""Where in a file its networks lie.

People save the same network at the root of a file, below ``state_dict``, ``params_ema`` or ``model``, or under names
that begin with ``g_ema.``, ``module.`` or ``encoder.module.``. So no dialect asks for a place: it names the tensors
that its network always has, and every table of the file is searched for a beginning that they share.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from .parts import Tensors
from .records import ArrayRecord, Record, StorageRecord, TensorRecord

MAX_TABLES = 256
MAX_ENTRIES = 10_000  # of one table, that are looked at for further tables
MAX_DEPTH = 4
MAX_NUMBERS = 1 << 16  # of an array that is written as lists
MAX_PLACES = 16  # where one kind of network is found in one file
# What torch puts around a network while it is trained: no network has parts of these names.
_WRAPPERS = frozenset({"module", "_orig_mod"})


@dataclass(frozen=True)
class Table:
    """One table of a file that holds tensors.

    holders: the tables around it and itself, the nearest first: where ``latent_avg`` and ``opts`` of its networks are.
    """

    path: tuple[str, ...]
    tensors: dict[str, TensorRecord]
    holders: tuple[dict[Any, Any], ...]


@dataclass(frozen=True)
class Place:
    """A network's tensors, under names without the beginning that they share."""

    table: Table
    prefix: str
    tensors: dict[str, TensorRecord]

    @property
    def averaged(self) -> bool:
        """Whether the place is named like averaged weights ("g_ema", "params_ema"), which draw the better pictures."""
        return "ema" in re.split(r"[^a-z]+", ".".join((*self.table.path, self.prefix)).lower())

    def entry(self, name: str) -> Any:
        """What the file says about this network under ``name``: beside its tensors, or in a table around them."""
        if self.prefix and (found := self.table.tensors.get(self.prefix + name)) is not None:
            return found
        return next((holder[name] for holder in self.table.holders if holder.get(name) is not None), None)


def tables(root: Any) -> list[Table]:
    """Every table of tensors, the outer ones first; each once, however often the file lists it."""
    found: list[Table] = []
    pending: list[tuple[tuple[str, ...], Any, tuple[dict[Any, Any], ...]]] = [((), root, ())]
    seen: set[int] = set()
    while pending and len(seen) < MAX_TABLES:
        path, value, around = pending.pop(0)
        if not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        if tensors := named_tensors(value):
            found.append(Table(path, tensors, (value, *around)))
        if len(path) < MAX_DEPTH:
            items = list(value.items())[:MAX_ENTRIES]
            pending += [((*path, name), item, (value, *around)) for name, item in items
                        if isinstance(name, str) and isinstance(item, dict)]
    return found


def named_tensors(table: dict[Any, Any]) -> dict[str, TensorRecord]:
    """The tensors and arrays of one table; the parts of names that wrappers of training have put in are taken out."""
    found = {name: tensor for name, value in table.items()
             if isinstance(name, str) and (tensor := tensor_of(value)) is not None}
    plain = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in found}
    if len(set(plain.values())) < len(plain):  # two networks, of which one is wrapped
        return found
    return {plain[name]: tensor for name, tensor in found.items()}


def tensor_of(value: Any) -> TensorRecord | None:
    if isinstance(value, ArrayRecord):
        return value.tensor
    return value if isinstance(value, TensorRecord) else None


def array_of(value: Any) -> TensorRecord | None:
    """An array in any form of saving it: a tensor, a numpy array, or lists of numbers; None for anything else."""
    return _listed(value) if isinstance(value, list | tuple) else tensor_of(value)


def _listed(value: list[Any] | tuple[Any, ...]) -> TensorRecord | None:
    shape: list[int] = []
    inner: Any = value
    while isinstance(inner, list | tuple) and inner and len(shape) < 4:
        shape.append(len(inner))
        inner = inner[0]
    if not shape or math.prod(shape) > MAX_NUMBERS:
        return None
    numbers: list[Any] = list(value)
    for size in shape[1:]:
        if not all(isinstance(row, list | tuple) and len(row) == size for row in numbers):
            return None
        numbers = [item for row in numbers for item in row]
    if not all(type(n) in (int, float) and abs(n) < 1e38 for n in numbers):
        return None
    raw = memoryview(struct.pack(f"<{len(numbers)}f", *numbers))
    stride = [1]
    for size in reversed(shape[1:]):
        stride.insert(0, stride[0] * size)
    return TensorRecord(StorageRecord(torch.float32, len(numbers), lambda: raw), 0, tuple(shape), tuple(stride))


def places(found: list[Table], *names: str) -> list[Place]:
    """Where all of these names lie under one beginning; averaged weights first, else in the order of the file."""
    return sorted(islice(_places(found, names), MAX_PLACES), key=lambda place: not place.averaged)


def _places(found: list[Table], names: tuple[str, ...]) -> Iterator[Place]:
    for table in found:
        for name in table.tensors:
            if name != names[0] and not name.endswith("." + names[0]):
                continue
            prefix = name[: len(name) - len(names[0])]
            if all(prefix + other in table.tensors for other in names):
                yield Place(table, prefix, below(table.tensors, prefix))


def below(tensors: Tensors, prefix: str) -> dict[str, TensorRecord]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def modules(root: Any) -> list[tuple[str, Record]]:
    """Pickled modules of a file with their names: the root itself, or entries of its tables; averaged ones first."""
    found: list[tuple[str, Record]] = []
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    seen: set[int] = set()
    while pending and len(seen) < MAX_TABLES:
        path, value, depth = pending.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Record):
            found.append((path, value))
        elif isinstance(value, dict) and depth < MAX_DEPTH:
            pending += [(f"{path}.{name}", item, depth + 1) for name, item in list(value.items())[:MAX_ENTRIES]
                        if isinstance(name, str) and isinstance(item, dict | Record)]
    return sorted(found, key=lambda item: "ema" not in re.split(r"[^a-z]+", item[0].lower()))
