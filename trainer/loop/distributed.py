"""Several processes as one: torchrun's environment in, the same training out.

There is no wrapper around the networks. Every process holds a replica, draws the random numbers of the whole batch,
computes its own rows of it, and `average_gradients` makes the gradients those of the whole batch before each step of
an optimiser. A penalty that needs gradients of gradients (R1) is therefore exact: it is differentiated locally, twice,
and only the result is averaged.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn
from torch.optim import Optimizer

from reganie_core.cli.common import check_device
from reganie_core.errors import InputError, MismatchError

# Long, because rendering or listing data on the first process can take a while. A worker that dies is noticed by
# torchrun at once, whatever stands here.
PATIENCE = timedelta(hours=2)


def setup(device: str) -> str:
    """Join the group that torchrun describes in the environment; returns this process's device.

    `device` is "auto", "cpu", "cuda", "cuda:1", "mps" ... Without torchrun nothing is joined.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device={device}, but this PyTorch sees no CUDA device; use device=auto or device=cpu.")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized()
    if several and device == "cuda":
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    check_device(device)
    if several:
        cuda = device.startswith("cuda")
        if cuda:
            torch.cuda.set_device(torch.device(device))
        number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group("nccl" if cuda else "gloo", store=_fresh_store(number, count), rank=number,
                                world_size=count, timeout=PATIENCE)
    return device


def _fresh_store(number: int, count: int) -> dist.Store:
    """The launcher's key-value store under a prefix that only the processes of this attempt know.

    torchrun keeps one store for all its restarts, in which the addresses of workers that died are still written; and
    the launchers of several machines count restarts differently. So the first process names the attempt, and every
    other one asks for the name: it writes a question only it knows and takes no answer to any other.
    """
    own = not _launcher_keeps_store() and number == 0
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), count, own, PATIENCE,
                          wait_for_workers=False, multi_tenant=True)
    question = uuid.uuid4().hex
    if number > 0:
        store.set(f"ask/{number}", question)
        attempt = store.get(f"answer/{question}").decode()          # waits
        store.set(f"here/{attempt}/{number}", "")
        return dist.PrefixStore(attempt, store)
    missing, deadline = set(range(1, count)), time.monotonic() + PATIENCE.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"ask/{other}"]):
                store.set(f"answer/{store.get(f'ask/{other}').decode()}", question)
        missing = {other for other in missing if not store.check([f"here/{question}/{other}"])}
        if missing and time.monotonic() > deadline:
            raise InputError(f"The processes {sorted(missing)} did not start; look at their machines' output.")
        time.sleep(0.02)
    return dist.PrefixStore(question, store)


def _launcher_keeps_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process writes files and status lines."""
    return rank() == 0


def shares(batch: int, group: int = 1, pieces: int = 1) -> list[Tensor]:
    """The rows of the whole batch that this process computes, in `pieces` micro-batches of equal size.

    The discriminator takes its minibatch standard deviation over strided groups: with M = batch / group, sample i
    belongs to group i mod M (`minibatch_std` reshapes to [group, M]). A share holds whole groups, ordered so that the
    same reshape inside the share finds the same groups again: for every k < group the rows k M + j of its own j.

    Args:
        batch: size of the whole batch.
        group: size of the discriminator's groups (4), 1 for a network that looks at samples one by one.

    Raises:
        InputError: the groups cannot be dealt out evenly.
    """
    group = next(g for g in range(min(group, batch), 0, -1) if batch % g == 0)
    groups, parts = batch // group, world() * pieces
    if groups % parts:
        raise InputError(
            f"A batch of {batch} in groups of {group} cannot be dealt out evenly to {world()} processes with "
            f"{pieces} micro-batches each: batch must be a multiple of {group * parts}. Choose batch={group * parts} "
            f"(the batch counts all processes together), fewer processes, or a smaller accumulate.")
    table = rearrange(torch.arange(batch), "(group part n) -> part (group n)", group=group, part=parts)
    return list(table[rank() * pieces:(rank() + 1) * pieces])


def rows(batch: int, group: int = 1) -> Tensor:
    """All rows of the whole batch that this process computes, in one piece; see `shares`."""
    return shares(batch, group)[0]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes: one message per dtype, summed once."""
    if world() == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_dtype.values():
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= world()
        parts = flat.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [p.view(g.shape) for p, g in zip(parts, gradients, strict=True)])


