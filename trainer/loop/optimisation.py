"""What the stages have in common: optimisers and their steps, shares of a batch, timers, starting weights."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import MismatchError

from . import distributed
from .config import StageConfig

#: Steps from one R1 penalty to the next ("lazy regularisation" of StyleGAN2).
LAZY_INTERVAL = 16


def dtype_of(config: StageConfig) -> torch.dtype:
    return getattr(torch, config.dtype)


def adam(module: nn.Module, config: StageConfig, lazy_interval: int = 0) -> torch.optim.Adam:
    """Adam as the config says; with lazy regularisation every n steps lr and betas are scaled by n / (n + 1)."""
    ratio = lazy_interval / (lazy_interval + 1) if lazy_interval else 1.0
    betas = (config.beta1**ratio if config.beta1 else 0.0, config.beta2**ratio)
    return torch.optim.Adam(module.parameters(), lr=config.lr * ratio, betas=betas, eps=1e-8, fused=True)


def timed(stage: Any, part: str) -> AbstractContextManager[None]:
    """`with timed(self, "data"):` counts the time of a part of the step; nothing without a loop around the stage."""
    clock = getattr(stage, "clock", None)
    return clock(part) if clock is not None else nullcontext()


def shares(config: StageConfig, batch: int | None = None, group: int = 1) -> list[Tensor]:
    """This process's rows of a batch, as `config.accumulate` micro-batches; see `distributed.shares`."""
    return distributed.shares(config.batch if batch is None else batch, group, config.accumulate)


def mean_terms(terms: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each term's mean over the micro-batches."""
    return {name: torch.stack([t[name].detach() for t in terms]).mean(dim=0) for name in terms[0]} \
        if len(terms) > 1 else {name: value.detach() for name, value in terms[0].items()}


class LossScale(nn.Module):
    """Dynamic loss scaling for float16, one scale per optimiser, saved with the networks.

    The loss is multiplied by a scale so that small gradients survive float16; a step whose gradients overflow is
    skipped and the scale halved, 2000 good steps double it (Micikevicius et al. 2018).
    """

    def __init__(self, names: Iterable[str], start: float = 2.0**12) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(f"scale_{name}", torch.tensor(start))
            self.register_buffer(f"steps_{name}", torch.tensor(0, dtype=torch.int32))

    def scale(self, name: str) -> Tensor:
        return getattr(self, f"scale_{name}")

    def update(self, name: str, found_inf: Tensor) -> None:
        torch._amp_update_scale_(self.scale(name), getattr(self, f"steps_{name}"), found_inf, 2.0, 0.5, 2000)


def descend(stage: Any, name: str, loss: Tensor | Iterable[Tensor]) -> Tensor:
    """One step of `stage.optimizers[name]` down `loss`; returns the gradients' norm, a detached 0-dim tensor.

    `loss` is this process's loss, or an iterable that computes the losses of its `config.accumulate` micro-batches one
    after another (each a mean over its own, equally large rows), so that one graph at a time is in memory. Gradients
    are averaged over micro-batches and processes.

    Gradients that are not finite leave weights and moments untouched: the fused optimiser is told so on the device,
    which costs no wait for it. The loop sees the norm among the terms, names it, and stops after ten in a row.
    """
    optimizer = stage.optimizers[name]
    optimizer.zero_grad(set_to_none=True)
    scaler: LossScale | None = stage.modules.get("loss_scale")
    factor = scaler.scale(name) if scaler is not None else 1.0
    pieces = 1 if isinstance(loss, Tensor) else stage.config.accumulate
    for part in [loss] if isinstance(loss, Tensor) else loss:
        (part * factor / pieces if pieces > 1 or scaler is not None else part).backward()
        del part                    # its graph goes before the next one is made
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    distributed.average_gradients(parameters)
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    found_inf = (~norm.isfinite()).float()
    optimizer.found_inf = found_inf
    if scaler is not None:
        optimizer.grad_scale, norm = factor.clone(), norm / factor
    optimizer.step()
    if scaler is not None:
        scaler.update(name, found_inf)
    return norm.detach()


def compile_networks(stage: Any) -> None:
    """`torch.compile` for what a step runs, in place: names of weights stay. Discriminators stay as they are, because
    R1 differentiates twice, which compiled graphs do not do."""
    trained = [stage.modules[name] for name in stage.optimizers if name != "D"]
    frozen = [getattr(stage, name, None) for name in ("G", "E")]
    for network in {id(n): n for n in (*trained, *frozen) if n is not None}.values():
        parts = [network.synthesis] if hasattr(network, "synthesis") else [network]
        for part in parts:
            part.compile()


def init_from(module: nn.Module, path: str, kind: str) -> None:
    """Start from an exported network (optimiser state starts anew). Names and shapes must agree."""
    if not path:
        return
    tensors = read_checkpoint(path, kind=kind).tensors
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise MismatchError(f"init_from={path} holds another architecture than this config: {error}") from error
