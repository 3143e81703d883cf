"""Promise 11: same input, same output.

Reruns on one machine give the same bits: in one process, in another one, with other things drawn in between, and with
two graphs at once. A batch of N gives what N single pictures give, within 1e-4. Every random number comes from a
stated seed and a private generator, so the host's own random state is neither used nor changed. Not promised: equal
bits between machines, versions of torch, numbers of threads, or CPU and GPU.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import reganie_core as rc
from reganie_core import portraits
from tests.host_stubs import call, picture
from tests.promises.helpers import chain, python, wires_of

pytest_plugins = ["tests.nodes_fixtures"]

CLOSE = 1e-4
FIRST = 1_000_800_000
PICTURES = ("inversion", "edited", "delta", "reconstruction", "rectified")


def test_a_rerun_gives_the_same_bits() -> None:
    """The packaged networks, loaded twice, with the host drawing random numbers of its own in between."""
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        image = portraits.render(portraits.sample(3, FIRST), 96)
        before = torch.random.get_rng_state(), repr(np.random.get_state()), random.getstate()
        results.append(rc.edit(image, {"yaw": 12.0, "smile": 0.4}, domain=rc.load_domain("portraits")))
        after = torch.random.get_rng_state(), repr(np.random.get_state()), random.getstate()
        assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    for name in PICTURES:
        assert torch.equal(getattr(results[0], name), getattr(results[1], name)), name


def test_another_process_writes_the_same_file(tiny_domain: Path, tmp_path: Path) -> None:
    for index in range(2):
        run = python("-m", "reganie_core", "edit", f"portrait:{FIRST}:hat", "-o", tmp_path / f"{index}.png", "--edit",
                     "yaw=+9", "--domain", tiny_domain, PYTHONHASHSEED=str(index + 1))
        assert run.returncode == 0, run.stderr
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_batch_gives_what_its_pictures_give_alone() -> None:
    domain = rc.load_domain("portraits")
    image = portraits.render(portraits.sample(3, FIRST, items=("hat",)), domain.resolution)
    edits = {"yaw": -10.0, "age": 0.5}
    whole = rc.edit(image, edits, domain=domain)
    for index in range(len(image)):
        alone = rc.edit(image[index : index + 1], edits, domain=domain)
        for name in PICTURES:
            found, wanted = getattr(whole, name)[index : index + 1], getattr(alone, name)
            assert torch.equal(found, wanted), name  # on a CPU, which this is: to the bit


def test_a_slider_moves_a_batch_as_its_pictures_alone() -> None:
    domain = rc.load_domain("portraits")
    first = rc.edit(portraits.render(portraits.sample(3, FIRST, items=("hat",)), domain.resolution), domain=domain)
    edits = {"yaw": -10.0, "age": 0.5}
    whole = rc.edit(first, edits, domain=domain).rectified
    for index in range(3):
        alone = rc.edit(first.image[index : index + 1], domain=domain)
        moved = rc.edit(alone, edits, domain=domain).rectified
        assert float((whole[index : index + 1] - moved).abs().max()) <= CLOSE


def test_nodes_on_batches(pack: SimpleNamespace) -> None:
    on, images = wires_of(pack), picture(5, seed=3)
    whole = chain(pack, images, wires=on)
    for index in range(5):
        alone = chain(pack, images[index : index + 1], wires=on)
        for name in ("inversion", "lost", "edited", "result"):
            found = getattr(whole, name)[index : index + 1]
            torch.testing.assert_close(found, getattr(alone, name), atol=CLOSE, rtol=0)


def test_two_graphs_at_once_give_what_they_give_one_after_the_other(pack: SimpleNamespace) -> None:
    """Threads that start together, load by name and by wire, with several pictures and other edits each."""
    jobs = [(picture(3, seed=seed), direction, amount) for seed, (direction, amount) in
            enumerate([("yaw", 15.0), ("age", -0.7), ("smile", 0.5), ("yaw", -20.0)])]

    def work(job: tuple) -> SimpleNamespace:
        return chain(pack, *job)

    apart = [work(job) for job in jobs]
    for _ in range(3):
        with ThreadPoolExecutor(len(jobs)) as pool:
            together = list(pool.map(work, jobs))
        for one, other in zip(apart, together, strict=True):
            for name in ("inversion", "prepared", "lost", "edited", "result"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_every_random_number_has_a_seed(pack: SimpleNamespace) -> None:
    on = wires_of(pack)

    def draw(seed: int) -> list[torch.Tensor]:
        latent, = call(pack, "SampleLatent", generator=on.generator, seed=seed, count=2)
        return [latent.ws, portraits.render(portraits.sample(2, seed), 16)]

    state = torch.random.get_rng_state()
    first, again, other = draw(5), draw(5), draw(6)
    assert torch.equal(state, torch.random.get_rng_state())
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same) and not torch.equal(one, different)


@pytest.mark.parametrize("method", ["w+", "pti"])
def test_optimisations_start_and_end_the_same(pack: SimpleNamespace, method: str) -> None:
    on = wires_of(pack)
    found = [call(pack, "InvertImage", generator=on.generator, image=picture(1), method=method, iterations=3,
                  encoder=on.encoder)[1] for _ in range(2)]
    assert torch.equal(*found)
