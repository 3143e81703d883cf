"""Several processes train what one would: rows, groups, gradients, restarts, another number of processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.discriminator import minibatch_std
from tests.trainer_files import one_thread  # noqa: F401
from trainer.loop import distributed
from trainer.loop.config import build
from trainer.loop.run import Run

from .toy_stage import ToyConfig, ToyStage

ROOT = Path(__file__).resolve().parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def toy(out: Path, *options: str, resume: bool = False) -> Run:
    """A run of the toy stage in this process."""
    run = Run(ToyStage(build(ToyConfig, None, [*options])), out, ["test"])
    run.prepare(resume)
    run.run()
    return run


def command(out: Path, *options: str) -> list[str]:
    return [str(ROOT / "tests" / "toy_stage.py"), "--out", str(out), "--resume", *options]


def assert_same_training(a: Path, b: Path, tolerance: float = 1e-5) -> None:
    """Weights, averages and moments (with beta1 = 0 the first moment is the last step's averaged gradient)."""
    one, two = (read_checkpoint(path / "state.safetensors", kind="training") for path in (a, b))
    assert one.tensors.keys() == two.tensors.keys()
    for name, value in one.tensors.items():
        scale = value.abs().max().clamp_min(1e-3)
        assert (value - two.tensors[name]).abs().max() <= tolerance * scale, name


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return [{k: line[k] for k in ("kimg", "D", "G", "gradient_D", "gradient_G")} for line in lines if "D" in line]


@pytest.mark.parametrize(("batch", "group", "world", "pieces"),
                         [(8, 4, 2, 1), (16, 4, 2, 2), (16, 4, 4, 1), (12, 4, 3, 1), (6, 1, 3, 2), (6, 4, 2, 1)])
def test_shares_hold_the_groups_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch, batch: int, group: int, world: int,
                                                   pieces: int) -> None:
    x = torch.randn(batch, 4, 2, 2, dtype=torch.float64)
    whole = minibatch_std(x, group, 1)
    monkeypatch.setattr(distributed, "world", lambda: world)
    dealt = []
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        for rows in distributed.shares(batch, group, pieces):
            assert torch.allclose(minibatch_std(x[rows], group, 1), whole[rows], atol=1e-12)
            dealt += rows.tolist()
    assert sorted(dealt) == list(range(batch))


def test_a_batch_that_cannot_be_dealt_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 8)
    with pytest.raises(InputError, match="Choose batch=32"):
        distributed.shares(8, 4)


def test_micro_batches_change_nothing_but_memory(tmp_path: Path) -> None:
    toy(tmp_path / "one", "batch=16", "total_kimg=0.064")
    toy(tmp_path / "four", "batch=16", "total_kimg=0.064", "accumulate=4")
    assert_same_training(tmp_path / "one", tmp_path / "four")


def test_stages_that_compute_in_one_piece_say_so(tmp_path: Path) -> None:
    class Whole(ToyStage):
        group = property()          # no such attribute

    with pytest.raises(InputError, match="one piece"):
        Run(Whole(build(ToyConfig, None, ["accumulate=2"])), tmp_path, ["test"])


def test_a_killed_worker_is_replaced_and_one_process_goes_on(tmp_path: Path) -> None:
    """Two processes, one of which dies once; then a single one continues: all equal an undisturbed single process."""
    run = subprocess.run(
        [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "1",
         *command(tmp_path / "two", "die_at=32", "save_minutes=0", "total_kimg=0.048")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "resumed at" in run.stdout
    toy(tmp_path / "one", "total_kimg=0.048")
    assert_same_training(tmp_path / "one", tmp_path / "two")
    for single, double in zip(losses(tmp_path / "one"), losses(tmp_path / "two")[:3], strict=True):
        assert double == pytest.approx(single, rel=1e-5)
    toy(tmp_path / "two", "total_kimg=0.08", resume=True)
    toy(tmp_path / "whole", "total_kimg=0.08")
    assert_same_training(tmp_path / "whole", tmp_path / "two", 1e-4)


def test_two_launchers_make_one_training(tmp_path: Path) -> None:
    """The path of two machines, on one: two agents that meet at an address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launchers = [subprocess.Popen(
        [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "test",
         "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1",
         *command(tmp_path / "run", "total_kimg=0.032")],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [p.communicate(timeout=300)[0] for p in launchers]
    assert [p.returncode for p in launchers] == [0, 0], outputs
    assert sum("finished at" in text for text in outputs) == 1          # one writes, the other is silent
    toy(tmp_path / "one", "total_kimg=0.032")
    assert_same_training(tmp_path / "one", tmp_path / "run")


def test_replicas_that_differ_are_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ToyStage(ToyConfig(device="cpu"))
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed.dist, "get_backend", lambda: "gloo")
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor, op: None)
    distributed.check_replicas(stage.modules, stage.optimizers)

    def other_replica(tensor: torch.Tensor, op: object) -> None:
        if op == distributed.dist.ReduceOp.MAX:
            tensor[0] += 1

    monkeypatch.setattr(distributed.dist, "all_reduce", other_replica)
    with pytest.raises(MismatchError, match="G.weight"):
        distributed.check_replicas(stage.modules, stage.optimizers)


def test_one_bit_and_two_exchanged_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed.dist, "get_backend", lambda: "gloo")

    def sent(weight: torch.Tensor) -> torch.Tensor:
        """What a process tells the others about a network with this weight."""
        told: list[torch.Tensor] = []
        monkeypatch.setattr(distributed.dist, "all_reduce", lambda tensor, op: told.append(tensor.clone()))
        network = torch.nn.Linear(1000, 1, bias=False)
        network.weight.data = weight[None]
        distributed.check_replicas({"G": network}, {})
        return torch.cat(told)

    x = torch.randn(1000)
    swapped, flipped = x.clone(), x.clone()
    swapped[[3, 4]] = swapped[[4, 3]]
    flipped[0] = torch.nextafter(flipped[0], torch.tensor(9.0))
    assert torch.equal(sent(x), sent(x.clone()))
    assert not torch.equal(sent(x), sent(swapped)) and not torch.equal(sent(x), sent(flipped))
