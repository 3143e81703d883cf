"""A photo looks the same after pasting back, in every format: its colour profile is kept, applied or dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from reganie_core import images
from reganie_core.__main__ import main
from reganie_core.faces import paste_faces
from tests.faults import profiles
from trainer.data.sources import open_pictures

SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tif")
COLOUR = np.zeros((32, 32, 3), np.uint8) + np.array([200, 90, 40], np.uint8)


def photo_of(kind: str) -> Image.Image:
    """A photo of one colour (grey for `grey`) with a profile of that kind."""
    if kind == "grey":
        image = Image.new("L", (32, 32), 55)
        image.info["icc_profile"] = profiles.linear_grey()
    elif kind == "print":
        image = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
        image.info["icc_profile"] = profiles.print_colours()
    else:
        image = Image.fromarray(COLOUR).convert("RGBA" if kind == "alpha" else "RGB")
        image.info["icc_profile"] = profiles.swapped()
    return image


def shown(colour: tuple[float, float, float]) -> torch.Tensor:
    return (torch.tensor(colour) / 127.5 - 1)[:, None, None]


def stored(image: Image.Image, path: Path) -> Path:
    image.save(path, icc_profile=image.info["icc_profile"], **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


#: What each photo looks like on a screen (sRGB); cyan ink is Lab (60, -30, -40).
LOOKS = {"colour": (90, 200, 40), "alpha": (90, 200, 40), "grey": (128, 128, 128), "print": (0, 164, 215)}


@pytest.mark.parametrize("kind", LOOKS)
def test_reading_applies_the_profile_for_inference_and_training(tmp_path: Path, kind: str) -> None:
    path = stored(photo_of(kind), tmp_path / "a.tif")
    seen = images.load_image(path)
    assert float((seen - shown(LOOKS[kind])).abs().max()) < 6 / 127.5
    assert torch.equal(open_pictures(tmp_path, 32).batch(torch.tensor([0])), seen)


@pytest.mark.parametrize(("kind", "suffix"), [(k, s) for k in LOOKS for s in SUFFIXES
                                              if k != "alpha" or s not in (".jpg", ".bmp")])
def test_a_pasted_photo_looks_as_before_in_every_format(tmp_path: Path, kind: str, suffix: str) -> None:
    given = photo_of(kind)
    pasted = paste_faces(given, torch.zeros(0, 3, 8, 8), []).photos
    path = images.save_image(pasted, tmp_path / f"out{suffix}")
    assert float((images.load_image(path) - shown(LOOKS[kind])).abs().max()) < 8 / 127.5
    written = Image.open(path)
    profile = written.info.get("icc_profile")
    keeps = suffix != ".bmp" and kind != "print" and not (kind == "grey" and suffix == ".webp")
    assert profile == (given.info["icc_profile"] if keeps else None)
    if keeps and suffix in (".png", ".tif"):
        assert written.mode == given.mode and np.array_equal(np.asarray(written), np.asarray(given))


def test_sixteen_bits_keep_their_grey_profile(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((8, 8), 12345, np.uint16))
    deep.info["icc_profile"] = profiles.linear_grey()
    for suffix in (".png", ".tif"):
        path = images.save_image(paste_faces(deep, torch.zeros(0, 3, 8, 8), []).photos, tmp_path / f"a{suffix}")
        assert Image.open(path).info["icc_profile"] == profiles.linear_grey()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_profile_of_other_colours_is_dropped(tmp_path: Path, suffix: str) -> None:
    """A CMYK profile on an RGB picture, as some programs leave it: no reader knows what to do with it."""
    image = Image.fromarray(COLOUR)
    image.info["icc_profile"] = profiles.print_colours()
    assert torch.equal(images.from_pil(image), images.from_uint8(COLOUR))
    path = images.save_image(image, tmp_path / f"a{suffix}")
    assert "icc_profile" not in Image.open(path).info
    assert image.info["icc_profile"] == profiles.print_colours()          # the caller's picture is not touched


def test_srgb_and_damaged_profiles_change_no_pixel() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    plain = images.from_pil(image)
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (whole, whole[:300], profiles.swapped()[:140] + b"\xff" * 400, b"", b"x" * 5):
        image.info["icc_profile"] = profile
        assert torch.equal(images.from_pil(image), plain)


def test_a_crop_that_is_not_pasted_back_keeps_the_photo_s_profile(tmp_path: Path, tiny_domain: Path) -> None:
    photo = stored(photo_of("colour"), tmp_path / "photo.png")
    (tmp_path / "photo.txt").write_text("10,12 22,12 12,24 20,24\n")
    out = tmp_path / "out.png"
    assert main(["edit", str(photo), "-o", str(out), "--domain", str(tiny_domain), "--align",
                 str(tmp_path / "photo.txt")]) == 0
    assert Image.open(out).info["icc_profile"] == profiles.swapped()
