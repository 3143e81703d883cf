"""16-bit grey and floats: training and inference read the same; what a file cannot hold is refused before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reganie_core import faces, images
from reganie_core.__main__ import main
from reganie_core.errors import InputError
from trainer.data.sources import open_pictures

RAMP = np.linspace(0.1, 0.9, 32 * 32, dtype=np.float32).reshape(32, 32)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")


def of_mode(mode: str) -> Image.Image:
    if mode == "F":
        return Image.fromarray(RAMP)
    if mode in ("I", "I;16"):
        return Image.fromarray((RAMP * 65535).astype(np.int32 if mode == "I" else np.uint16))
    image = Image.fromarray((RAMP * 255).astype(np.uint8))
    if mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)))
        return image
    return image.convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_training_sees_what_inference_sees(tmp_path: Path, mode: str) -> None:
    of_mode(mode).save(tmp_path / "a.tif")
    trained = open_pictures(tmp_path, 32).batch(torch.tensor([0]))
    used = images.load_image(tmp_path / "a.tif")
    assert float((trained - used).abs().max()) <= 1 / 127.5
    if mode != "1":
        torch.testing.assert_close(trained[0].mean(0), torch.from_numpy(RAMP * 2 - 1), atol=0.02, rtol=0)


def test_floats_beyond_one_are_no_picture_for_either(tmp_path: Path) -> None:
    Image.fromarray(RAMP * 255).save(tmp_path / "a.tif")
    for read in (lambda: images.load_image(tmp_path / "a.tif"), lambda: open_pictures(tmp_path, 32).check()):
        with pytest.raises(InputError, match=r"must hold 0\.\.1, found 25"):
            read()


HOLD = {".png": {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"}, ".jpg": {"1", "L", "P", "RGB", "CMYK"},
        ".webp": {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"}, ".bmp": {"1", "L", "P", "RGB", "CMYK"},
        ".tif": set(MODES) - {"I"}}


@pytest.mark.parametrize("suffix", HOLD)
@pytest.mark.parametrize("mode", MODES)
def test_a_file_holds_the_picture_or_is_refused(tmp_path: Path, mode: str, suffix: str) -> None:
    image, path = of_mode(mode), tmp_path / f"out{suffix}"
    if mode not in HOLD[suffix]:
        with pytest.raises(InputError, match=r"end the name in \.(png|tif)"):
            images.check_target(path, mode)
        with pytest.raises(InputError, match="cannot hold"):
            images.save_image(image, path)
        assert not list(tmp_path.iterdir())
        return
    images.check_target(path, mode)
    images.save_image(image, path)
    lossless = suffix in (".png", ".tif", ".bmp")
    torch.testing.assert_close(images.load_image(path), images.from_pil(image), atol=0 if lossless else 0.08, rtol=0)
    if "A" in mode:
        assert np.array_equal(np.asarray(Image.open(path))[..., -1], np.asarray(image)[..., -1])


def test_a_colour_that_means_transparent_is_kept_as_alpha(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (9, 9, 9))
    image.info["transparency"] = (9, 9, 9)
    images.save_image(image, tmp_path / "a.webp")
    assert np.asarray(Image.open(tmp_path / "a.webp"))[..., 3].max() == 0
    with pytest.raises(InputError, match="alpha"):
        images.save_image(image, tmp_path / "a.jpg")
    assert faces.picture.Picture(image).mode == "RGBA"


def test_sizes_and_names_that_no_file_can_have() -> None:
    with pytest.raises(InputError, match="16383"):
        images.check_target("a.webp", "RGB", (16384, 10))
    with pytest.raises(InputError, match="end it in"):
        images.check_target("a.gif")


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", ".webp"), ("F", ".png"), ("RGBA", ".jpg"), ("LA", ".bmp")])
def test_the_command_line_refuses_before_it_computes(tmp_path: Path, tiny_domain: Path, mode: str, suffix: str,
                                                     capfd: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from reganie_core import pipeline

    monkeypatch.setattr(pipeline, "algorithm1", lambda *_: pytest.fail("computed first"))
    of_mode(mode).save(tmp_path / "photo.tif")
    (tmp_path / "photo.txt").write_text("10,12 22,12 12,24 20,24\n")
    out = tmp_path / f"out{suffix}"
    assert main(["edit", str(tmp_path / "photo.tif"), "-o", str(out), "--edit", "age=+0.5", "--domain",
                 str(tiny_domain), "--align", str(tmp_path / "photo.txt"), "--paste-back"]) == 1
    said = capfd.readouterr().err
    assert "cannot hold" in said and suffix in said and not out.exists()


@pytest.mark.parametrize("command", ["edit not_there.png", "invert not_there.png", "demo", "render --count 1"])
@pytest.mark.parametrize("name", ["out.gif", "out.exe"])
def test_an_unknown_ending_is_refused_before_work(tmp_path: Path, command: str, name: str,
                                                  capfd: pytest.CaptureFixture[str]) -> None:
    """The domain that is not there, or the portraits to render, would come later."""
    more = [] if "render" in command else ["--domain", str(tmp_path / "none")]
    assert main([*command.split(), "-o", str(tmp_path / name), *more]) == 1
    assert "end it in" in capfd.readouterr().err
