"""The bank of triplets: a cache that changes nothing but the time, whatever its folder has been through."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reganie_core.errors import InputError
from tests.trainer_files import SMALL_RECTIFIER
from trainer.bank import Bank, key_of
from trainer.config import build as build_config
from trainer.stages.rectifier import RectifierStage, RectifierStageConfig
from trainer.stages.triplets import Triplet

OPTIONS = ["batch=4", *SMALL_RECTIFIER, "gan_weight=0", "attributes=", "device=cpu", "ema_kimg=0.01"]
SLOT = 4 * 9 * 8 * 8 * 2 / 2**30          # GiB of four triplets at 8 px


def fresh(calls: list[int], batch: int = 4, rows: list[torch.Tensor] | None = None) -> Any:
    """Triplets whose values name the image number and the row."""
    def make(seen: int) -> list[Triplet]:
        calls.append(seen)
        found = []
        for piece in rows or [torch.arange(batch)]:
            ramp = torch.linspace(0, 1, 8).expand(len(piece), 3, 8, 8) + piece[:, None, None, None] + seen / 64
            found.append(Triplet(ramp / 64, -ramp / 64, ramp / 32, seen // 4 % 3 + 1))
        return found
    return make


def bank(folder: Path, refresh: int = 0, slots: int = 3, **more: Any) -> Bank:
    return Bank(folder, slots * SLOT * 1.01, refresh, {"a": 1}, more.pop("own", torch.arange(4)), 4, 8, 0, **more)


def test_every_round_shows_every_slot_and_only_the_first_makes_them(tmp_path: Path) -> None:
    rows, calls, b = [torch.arange(4)], [], bank(tmp_path)
    shown = [[b.triplets(12 * r + 4 * i, rows, "cpu", fresh(calls)) for i in range(3)] for r in range(3)]
    assert calls == [0, 4, 8]
    first = fresh([])(4)[0]
    for found, made in zip(shown[0][1][0][:3], first[:3], strict=True):
        assert torch.equal(found, made.half().float())
    assert [s[0][3] for s in shown[0]] == [1, 2, 3] and sorted(s[0][3] for s in shown[2]) == [1, 2, 3]
    for later in shown[1:]:             # the same pictures in another order, some of them flipped, all three alike
        for (delta, primary, target, t, *nothing), in later:
            assert not any(v is not None for v in nothing)
            made = fresh([])(4 * (t - 1))[0]
            for row in range(4):
                flipped = not torch.equal(delta[row], made[0][row].half().float())
                for found, truth in zip((delta, primary, target), made[:3], strict=True):
                    truth = truth[row].half().float()
                    assert torch.equal(found[row], truth.flip(-1) if flipped else truth)


def test_slots_are_renewed_in_turn(tmp_path: Path) -> None:
    calls, b = [], bank(tmp_path, refresh=2)
    for step in range(12):
        b.triplets(4 * step, [torch.arange(4)], "cpu", fresh(calls))
    assert sorted(calls[:3]) == [0, 4, 8]
    assert sorted(calls[3:]) == sorted([16, 24, 32, 40])         # slot 1 in rounds 1 and 3, slots 0 and 2 in round 2


def test_what_lies_in_the_folder_changes_nothing(tmp_path: Path) -> None:
    rows = [torch.arange(4)]
    whole = [bank(tmp_path / "a", 2).triplets(4 * s, rows, "cpu", fresh([])) for s in range(9)]
    calls: list[int] = []
    b = bank(tmp_path / "b", 2)
    for s in range(9):                                                       # further than the last saved state
        b.triplets(4 * s, rows, "cpu", fresh([]))
    shard = next(b.folder.glob("*.f16"))
    data = bytearray(shard.read_bytes())
    data[2 * 9 * 64 * 4 + 5] ^= 255                                          # a torn slot 1
    shard.write_bytes(data)
    again = bank(tmp_path / "b", 2)
    for s in range(2, 9):
        for found, made in zip(again.triplets(4 * s, rows, "cpu", fresh(calls))[0][:4], whole[s][0][:4], strict=True):
            assert torch.equal(torch.as_tensor(found), torch.as_tensor(made)), s
    assert calls                                                             # other ages and the torn slot were made


def test_micro_batches_share_slots_and_other_keys_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [torch.tensor([0, 2]), torch.tensor([1, 3])]
    calls: list[int] = []
    whole = bank(tmp_path).triplets(16, [torch.arange(4)], "cpu", fresh(calls))[0]
    parts = bank(tmp_path).triplets(16, pieces, "cpu", fresh(calls, rows=pieces))
    assert len(calls) == 1
    for piece, part in zip(pieces, parts, strict=True):
        assert torch.equal(part[0], whole[0][piece]) and part[3] == whole[3]
    other = Bank(tmp_path, SLOT * 3.1, 0, {"a": 2}, torch.arange(4), 4, 8, 0)
    assert other.folder != bank(tmp_path).folder
    with pytest.raises(InputError, match="holds no batch"):
        bank(tmp_path, slots=0)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2 * SLOT * 2**30 + 1))
    assert bank(tmp_path, slots=9, steps=2).slots == 9            # a short run needs room for its own steps only
    with pytest.raises(InputError, match="smaller bank_gib"):
        bank(tmp_path, slots=9, steps=3)


def options_of(folder: Path) -> list[str]:
    return [*OPTIONS, f"generator={folder / 'generator.safetensors'}", f"encoder={folder / 'encoder.safetensors'}",
            f"editors={folder / 'directions.safetensors'}"]


@pytest.mark.filterwarnings("ignore:No perceptual network")
def test_the_rectifier_trains_from_a_bank(tiny_domain: Path, tmp_path: Path) -> None:
    def stage(*more: str) -> RectifierStage:
        return RectifierStage(build_config(RectifierStageConfig, None, [*options_of(tiny_domain), *more]))

    def weights(s: RectifierStage) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in s.R.parameters()])

    two_slots = ["bank_gib=0.00015", "bank_refresh=0"]               # a batch takes 0.0000687 GiB at 32 px
    off, on = stage(), stage(f"bank={tmp_path}", *two_slots)
    for s in (off, on):
        s.step(0)
    assert on.bank is not None and on.bank.slots == 2
    assert torch.allclose(weights(off), weights(on), atol=2e-3) and not torch.equal(weights(off), weights(on))
    on.step(4)
    on.step(8)
    again = stage(f"bank={tmp_path}", *two_slots)
    again.triplet = None                                             # type: ignore[assignment]  # nothing is made
    for seen in (0, 4, 8):
        again.step(seen)
    assert torch.equal(weights(again), weights(on))


def test_keys_name_what_triplets_depend_on() -> None:
    config = RectifierStageConfig()
    key = key_of(config, {"generator": "g"})
    assert {"paste", "jitter", "real", "seed", "batch", "delta_input", "dtype", "resolution"} <= set(key["options"])
    assert key != key_of(RectifierStageConfig(paste=0.5), {"generator": "g"}) != key_of(config, {"generator": "h"})
    assert key == key_of(RectifierStageConfig(modulation="spatial", lr=0.1), {"generator": "g"})
