"""A slider move: another edit of a picture that was inverted before runs the editor, G, E_p and G_p, and no more."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import reganie_core as rc
from reganie_core.checkpoints import records
from reganie_core.rectification import encode_differences, rectify


@pytest.fixture(scope="module")
def domain(tiny_domain):
    return rc.load_domain(tiny_domain)


def test_neither_encoder_runs_again(domain) -> None:
    photo = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
    first = rc.edit(photo, {"age": 0.5}, domain=domain)
    calls: Counter[str] = Counter()
    watched = {"G": domain.generator.synthesis, "E": domain.encoder, "E_d": domain.rectifier.E_d,
               "E_p": domain.rectifier.E_p, "G_p": domain.rectifier.G_p}
    hooks = [net.register_forward_hook(lambda *_, name=name: calls.update([name])) for name, net in watched.items()]
    try:
        moved = rc.edit(first, {"age": -1.0}, domain=domain)
    finally:
        for hook in hooks:
            hook.remove()
    assert calls == {"G": 2, "E_p": 2, "G_p": 2}  # there are two pictures
    fresh = rc.edit(photo, {"age": -1.0}, domain=domain)
    assert not torch.allclose(first.rectified, moved.rectified, atol=1e-3)
    for name in ("edited", "rectified", "inversion", "delta", "reconstruction"):
        torch.testing.assert_close(getattr(moved, name), getattr(fresh, name), atol=1e-5, rtol=0)
    back = rc.edit(moved, {}, domain=domain)  # no edit: the reconstruction
    torch.testing.assert_close(back.rectified, fresh.reconstruction, atol=1e-5, rtol=0)
    plain = rc.edit(first, {"age": -1.0}, domain=domain, rectify=False)
    assert plain.rectified is None and plain.reconstruction is None
    again = rc.edit(plain, {"age": -1.0}, domain=domain)  # rectified again: both pictures are there
    torch.testing.assert_close(again.reconstruction, fresh.reconstruction, atol=1e-5, rtol=0)


def test_a_result_without_a_code_or_of_another_rectifier_is_encoded(domain) -> None:
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4)) - 0.5
    plain = rc.edit(photo, {"age": 0.5}, domain=domain, rectify=False)
    assert plain.code is None
    fresh = rc.edit(photo, {"age": 0.5}, domain=domain)
    torch.testing.assert_close(rc.edit(plain, {"age": 0.5}, domain=domain).rectified, fresh.rectified,
                               atol=1e-5, rtol=0)


def test_codes_of_a_batch_are_those_of_its_parts(domain) -> None:
    random = torch.Generator().manual_seed(5)
    edited, delta = (torch.rand(n, 3, 32, 32, generator=random) - 0.5 for n in (6, 3))
    with torch.inference_mode():
        code = encode_differences(domain.rectifier, delta)
        for chunk in (1, 2, 8):
            torch.testing.assert_close(rectify(domain.rectifier, edited, delta, chunk=chunk, code=code),
                                       rectify(domain.rectifier, edited, delta), atol=1e-5, rtol=0)


def test_a_mapped_file_does_not_stay_in_memory(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading copies block by block and forgets the pages behind it; the values are those of the file."""
    freed: list[int] = []
    real = records.forget
    monkeypatch.setattr(records, "COPY_BYTES", 1000)
    monkeypatch.setattr(records, "forget", lambda owner, block: (freed.append(len(block)), real(owner, block)))
    weights = {"a": torch.randn(1001), "b": torch.randn(3, 7), "c": torch.tensor([1.5])}
    torch.save(weights, tmp_path / "file.pt")
    from reganie_core.checkpoints.source import open_source

    root = open_source(tmp_path / "file.pt").root
    for name, tensor in weights.items():
        assert torch.equal(root[name].read(), tensor)
        assert torch.equal(root[name].read(), tensor)  # what was forgotten is read again
    assert sum(freed) == 2 * 4 * (1001 + 21 + 1)
