"""Edit directions of others: e4e's ``.pt``, boundaries in ``.npy``, tables of named ones, GANSpace, rosinality's SeFa.

They become our ``directions`` kind: ``direction.<name>`` [1 or num_ws, w_dim], the change of w per unit of the control.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import torch

from ..errors import UnsupportedCheckpointError
from .parts import Mapped, Part, attempt
from .records import TensorRecord
from .tables import array_of, tables

NAME = "direction"
GANSPACE = "ganspace"
SEFA = "sefa"
MAX_COMPONENTS = 512
W_DIM = 512  # of every public StyleGAN2: a flat row of 18 x 512 numbers does not say so
_FLAT_ROWS = range(8, 21, 2)  # style vectors of generators of 32 to 2048 px
# Keys that say no more than that there is a direction: its file's name says more.
_PLAIN_KEYS = frozenset({"boundary", "direction", "delta", "edit", "normal", "vector", "w", "weight"})


_INTERFACEGAN = re.compile(r"(stylegan|pggan)_.+_boundary", re.IGNORECASE)


def find(root: Any, stem: str) -> list[Part]:
    """Directions, or GANSpace's or SeFa's components, or nothing; ``stem`` (of the file name) names a single one."""
    parts = _find(root, stem)
    if parts and _INTERFACEGAN.fullmatch(stem):
        parts[0].cautions.append(
            "The file is named like one of InterFaceGAN's published boundaries, which are for StyleGAN1 and PGGAN, "
            "some of them in Z: in a StyleGAN2 they mean nothing. Use directions that were made for your generator."
        )
    return parts


def _find(root: Any, stem: str) -> list[Part]:
    single = array_of(root)
    if single is not None:
        return [_named({stem: single}, [])] if size_of(single) else []
    for table in tables(root):
        tensors = table.tensors
        if {"comp", "mean", "std"} <= tensors.keys():
            return [attempt("directions", GANSPACE, lambda t=tensors: _ganspace(t))]
        if "eigvec" in tensors and len(tensors["eigvec"].shape) == 2:
            return [attempt("directions", SEFA, lambda t=tensors: _sefa(t["eigvec"]))]
    for holder in _holders(root):
        arrays = {key: array_of(value) for key, value in holder.items() if isinstance(key, str)}
        found = {key: array for key, array in arrays.items() if array is not None and size_of(array)}
        # A table with other arrays in it is some network.
        others = [array for array in arrays.values() if array is not None and not size_of(array) and array.numel > 1]
        if found and not others and _fit_together(found):
            if len(found) == 1 and next(iter(found)).lower() in _PLAIN_KEYS:
                found = {stem: next(iter(found.values()))}
                arrays = {}
            return [_named(found, [key for key in arrays if key not in found])]
    return []


def _holders(root: Any) -> list[dict[Any, Any]]:
    """The root, and the tables in it."""
    if not isinstance(root, dict):
        return []
    tables_in = [root, *(value for value in list(root.values())[:MAX_COMPONENTS] if isinstance(value, dict))]
    return [table for table in tables_in if len(table) <= MAX_COMPONENTS]


def size_of(record: TensorRecord) -> tuple[int, int] | None:
    """(rows, w_dim) of what can be a direction, also of one that lies flat, all rows behind each other."""
    shape = record.shape
    if not record.dtype.is_floating_point or not 1 <= len(shape) <= 3 or not record.numel:
        return None
    rows, width = record.numel // shape[-1], shape[-1]
    if rows == 1 and width % W_DIM == 0 and width // W_DIM in _FLAT_ROWS:
        return width // W_DIM, W_DIM
    return (rows, width) if rows <= 64 and 16 <= width <= 4096 else None


def _fit_together(found: dict[str, TensorRecord]) -> bool:
    sizes = {size for array in found.values() if (size := size_of(array))}
    return len({width for _, width in sizes}) == 1 and len({rows for rows, _ in sizes} - {1}) <= 1


def control_name(stem: str, otherwise: str = "direction") -> str:
    """A short plain name from a file name or key, in any script: it becomes an edit's key and a label."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFC", stem)).strip("_").lower()[:64] or otherwise


def _control(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "numeric",
        "minimum": -5.0,
        "maximum": 5.0,
        "unit": "",
        "default": 0.0,
        "description": description,
        "guessed": True,
    }


def _named(found: dict[str, TensorRecord], left_out: list[str]) -> Part:
    part = Part("directions", NAME, {"controls": [], "space": "w+"})
    for key, array in found.items():
        plain = control_name(key)
        name, number = plain, 1
        while f"direction.{name}" in part.tensors:
            number += 1
            name = f"{plain[:58]}_{number}"
        part.config["controls"].append(_control(name, "Linear direction; the unit is its own length."))
        size = size_of(array)
        assert size is not None
        part.add(f"direction.{name}", array, size)
    if left_out:
        part.notes.append(f"Not read as directions: {', '.join(ascii(key[:40]) for key in left_out[:5])}.")
    return part


def _sefa(vectors: TensorRecord) -> Part:
    """rosinality's ``closed_form_factorization.py``: the columns of ``eigvec``, the strongest first."""
    width, count = vectors.shape
    if not (16 <= width <= 4096 and count >= 1 and vectors.dtype.is_floating_point):
        raise UnsupportedCheckpointError(
            f"SeFa's eigvec of shape {list(vectors.shape)} is no table of directions. Get the original file."
        )
    names = [f"sefa{i:02d}" for i in range(min(count, MAX_COMPONENTS))]
    controls = [_control(name, "SeFa direction of the generator; the unit is its own length.") for name in names]
    part = Part("directions", SEFA, {"controls": controls, "space": "w+"})
    for i, name in enumerate(names):
        column = TensorRecord(vectors.storage, vectors.offset + i * vectors.stride[1], (width,), (vectors.stride[0],))
        part.tensors[f"direction.{name}"] = Mapped(column, (1, width))
    return part


def _ganspace(tensors: dict[str, TensorRecord]) -> Part:
    comp, mean, std = tensors["comp"], tensors["mean"], tensors["std"]
    width = comp.shape[-1] if comp.shape else 0
    count = comp.numel // width if width else 0
    fitting = len(comp.shape) >= 2 and comp.shape[0] == count and std.numel == count and mean.numel == width
    if not fitting or not 1 <= count <= MAX_COMPONENTS:
        raise UnsupportedCheckpointError(
            f"GANSpace tables of shapes {list(comp.shape)}, {list(mean.shape)}, {list(std.shape)} do not fit together."
        )
    names = [f"pc{i:02d}" for i in range(count)]
    controls = [_control(name, "GANSpace principal component; the unit is one standard deviation.") for name in names]
    part = Part("directions", GANSPACE, {"controls": controls, "space": "w+"})
    for i, name in enumerate(names):
        row = TensorRecord(comp.storage, comp.offset + i * comp.stride[0], (width,), (comp.stride[-1],))
        part.tensors[f"direction.{name}"] = Mapped(row, (1, width), _scale(std, i))
    return part


def _scale(std: TensorRecord, index: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """GANSpace stores unit components and their standard deviations apart."""
    return lambda row: row * std.read().flatten()[index].float()
