"""Edit directions of others: e4e's ``.pt``, InterfaceGAN's ``.npy``, GANSpace's table.

They become our ``directions`` kind: ``direction.<name>`` [1 or num_ws, w_dim], the change of w per unit of the control.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch

from ..errors import UnsupportedCheckpointError
from .parts import Mapped, Part, tensors_of
from .records import ArrayRecord, TensorRecord

NAME = "direction"
GANSPACE = "ganspace"
MAX_COMPONENTS = 512


def find(root: Any, stem: str) -> list[Part]:
    """A single direction, or GANSpace's components, or nothing; ``stem`` (of the file name) names the control."""
    if isinstance(root, ArrayRecord) and root.tensor is not None:
        root = root.tensor
    if isinstance(root, TensorRecord):
        return [_single(root, control_name(stem))] if is_direction(root) else []
    if not isinstance(root, dict):
        return []
    root = {k: v.tensor if isinstance(v, ArrayRecord) else v for k, v in root.items() if isinstance(k, str)}
    tensors = tensors_of(root)
    if {"comp", "mean", "std"} <= tensors.keys():
        return [_ganspace(tensors)]
    return []


def is_direction(record: TensorRecord) -> bool:
    shape = record.shape
    rows = math.prod(shape[:-1]) if shape else 0
    return record.dtype.is_floating_point and 1 <= len(shape) <= 3 and 1 <= rows <= 64 and 16 <= shape[-1] <= 4096


def control_name(stem: str) -> str:
    """A short plain name from a file name: it becomes an edit's key and a label."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_").lower()[:64] or "direction"


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


def _single(record: TensorRecord, name: str) -> Part:
    width = record.shape[-1]
    rows = record.numel // width
    config = {"controls": [_control(name, "Linear direction; the unit is its own length.")], "space": "w+"}
    part = Part("directions", NAME, config)
    part.add(f"direction.{name}", record, (rows, width))
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