def mean(values: Tensor) -> Tensor:
    """The mean over the processes of a tensor that has the same shape in all of them."""
    if world() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / world()


def _on_device(value: Tensor) -> Tensor:
    return value.to("cuda") if dist.get_backend() == "nccl" else value


def any_of(flags: list[bool]) -> list[bool]:
    """For each flag, whether it is set in any process."""
    if world() == 1:
        return flags
    votes = _on_device(torch.tensor([float(f) for f in flags]))
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return [bool(v) for v in votes.tolist()]


def largest(value: float) -> float:
    """The largest of the processes' values."""
    if world() == 1:
        return value
    out = _on_device(torch.tensor([value], dtype=torch.float64))
    dist.all_reduce(out, op=dist.ReduceOp.MAX)
    return float(out)


def from_main(value: object) -> object:
    """The first process's value (plain data) in every process."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def tensors_from_main(tensors: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """The first process's tensors in every process, on the CPU; the others pass None."""
    if world() == 1:
        return dict(tensors or {})
    listed = [(k, tuple(v.shape), v.dtype) for k, v in tensors.items()] if tensors is not None else None
    out = {}
    for name, shape, dtype in from_main(listed):  # type: ignore[attr-defined]
        value = tensors[name].contiguous() if tensors is not None else torch.empty(shape, dtype=dtype)
        value = _on_device(value)
        dist.broadcast(value, src=0)
        out[name] = value.cpu()
    return out


def wait() -> None:
    """Until every process is here."""
    if world() > 1:
        dist.barrier()


@contextmanager
def main_first() -> Iterator[None]:
    """Rank 0 first, then the first process of every other machine, then the rest: what one of them renders or indexes
    on a disk is there when the next one looks, whether the machines share that disk or not."""
    turn = 0 if is_main() else 1 if int(os.environ.get("LOCAL_RANK", "0")) == 0 else 2
    for now in range(3):
        if now == turn:
            yield
        wait()


def _marks(tensors: list[Tensor]) -> Tensor:
    """Two position-sensitive integers per tensor, computed where it lives: [n, 2]."""
    out = []
    for tensor in tensors:
        flat = tensor.detach().contiguous().reshape(-1)
        mark = torch.zeros(2, dtype=torch.long, device=flat.device)
        for piece in flat.split(1 << 22):
            bits = piece.view(torch.int32 if piece.element_size() == 4 else torch.uint8).long()
            places = torch.arange(len(bits), device=bits.device) % 65521 + 1
            mark = mark * 31 + torch.stack([bits.sum(), (bits * places).sum()])
        out.append(mark)
    return torch.stack(out) if out else torch.zeros(0, 2, dtype=torch.long)


def check_replicas(modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> None:
    """Raise MismatchError naming the tensors that are not the same, bit for bit, in every process."""
    if world() == 1:
        return
    named = {f"{m}.{k}": v for m, module in modules.items() for k, v in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            named.update({f"optimizer {name}.{index}.{k}": v for k, v in state.items() if isinstance(v, Tensor)})
    marks = _on_device(_marks(list(named.values())))
    low, high = marks.clone(), marks.clone()
    dist.all_reduce(low, op=dist.ReduceOp.MIN)
    dist.all_reduce(high, op=dist.ReduceOp.MAX)
    differing = [name for name, same in zip(named, (low == high).all(dim=1).tolist(), strict=True) if not same]
    if differing:
        raise MismatchError(f"The processes no longer hold the same weights: {', '.join(differing[:5])} differ "
                            f"({len(differing)} tensors in all). Nothing was saved; resume from the last checkpoint.")
