"""Directions that are found in a generator: SeFa, GANSpace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reganie_core.editing.ganspace import Components, ganspace
from reganie_core.editing.sefa import row_of_style, sefa
from reganie_core.errors import InputError, MismatchError
from tests import checkpoint_files as files


def test_rows_that_style_vectors_read(tiny_networks):
    """Where a row of W+ is changed, exactly the style vectors that read it change."""
    G = tiny_networks.generator
    ws = torch.zeros(1, G.num_ws, G.w_dim)
    for row in range(G.num_ws):
        moved = ws.clone()
        moved[:, row] = 1.0
        pairs = zip(G.synthesis.styles(ws), G.synthesis.styles(moved), strict=True)
        changed = [i for i, (a, b) in enumerate(pairs) if not torch.equal(a, b)]
        assert changed == [i for i in range(3 * len(G.config.channels) - 1) if row_of_style(i) == row]


def test_sefa_maximises_the_change_of_styles(tiny_networks):
    G = tiny_networks.generator
    directions, values = sefa(G, count=16)
    assert directions.shape == (16, G.num_ws, G.w_dim) and (values.diff() <= 1e-5).all()
    rows = torch.cat([layer.affine.weight for i, layer in enumerate(
        [layer for block in G.synthesis.blocks for layer in block.layers]) if i % 3 != 1]).double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    change = (rows @ directions[:, 0].double().t()).square().sum(0)
    np.testing.assert_allclose(change.numpy(), values.numpy(), rtol=1e-4)
    np.testing.assert_allclose((directions[:, 0] @ directions[:, 0].t()).numpy(), np.eye(16), atol=1e-5)
    assert (directions[:, 0].gather(1, directions[:, 0].abs().argmax(1, keepdim=True)) > 0).all()
    some, _ = sefa(G, layers="0-1", count=2)
    assert some[:, :2].abs().sum() > 0 and not some[:, 2:].any() and not torch.allclose(some[0, 0], directions[0, 0])
    with pytest.raises(InputError):
        sefa(G, count=17)


def test_ganspace_finds_the_axes_of_w(tiny_networks):
    found = ganspace(tiny_networks.generator, count=4, samples=5000, seed=1)
    w = tiny_networks.generator.mapping.w(torch.randn(5000, 16, generator=torch.Generator().manual_seed(9)))
    every = ganspace(tiny_networks.generator, count=16, samples=5000)
    np.testing.assert_allclose(w.std(0).norm(), every.deviations.norm(), rtol=0.05)
    along = (w - found.mean) @ found.components.t()
    np.testing.assert_allclose(along.std(0), found.deviations, rtol=0.08)
    correlation = np.corrcoef(along.numpy().T)
    assert np.abs(correlation - np.eye(4)).max() < 0.1


def test_ganspace_edits_match_the_original():
    components = Components(0.1 * files.given("pca_mean", 1, 512)[0],
                            files.given("pca_comp", 80, 1, 512)[:, 0] / 512**0.5,
                            files.given("pca_std", 80).abs() + 0.5)
    golden = files.golden("e4e_1024")
    latents = torch.from_numpy(golden["latents"])
    edited = torch.cat([components.edit_to(latents, 54, 20.0, layers=[7]),
                        components.edit_to(latents, 58, -20.0, layers="7-8")])
    assert files.error_over_scale(edited, golden, "edit_ganspace") <= 1.0
    with pytest.raises(InputError, match="0..79"):
        components.edit_to(latents, 80, 1.0)
    with pytest.raises(MismatchError):
        components.edit_to(latents[..., :100], 0, 1.0)
