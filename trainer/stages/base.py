"""What the stages have in common: optimisers and their steps, averages, starting weights, precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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


def descend(stage: Any, name: str, loss: Tensor) -> Tensor:
    """One step of `stage.optimizers[name]` down `loss`; returns the gradients' norm, a detached 0-dim tensor.

    Gradients that are not finite leave weights and moments untouched: the fused optimiser is told so on the device,
    which costs no wait for it. The loop sees the norm among the terms, names it, and stops after ten in a row.
    """
    optimizer = stage.optimizers[name]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    optimizer.found_inf = (~norm.isfinite()).float()
    optimizer.step()
    return norm.detach()


def init_from(module: nn.Module, path: str, kind: str) -> None:
    """Start from an exported network (optimiser state starts anew). Names and shapes must agree."""
    if not path:
        return
    tensors = read_checkpoint(path, kind=kind).tensors
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise MismatchError(f"init_from={path} holds another architecture than this config: {error}") from error
