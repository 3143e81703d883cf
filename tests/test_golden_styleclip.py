"""StyleCLIP: mappers in real ``.pt`` files, global directions and StyleSpace, against the original code's outputs."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from reganie_core import checkpoints
from reganie_core.editing import load_editor
from reganie_core.editing.styleclip import (
    MapperEditor,
    StyleStatistics,
    channel_vectors,
    directions_of_channels,
    load_styleclip_editor,
    read_public_tables,
)
from reganie_core.errors import MismatchError, NotFoundError, UnsafeCheckpointError
from reganie_core.latents import Latent, synthesize
from reganie_core.text.encoders import average_text, unit
from tests import checkpoint_files as files

#: StyleSpace of a 1024 px generator.
WIDTHS = (*[512] * 15, *[256] * 3, *[128] * 3, *[64] * 3, *[32] * 2)


def mapper_file(path: Path, name: str) -> Path:
    """The layout of a public mapper; its decoder is left out, as slim copies do."""
    torch.save({"state_dict": files.weights(name), "opts": {"stylegan_size": 1024, "exp_dir": "../results"}}, path)
    return path


def close(found: Tensor, expected: np.ndarray) -> None:
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["levels", "levels_nocoarse_nomedium", "single"])
def test_mappers(tmp_path, name):
    editor = load_styleclip_editor(mapper_file(tmp_path / "afro.pt", f"styleclip_mapper_{name}"))
    golden = files.golden(f"styleclip_mapper_{name}")
    ws = torch.from_numpy(files.fill.make_input("mapper_w", (2, 18, 512)))
    assert isinstance(editor, MapperEditor) and [c.name for c in editor.controls] == ["afro"]
    with torch.no_grad():
        close(editor.mapper(ws), golden["delta"])
        edited = golden["w_hat"] if "w_hat" in golden else ws.numpy() + 0.1 * golden["delta"]
        close(editor.edit(ws, {"afro": 1.0}), edited)
    assert editor.edit(ws, {"afro": 0.0}) is ws and editor.edit(ws, {}) is ws


def test_a_level_that_is_switched_off_moves_nothing(tmp_path):
    editor = load_editor(mapper_file(tmp_path / "m.pt", "styleclip_mapper_levels_nofine"))
    ws = torch.from_numpy(files.fill.make_input("mapper_w", (2, 18, 512)))
    moved = (editor.edit(ws, {"m": 1.0}) != ws).flatten(2).any(2)
    assert moved[:, :8].all() and not moved[:, 8:].any()


def test_stylespace_mapper(tmp_path):
    """Every network reads its own style vector, normalised over its channels, and moves that one only."""
    name = "styleclip_mapper_stylespace"
    path = mapper_file(tmp_path / "s.pt", name)
    assert checkpoints.inspect(path)["kind"] == "styleclip"
    editor = load_styleclip_editor(path)
    styles = [torch.from_numpy(files.fill.make_input(f"s{i}", (2, width))) for i, width in enumerate(WIDTHS)]
    with torch.no_grad():
        moved = editor.mapper(styles)
    assert sorted(moved) == [i for i in range(26) if i % 3 != 1]
    weights, x = files.weights(name), styles[15]
    x = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in range(1, 5):
        weight, bias = (weights[f"mapper.mapper_15.mapping.{layer}.{part}"] for part in ("weight", "bias"))
        x = torch.nn.functional.leaky_relu(x @ (weight * 0.01 / 256**0.5).T + 0.01 * bias, 0.2) * 2**0.5
    torch.testing.assert_close(moved[15], x, rtol=1e-5, atol=1e-5)
    with pytest.raises(MismatchError, match="another generator"):
        editor.mapper(styles[:10])


def test_fs3_from_pairs_of_embeddings():
    pairs = torch.from_numpy(files.fill.make_input("single_channel", (6, 4, 2, 512)))
    close(directions_of_channels(pairs), files.golden("styleclip_fs3")["fs3"])


def test_text_change_over_79_sentences():
    target, neutral = average_text(torch.from_numpy(files.fill.make_input("text_emb", (2, 79, 512))))
    close(unit(target - neutral), files.golden("styleclip_global")["dt_from_fake_text"])


@pytest.fixture(scope="module")
def tables() -> tuple[Tensor, Tensor, list[np.ndarray]]:
    """fs3, the text's change, and the deviations, as the golden data had them."""
    fs3 = unit(torch.from_numpy(files.fill.make_input("fs3", (5376, 512))))
    text = unit(torch.from_numpy(files.fill.make_input("dt", (512,))))
    return fs3, text, [np.abs(files.fill.make_input(f"s_std_{i}", (w,))) + np.float32(0.1) for i, w in
                       enumerate(WIDTHS)]


@pytest.mark.parametrize("beta", [0.0, 0.05, 0.1, 0.13, 0.5])
def test_global_directions(tables, beta):
    fs3, text, stds = tables
    golden = files.golden("styleclip_global")
    std = torch.cat([torch.from_numpy(s) for s in stds])
    found = StyleStatistics(fs3, torch.zeros_like(std), std, WIDTHS).relevance(text, beta)
    np.testing.assert_allclose(found.numpy(), golden[f"direction_beta{beta}"], rtol=0, atol=1e-5)
    assert (beta == 0.5) == (not found.any())  # nothing is relevant enough: nothing moves
    if f"np_direction_beta{beta}" in golden:
        close(found, golden[f"np_direction_beta{beta}"])
        assert int((found != 0).sum()) == int(golden[f"np_num_channels_beta{beta}"])


def test_public_tables_are_read_without_unpickling(tmp_path, tables):
    fs3, text, stds = tables
    np.save(tmp_path / "fs3.npy", fs3.numpy())
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps([[np.zeros_like(s) for s in stds], stds], protocol=3))
    statistics = read_public_tables(tmp_path)
    assert statistics.widths == WIDTHS and statistics.methods == ("relevance",)
    assert statistics.vectors == tuple(i for i in range(26) if i % 3 != 1)[:11]
    close(statistics.relevance(text, 0.1), files.golden("styleclip_global")["direction_beta0.1"])
    with pytest.raises(NotFoundError, match="clip.*model.safetensors"):
        load_styleclip_editor(tmp_path)
    (tmp_path / "S_mean_std").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeCheckpointError):
        read_public_tables(tmp_path)


def test_how_many_layers_a_table_covers_follows_from_its_rows():
    assert len(channel_vectors(WIDTHS, 5376)) == 11 and len(channel_vectors(WIDTHS, 6048)) == 17
    with pytest.raises(MismatchError, match="another generator"):
        channel_vectors(WIDTHS, 5000)


def test_stylespace_of_a_generator(tmp_path):
    golden = files.golden("styleclip_stylespace_g64")
    torch.save({"g_ema": files.weights("rosinality_g64")}, tmp_path / "g.pt")
    generator = checkpoints.load_generator(tmp_path / "g.pt")
    ws = torch.from_numpy(files.fill.make_input("styleclip_w", (1, generator.num_ws, 512)))
    with torch.no_grad():
        styles = generator.synthesis.styles(ws)
        for index, style in enumerate(styles):
            close(style, golden[f"s{index:02d}"])
        close(generator.synthesis(ws), golden["wplus_image"])
        offsets = {3: torch.zeros(1, styles[3].shape[1]), 8: torch.zeros(1, styles[8].shape[1])}
        offsets[3][0, 5], offsets[8][0, 100] = 10.0, -7.0
        picture = synthesize(generator, Latent(ws, offsets))
    np.testing.assert_allclose(picture.numpy(), golden["edited_image"].clip(-1, 1), rtol=0, atol=2e-4)
