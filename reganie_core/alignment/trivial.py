"""The rows that any rectifier has to beat: what can be had without one. For tables and sheets."""

from __future__ import annotations

from torch import Tensor

from ..images import clamp, resize
from .flow import estimate_flow, warp

__all__ = ["PASTED", "PLAIN", "WARPED", "trivial_rows"]

PASTED, WARPED, PLAIN = "Y^ + dX pasted", "X0 warped", "Y^ + warped dX"


def trivial_rows(edited: Tensor, delta: Tensor, inversion: Tensor) -> dict[str, Tensor]:
    """{name: ``[B,3,h,h]``} from Y^, X^ ``[B,3,R,R]`` in [-1,1] and dX ``[B,3,h,h]``, h >= R.

    The difference pasted where it was; the photo moved along the flow from X^ to Y^; the difference moved so.
    """
    size = delta.shape[-1]
    flow = estimate_flow(inversion, edited)
    y_hat, x_hat = clamp(resize(edited, size)), clamp(resize(inversion, size))
    return {PASTED: clamp(y_hat + delta), WARPED: warp(clamp(x_hat + delta), flow),
            PLAIN: clamp(y_hat + warp(delta, flow))}
