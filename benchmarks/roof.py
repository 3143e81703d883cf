"""The roof: how long the network's own bare convolutions take, and nothing else.

A real forward pass is watched; every dense convolution and matrix product is written down with its shapes, strides
and dtype, and replayed on tensors of that layout. Depthwise filters (FIR, blur) and everything elementwise are not
part of the roof: they are what a network pays on top.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

aten = torch.ops.aten


@dataclasses.dataclass(frozen=True)
class Layout:
    """A tensor without its values."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def make(self) -> Tensor:
        """Normal numbers in that layout."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=self.device).normal_()


class Recorder(TorchDispatchMode):
    """Collects the dense convolutions and matrix products that run inside it as (operation, arguments)."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable, tuple]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        dense = func is aten.convolution.default and args[8] == 1
        if dense or func in (aten.mm.default, aten.addmm.default, aten.bmm.default):
            self.calls.append((func, tree_map(self._layout, args)))
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _layout(value: Any) -> Any:
        if isinstance(value, Tensor):
            return Layout(tuple(value.shape), tuple(value.stride()), value.dtype, value.device)
        return value


def bare_convolutions(forward: Callable[[], Any]) -> Callable[[], None]:
    """A function that runs every dense convolution of ``forward`` once, in order, on tensors made beforehand."""
    # Inference mode would hide the convolutions behind composite operations.
    with torch.inference_mode(False), torch.no_grad(), Recorder() as recorder:
        forward()
    made: dict[Layout, Tensor] = {}

    def tensor(value: Any) -> Any:
        if isinstance(value, Layout):
            if value not in made:
                made[value] = value.make()
            return made[value]
        return value

    calls = [(func, tree_map(tensor, args)) for func, args in recorder.calls]

    def replay() -> None:
        with torch.inference_mode():
            for func, args in calls:
                func(*args)

    return replay
