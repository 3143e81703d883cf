"""Memory: the short form of the soak, and what happens where a device has too little of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests import soak_memory
from tests.host_stubs import call, picture

pytest_plugins = ["tests.nodes_fixtures"]

PACKAGED = "portraits (packaged)"
COUNT = 5


@pytest.fixture
def wires(pack: SimpleNamespace) -> SimpleNamespace:
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain=PACKAGED), strict=True)))


def test_memory_returns_after_runs_and_after_cancel() -> None:
    found = soak_memory.measure(runs=6, tiny=True)
    assert not soak_memory.problem(found), found
    assert found["cancelled"] == 6 and found["looks_for_cancel"] > 20


def test_a_leak_is_a_problem() -> None:
    good = {"runs": 2, "cancelled": 2, "after_runs_mb": 1.0, "after_cancel_mb": -1.0, "most_mb": 2.0, "allowed_mb": 64,
            "results_alive": 0}
    assert not soak_memory.problem(good)
    for wrong in ({"after_runs_mb": 80.0}, {"after_cancel_mb": 80.0}, {"cancelled": 1}, {"results_alive": 3}):
        assert soak_memory.problem(good | wrong)
    before, held = soak_memory.resident(), torch.ones(100 << 18)
    assert soak_memory.resident() - before > 64 << 20 and held.numel()


def whole_graph(pack: SimpleNamespace, wires: SimpleNamespace) -> list[torch.Tensor]:
    latent, inversion, prepared = call(pack, "E4EInvert", generator=wires.generator, image=picture(COUNT),
                                       encoder=wires.encoder)
    moved, edited = call(pack, "DirectionEdit", generator=wires.generator, latent=latent, direction="yaw",
                         strength=5.0, editor=wires.directions)
    delta, _ = call(pack, "ComputeDelta", image=prepared, inversion=inversion)
    rectified = call(pack, "Rectify", edited=edited, delta=delta, rectifier=wires.rectifier)[0]
    sampled = call(pack, "SampleLatent", generator=wires.generator, seed=1, count=3)[0]
    return [latent.ws, inversion, moved.ws, edited, delta, rectified, sampled.ws]


STAGES = {
    "encoder": lambda wires: (wires.encoder.value, "forward"),
    "mapping": lambda wires: (wires.generator.value.mapping, "forward"),
    "synthesis": lambda wires: (wires.generator.value.synthesis, "forward"),
    "editor": lambda wires: (wires.directions.value, "edit"),
    "difference's encoder": lambda wires: (wires.rectifier.value, "encode_delta"),
    "rectifier": lambda wires: (wires.rectifier.value, "render"),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fits", [2, 0])
def test_where_memory_is_short_the_result_is_the_same(pack: SimpleNamespace, wires: SimpleNamespace, stage: str,
                                                      fits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most ``fits`` pictures go through a stage on the device; 0 leaves only the CPU. Both are said."""
    host = pack.sub("_host")
    monkeypatch.setattr(host, "chunk_size", lambda resolution: 32)  # as on a GPU
    wanted = whole_graph(pack, wires)
    owner, name = STAGES[stage](wires)
    real, tried, unloaded = getattr(owner, name), [], []

    def short_of_memory(first: Any, *more: Any, **options: Any) -> Any:
        if not host._fallback.active:
            tried.append(len(first))
            if len(first) > fits:
                raise torch.OutOfMemoryError("the device's memory is full")
        return real(first, *more, **options)

    monkeypatch.setattr(owner, name, short_of_memory)
    monkeypatch.setattr(host, "can_fall_back", lambda: not host._fallback.active)
    management = pack.host.modules["comfy.model_management"]
    monkeypatch.setattr(management, "unload_all_models", lambda: unloaded.append(True))
    pack.host.state.notices.clear()
    found = whole_graph(pack, wires)
    for one, other in zip(found, wanted, strict=True):
        pixels = [getattr(item, "pixels", item) for item in (one, other)]  # of a difference
        torch.testing.assert_close(*pixels, atol=2e-5, rtol=1e-4)
    said = " ".join(data["text"] for event, data in pack.host.state.notices if data["title"] == "Memory")
    assert tried and max(tried) > fits
    if fits == 0 or stage in ("editor", "mapping"):      # codes are worked on in one piece
        assert "computed on the CPU" in said and unloaded
    else:
        assert "went through" in said and "CPU" not in said and not unloaded
    assert not host._fallback.active


def test_what_fails_on_the_cpu_as_well_is_not_tried_for_ever(pack: SimpleNamespace, wires: SimpleNamespace,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    host = pack.sub("_host")
    calls: list[int] = []

    def never(size: int) -> None:
        calls.append(size)
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(host, "can_fall_back", lambda: not host._fallback.active)
    with pytest.raises(torch.OutOfMemoryError):
        host.halving(4, never)
    assert calls == [4, 2, 1, 1] and not host._fallback.active


def test_a_batch_goes_to_the_cpu_once_and_stays_there(pack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    host, sizes = pack.sub("_host"), []

    def work(rows: slice, size: int) -> tuple[torch.Tensor]:
        sizes.append((rows.start, rows.stop, size, host.device().type, host._fallback.active))
        if not host._fallback.active:
            raise torch.OutOfMemoryError("full")
        return (torch.zeros(rows.stop - rows.start, 2, 2, 3),)

    monkeypatch.setattr(host, "can_fall_back", lambda: not host._fallback.active)
    (joined,) = host.in_chunks(5, 2, work)
    assert len(joined) == 5
    assert [(a, b) for a, b, _, _, active in sizes if active] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert sum(not active for *_, active in sizes) == 2, "what was too much once is not tried again"
    assert sum("computed on the CPU" in data["text"] for _, data in pack.host.state.notices) == 1
