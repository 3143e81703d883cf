"""Latent codes: bookkeeping, synthesis, files."""

from __future__ import annotations

import pytest
import torch

from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError
from reganie_core.latents import Latent, concatenate, load_latent, save_latent, synthesize


@pytest.fixture
def latent(tiny_networks) -> Latent:
    g = tiny_networks.generator
    random = torch.Generator().manual_seed(0)
    ws = torch.randn(3, g.num_ws, g.w_dim, generator=random)
    sizes = [style.shape[1] for style in g.synthesis.styles(ws)]
    return Latent(ws, {2: torch.randn(3, sizes[2], generator=random)}, generator="a" * 16)


def test_indexing_joining_and_repeating(latent):
    assert len(latent) == 3
    again = concatenate([latent[0], latent[1:]])
    assert torch.equal(again.ws, latent.ws) and torch.equal(again.offsets[2], latent.offsets[2])
    assert torch.equal(latent[-1].ws, latent.ws[2:]) and torch.equal(latent[[2, 0]].ws, latent.ws[[2, 0]])
    assert torch.equal(latent.repeat_interleave(2).ws[3], latent.ws[1])
    with pytest.raises(IndexError):
        latent[3]
    plain = concatenate([latent, Latent(latent.ws[:1])])
    assert plain.generator == "a" * 16 and torch.equal(plain.offsets[2][3], torch.zeros_like(latent.offsets[2][0]))


def test_strangers_are_not_joined(latent):
    with pytest.raises(MismatchError):
        concatenate([latent, Latent(latent.ws, generator="b" * 16)])
    with pytest.raises(MismatchError):
        concatenate([latent, Latent(latent.ws[:, :-1])])
    with pytest.raises(InputError):
        concatenate([])


@pytest.mark.parametrize("ws", [torch.zeros(3, 4), torch.zeros(0, 3, 4), torch.zeros(1, 2, 3, dtype=torch.int64), None])
def test_no_codes(ws):
    with pytest.raises(InputError):
        Latent(ws)


def test_another_generator_is_an_error_that_names_both(latent, tiny_networks, monkeypatch):
    g = tiny_networks.generator
    latent.check(g)  # a generator without a fingerprint is not judged
    monkeypatch.setattr(g, "fingerprint", "b" * 16, raising=False)
    with pytest.raises(MismatchError, match="a{16}.*b{16}"):
        synthesize(g, latent)
    with pytest.raises(MismatchError, match="another generator"):
        Latent(latent.ws[:, :-1]).check(g)


def test_synthesis_is_clamped_and_chunks_change_nothing(latent, tiny_networks):
    g = tiny_networks.generator
    strong = Latent(latent.ws * 20)
    whole = synthesize(g, strong)
    torch.testing.assert_close(whole, g.synthesis(strong.ws).clamp(-1, 1))
    assert whole.abs().max() == 1
    torch.testing.assert_close(synthesize(g, strong, chunk=1), whole, atol=1e-4, rtol=1e-4)


def test_stylespace_offsets_are_added_to_the_styles(latent, tiny_networks):
    g = tiny_networks.generator
    styles = list(g.synthesis.styles(latent.ws))
    styles[2] = styles[2] + latent.offsets[2]
    torch.testing.assert_close(synthesize(g, latent), g.synthesis(styles=styles).clamp(-1, 1))
    wrong = Latent(latent.ws, {2: torch.zeros(3, 1)})
    with pytest.raises(MismatchError, match="offset 2"):
        synthesize(g, wrong)


def test_generator_changes_hold_for_their_image_only(latent, tiny_networks):
    g = tiny_networks.generator
    name, weight = next((n, p) for n, p in g.named_parameters() if n.endswith("torgb.bias"))
    before = weight.clone()
    changes = torch.zeros(2, *weight.shape)
    changes[1] += 0.3
    latent = Latent(latent.ws[:2] * 0, changes={name: changes})
    images = synthesize(g, latent)
    plain = synthesize(g, Latent(latent.ws))
    torch.testing.assert_close(images[0], plain[0])
    assert (images[1] - plain[1]).abs().max() > 0.05
    assert torch.equal(weight, before)
    with pytest.raises(MismatchError, match="does not have"):
        synthesize(g, Latent(latent.ws, changes={"nothing": torch.zeros(2, 1)}))


def test_file_round_trip(tmp_path, latent):
    full = Latent(latent.ws, latent.offsets, {"synthesis.b4.const": torch.ones(3, 2)}, latent.generator)
    save_latent(full, tmp_path / "l.safetensors", {"command": "test"})
    loaded = load_latent(tmp_path / "l.safetensors")
    assert torch.equal(loaded.ws, full.ws) and loaded.generator == full.generator
    assert torch.equal(loaded.offsets[2], full.offsets[2])
    assert torch.equal(loaded.changes["synthesis.b4.const"], torch.ones(3, 2))


@pytest.mark.parametrize("tensors", [
    {}, {"ws": torch.zeros(2, 2)}, {"ws": torch.zeros(2, 3, 4), "offset.1": torch.zeros(9, 4)},
])
def test_files_that_hold_no_latent(tmp_path, tensors):
    save_checkpoint(tmp_path / "l.safetensors", "latent", {}, tensors, {})
    with pytest.raises(CorruptCheckpointError):
        load_latent(tmp_path / "l.safetensors")
