"""What the stages have in common: optimisers, averages, starting weights, precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import MismatchError

from ..config import StageConfig


def dtype_of(config: StageConfig) -> torch.dtype:
    return getattr(torch, config.dtype)


def adam(module: nn.Module, config: StageConfig, lazy_interval: int = 0) -> torch.optim.Adam:
    """Adam as the config says; with lazy regularisation every n steps lr and betas are scaled by n / (n + 1)."""
    ratio = lazy_interval / (lazy_interval + 1) if lazy_interval else 1.0
    betas = (config.beta1**ratio if config.beta1 else 0.0, config.beta2**ratio)
    return torch.optim.Adam(module.parameters(), lr=config.lr * ratio, betas=betas, eps=1e-8, fused=True)


def init_from(module: nn.Module, path: str, kind: str) -> None:
    """Start from an exported network (optimiser state starts anew). Names and shapes must agree."""
    if not path:
        return
    tensors = read_checkpoint(path, kind=kind).tensors
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise MismatchError(f"init_from={path} holds another architecture than this config: {error}") from error


def floats(terms: dict[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in terms.items()}
