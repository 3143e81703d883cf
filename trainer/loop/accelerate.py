"""Switches of the backend that a training process may set for itself; the library sets none."""

from __future__ import annotations

import torch


def tune(device: str) -> None:
    """On CUDA: measure convolution algorithms once per shape, and let float32 products use TF32."""
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
