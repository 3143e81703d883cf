"""Ranges, layouts and resizing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reganie_core import images
from reganie_core.errors import InputError, MismatchError, NotFoundError


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_every_byte_survives_the_round_trip():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    core = images.from_uint8(every)
    assert core.min() == -1 and core.max() == 1
    assert np.array_equal(images.to_uint8(core).numpy(), every)
    assert np.array_equal(images.to_uint8(images.from_comfy(images.to_comfy(core))).numpy(), every)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_comfy_layout_and_channels(channels):
    wire = torch.rand(2, 5, 7, channels, generator=torch.Generator().manual_seed(1))
    core = images.from_comfy(wire)
    assert core.shape == (2, 3, 5, 7)
    expected = wire[..., :3] if channels > 1 else wire.expand(-1, -1, -1, 3)
    torch.testing.assert_close(images.to_comfy(core), expected)


@pytest.mark.parametrize("bad", [
    torch.rand(2, 5, 7), torch.rand(2, 5, 7, 2), torch.rand(0, 5, 7, 3), torch.rand(1, 5, 7, 3) * 255,
    torch.full((1, 5, 7, 3), float("nan")), torch.zeros(1, 5, 7, 3, dtype=torch.uint8), -torch.ones(1, 5, 7, 3),
])
def test_comfy_refuses(bad):
    with pytest.raises(InputError):
        images.from_comfy(bad)


def test_a_slight_overshoot_on_the_wire_is_clamped():
    wire = torch.tensor([-0.1, 0.5, 1.1]).expand(1, 4, 4, 3)
    assert images.from_comfy(wire)[0, :, 0, 0].tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_pil_mode_gives_the_same_grey(tmp_path, mode):
    if mode == "I;16":
        picture = Image.fromarray(np.full((20, 30), 65535, np.uint16))
    elif mode == "I":
        picture = Image.fromarray(np.full((20, 30), 65535, np.int32))
    elif mode == "F":
        picture = Image.fromarray(np.ones((20, 30), np.float32))
    else:
        picture = Image.new("L", (30, 20), 255).convert(mode)
    core = images.from_pil(picture)
    assert core.shape == (1, 3, 20, 30) and core.dtype == torch.float32
    torch.testing.assert_close(core, torch.ones_like(core))


def test_sixteen_bits_keep_their_precision(tmp_path):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    core = images.load_image(tmp_path / "deep.png")
    np.testing.assert_allclose(core[0, 0].numpy(), values / 65535 * 2 - 1, atol=1e-6)


def test_alpha_is_dropped_not_composited(tmp_path):
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert images.load_image(tmp_path / "a.png")[0, :, 3, 3].tolist() == [1.0, -1.0, -1.0]


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.new("RGB", (32, 16), "black")
    picture.paste((255, 255, 255), (0, 0, 8, 16))  # white at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: left becomes top
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    core = images.load_image(tmp_path / "turned.jpg")
    assert core.shape == (1, 3, 32, 16)
    assert core[0, :, 2].mean() > 0.9 and core[0, :, 29].mean() < -0.9


def test_files_that_are_no_pictures(tmp_path):
    with pytest.raises(NotFoundError):
        images.load_image(tmp_path / "missing.png")
    (tmp_path / "page.png").write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not a picture"):
        images.load_image(tmp_path / "page.png")
    Image.fromarray(images.to_uint8(noise(1, 3, 64, 64))[0].numpy()).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    with pytest.raises(InputError, match="truncated"):
        images.load_image(tmp_path / "half.png")


def test_saving_is_atomic_and_exact(tmp_path):
    core = images.from_uint8(images.to_uint8(noise(1, 3, 16, 20)))
    images.save_image(core, tmp_path / "x.png")
    assert torch.equal(images.load_image(tmp_path / "x.png"), core)
    with pytest.raises(InputError, match="one picture"):
        images.save_image(core.repeat(2, 1, 1, 1), tmp_path / "y.png")
    with pytest.raises(InputError, match=r"\.png"):
        images.save_image(core, tmp_path / "y.exe")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.png"]


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_whole_factors_average_blocks(size, fy, fx):
    x = noise(2, 3, size * fy, size * fx, seed=fy * 7 + fx).double()
    blocks = x.reshape(2, 3, size, fy, size, fx).mean((3, 5))
    torch.testing.assert_close(images.area_downsample(x, size), blocks)
    torch.testing.assert_close(images.resize(x, size), blocks)


def test_resize_is_antialiased_and_keeps_constants():
    stripes = torch.tensor([1.0, -1.0]).repeat(51)[:100].expand(1, 3, 100, 100)
    assert images.resize(stripes, 30, "bilinear").abs().max() < 0.2  # plain subsampling would keep +-1
    torch.testing.assert_close(images.resize(torch.full((1, 3, 9, 9), 0.3), (21, 5)), torch.full((1, 3, 21, 5), 0.3))
    with pytest.raises(MismatchError):
        images.area_downsample(stripes, 128)


def test_fit_crop_pad_and_error():
    x = noise(1, 3, 32, 64)
    with pytest.raises(InputError, match="64x32"):
        images.fit(x, 32)
    assert torch.equal(images.fit(x, 32, "crop"), x[..., 16:48])
    padded = images.fit(x, 64, "pad")
    assert torch.equal(padded[:, :, 16:48], x)
    assert torch.equal(padded[:, :, 3], x[:, :, 0])
    up = images.fit(x, 100, "crop")
    assert up.shape == (1, 3, 100, 100) and up.abs().max() <= 1
    with pytest.raises(InputError, match="between"):
        images.fit(noise(1, 3, 4, 4), 32)
    with pytest.raises(InputError, match="fit must be"):
        images.fit(x, 32, "stretch")


@pytest.mark.parametrize("bad", [
    "photo.png", torch.zeros(3), torch.zeros(1, 4, 8, 8), torch.zeros(0, 3, 8, 8), torch.full((1, 3, 8, 8), 200.0),
    torch.full((3, 8, 8), float("inf")), torch.zeros(3, 8, 8, dtype=torch.int64),
])
def test_check_image_refuses(bad):
    with pytest.raises(InputError):
        images.check_image(bad)
