"""Training state on disk: one safetensors file with every tensor, counters as JSON in its metadata.

Written to a temporary file in the same folder, synced and renamed, so a crash leaves the previous file whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reganie_core.checkpoints import read_checkpoint, save_checkpoint
from reganie_core.errors import MismatchError

KIND = "training"


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts by parameter position."""
    out = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            out[f"{index}.{name}"] = torch.as_tensor(value)
    return out


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Fill an optimiser; moments take the memory layout of their parameter, as the fused kernels require."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape and value.dim() > 0:
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[name] = value
    own = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": own["param_groups"]})


def save_state(path: Path, modules: dict[str, nn.Module], optimizers: dict[str, Optimizer],
               counters: dict[str, Any], config: dict[str, Any]) -> None:
    """Write everything that is needed to continue bit for bit."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors.update({f"module.{name}.{k}": v for k, v in module.state_dict().items()})
    for name, optimizer in optimizers.items():
        tensors.update({f"optimizer.{name}.{k}": v for k, v in optimizer_tensors(optimizer).items()})
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    save_checkpoint(path, KIND, config, tensors, {"counters": json.dumps(counters)})


def load_state(path: Path, modules: dict[str, nn.Module], optimizers: dict[str, Optimizer]) -> dict[str, Any]:
    """Fill modules and optimisers from `path`; returns the counters. Raises MismatchError for another network."""
    checkpoint = read_checkpoint(path, kind=KIND)

    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix):]: v for k, v in checkpoint.tensors.items() if k.startswith(prefix)}

    for name, module in modules.items():
        try:
            module.load_state_dict(part(f"module.{name}."))
        except RuntimeError as error:
            raise MismatchError(f"{path} was made with another configuration of the network {name!r}; use the "
                                f"config.json beside it, or start anew in another folder. ({error})") from error
    for name, optimizer in optimizers.items():
        restore_optimizer(optimizer, part(f"optimizer.{name}."))
    return json.loads(checkpoint.provenance["counters"])
