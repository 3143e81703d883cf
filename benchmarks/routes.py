"""What a row consists of: several ways through the same work, measured in turns."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch

from reganie_core.errors import ReganieWarning
from reganie_core.networks import precision
from reganie_core.networks.winograd import direct_only

from .roof import bare_convolutions


@dataclasses.dataclass
class Route:
    """One way: ``run`` handles ``images`` pictures in ``dtype``.

    gflop is counted where ``count`` is set, or given. ``peak`` asks for its memory in a process of its own.
    """

    run: Callable[[], Any]
    images: int = 1
    dtype: str = "float32"
    count: bool = False
    peak: bool = False
    gflop: float | None = None
    prepare: Callable[[], Any] | None = None    # once, before anything is timed


@dataclasses.dataclass
class Case:
    """A row: its routes, pairs of them that must agree (with the tolerance), and figures that are no times."""

    routes: dict[str, Route]
    agree: tuple[tuple[str, str, float], ...] = ()
    figures: Callable[[], dict[str, float]] | None = None
    note: str = ""


def quiet(run: Callable[[], Any], dtype: str = "auto") -> Callable[[], Any]:
    """``run`` without gradients, with the dtype of activations that ``precision.use`` knows."""

    def wrapped() -> Any:
        with torch.inference_mode(), precision.use(dtype), warnings.catch_warnings():
            warnings.simplefilter("ignore", ReganieWarning)  # random networks invert nothing
            return run()

    return wrapped


def roof_of(run: Callable[[], Any], dtype: str) -> Route:
    """The bare direct convolutions and matrix products of ``run``, which are written down beforehand."""
    made: list[Callable[[], None]] = []

    def record() -> None:
        with precision.use(dtype), direct_only():
            made.append(bare_convolutions(run))

    return Route(lambda: made[0](), dtype=dtype, prepare=record)


def automatic() -> str:
    """The dtype that a network of 1024 px gets on this machine when nobody says."""
    with torch.no_grad(), precision.use("auto"):
        return str(precision.activation_dtype(torch.device("cpu"), 1024)).removeprefix("torch.")


def rates() -> dict[str, Route]:
    """The machine's own rates: a convolution of 256 channels on 64 x 64 pixels, and a product of 1024 x 1024."""
    routes = {}
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        x = torch.randn(1, 256, 64, 64).to(dtype).contiguous(memory_format=torch.channels_last)
        w = (torch.randn(256, 256, 3, 3) / 48).to(dtype).contiguous(memory_format=torch.channels_last)
        a = torch.randn(1024, 1024).to(dtype)
        conv = quiet(lambda x=x, w=w: torch.nn.functional.conv2d(x, w, padding=1))
        product = quiet(lambda a=a: a @ a)
        routes[f"rate conv {name}"] = Route(conv, dtype=name, gflop=2 * 9 * 256 * 256 * 64 * 64 / 1e9)
        routes[f"rate matmul {name}"] = Route(product, dtype=name, gflop=2 * 1024**3 / 1e9)
    return routes
