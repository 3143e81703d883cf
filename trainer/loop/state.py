"""Training state on disk: one safetensors file with every tensor, counters as JSON in its metadata.

Three names in the run's folder. A save writes `state.new` (to a temporary file, synced, renamed), and only when that
is whole renames `state` to `state.previous` and `state.new` to `state`. Whatever moment a process dies at, the newest
or the one before it is there and complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reganie_core.checkpoints import read_checkpoint, save_checkpoint
from reganie_core.checkpoints.ours import Checkpoint
from reganie_core.errors import CheckpointError, CorruptCheckpointError, MismatchError, NotFoundError

KIND = "training"


def names(path: Path) -> tuple[Path, Path, Path]:
    """(just written, newest, one before) of the state file `path`."""
    return path.with_name(f"{path.stem}.new.safetensors"), path, path.with_name(f"{path.stem}.previous.safetensors")


def exists(path: Path) -> bool:
    """Whether there is anything to resume from."""
    return newest(path) is not None


def sweep(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a run's folder."""
    for pattern in (".*.safetensors.*.tmp", ".part-*", ".probe*.tmp", ".preflight*"):
        for orphan in folder.glob(pattern):
            shutil.rmtree(orphan, ignore_errors=True) if orphan.is_dir() else orphan.unlink(missing_ok=True)


def newest(path: Path) -> Path | None:
    """The file that a resumed run begins with, None where there is none."""
    return next((name for name in names(path) if name.exists()), None)


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
        if int(index) >= len(parameters):
            raise MismatchError("The state has moments for more parameters than the optimiser; was it made with "
                                "another configuration?")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape and value.dim() > 0:
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[name] = value
    own = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": own["param_groups"]})


def save_state(path: Path, modules: dict[str, nn.Module], optimizers: dict[str, Optimizer],
               counters: dict[str, Any], config: dict[str, Any]) -> None:
    """Write everything that is needed to continue bit for bit; the old one is kept as the previous one."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors.update({f"module.{name}.{k}": v for k, v in module.state_dict().items()})
    for name, optimizer in optimizers.items():
        tensors.update({f"optimizer.{name}.{k}": v for k, v in optimizer_tensors(optimizer).items()})
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    new, newest, previous = names(path)
    save_checkpoint(new, KIND, config, tensors, {"counters": json.dumps(counters)})
    if newest.exists():
        os.replace(newest, previous)
    os.replace(new, newest)


def read_state(path: Path, say: Callable[[str], None] = lambda text: None) -> Checkpoint:
    """The newest state that is whole. Raises CorruptCheckpointError when none is, NotFoundError when there is none."""
    problems = []
    for name in names(path):
        try:
            return read_checkpoint(name, kind=KIND)
        except NotFoundError:
            continue
        except CheckpointError as error:
            problems.append(str(error))
            say(f"{name.name} cannot be used ({error}); trying the one before it")
    if not problems:
        raise NotFoundError(f"There is no {path.name} in {path.parent} to resume from.")
    raise CorruptCheckpointError(f"No state in {path.parent} can be read: {' '.join(problems)} Start anew in another "
                                 "folder, with init_from= the exported network if there is one.")


def apply_state(tensors: dict[str, Tensor], modules: dict[str, nn.Module], optimizers: dict[str, Optimizer],
                path: Path) -> None:
    """Fill modules and optimisers. Raises MismatchError for the state of another network."""
    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}

    for name, module in modules.items():
        try:
            module.load_state_dict(part(f"module.{name}."))
        except RuntimeError as error:
            raise MismatchError(f"{path} was made with another configuration of the network {name!r}; use the "
                                f"config.json beside it, or start anew in another folder. ({error})") from error
    for name, optimizer in optimizers.items():
        restore_optimizer(optimizer, part(f"optimizer.{name}."))


def load_state(path: Path, modules: dict[str, nn.Module], optimizers: dict[str, Optimizer]) -> dict[str, Any]:
    """`read_state` and `apply_state`; returns the counters."""
    checkpoint = read_state(path)
    apply_state(checkpoint.tensors, modules, optimizers, path)
    return json.loads(checkpoint.provenance["counters"])
