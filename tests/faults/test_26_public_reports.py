"""Further public reports, tried here: consoles, patterns, names, large notes in pictures, halves, .jfif."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from reganie_core import images
from reganie_core.__main__ import main
from reganie_core.cli.common import expand, output_paths
from reganie_core.errors import CorruptCheckpointError, InputError, UnsupportedCheckpointError
from reganie_core.latents import load_latent
from tests.host_stubs import ROOT, call, picture
from trainer.data.files import FolderPictures

pytest_plugins = ["tests.nodes_fixtures"]

NAME = "\N{CYRILLIC SMALL LETTER EF}\N{CYRILLIC SMALL LETTER O}\N{LATIN SMALL LETTER E WITH ACUTE}"
POINTS = "10,12 22,12 12,24 20,24"


def photo_at(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_that_lacks_the_letters_ends_no_command(tmp_path: Path, tiny_domain: Path, encoding: str) -> None:
    photo, out = photo_at(tmp_path / f"{NAME}.png"), tmp_path / f"{NAME}_out.png"
    done = subprocess.run([sys.executable, "-m", "reganie_core", "invert", photo, "-o", out, "--domain", tiny_domain],
                          cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
                          capture_output=True, timeout=120)
    assert done.returncode == 0 and out.is_file(), done.stderr
    assert rb"\u0444" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["train", "evaluate", "chain"])
def test_nor_does_it_end_training(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = __import__(f"trainer.{program}", fromlist=["main"])
    console = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    arguments = {"train": ["--stages"], "evaluate": ["document", "--help"], "chain": ["--configs", "x", "--out", "y"]}
    try:
        module.main(arguments[program])
    except SystemExit:
        pass
    print(NAME, file=console)
    assert console.errors == "backslashreplace"


def test_patterns_are_expanded_where_no_shell_does_it(tmp_path: Path, tiny_domain: Path,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my faces [cropped]"
    for name in ("b.png", "a.png", "c.jpg", "._a.png"):
        photo_at(folder / name)
    (folder / "x.png").mkdir()
    assert [Path(p).name for p in expand([str(folder / "*.png")])] == ["a.png", "b.png"]
    assert main(["invert", str(folder / "*.png"), "-o", str(tmp_path / "out"), "--domain", str(tiny_domain)]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    odd = photo_at(folder / "[1].png")
    untouched = [str(odd), str(folder / "*.tif"), str(tmp_path / "none" / "*.png"), "portrait:1000000007:hat"]
    assert expand(untouched) == untouched
    assert main(["invert", untouched[1], "-o", str(tmp_path / "o.png"), "--domain", str(tiny_domain)]) == 1
    assert "*.tif" in capfd.readouterr().err


def test_results_differ_in_more_than_the_case_of_letters(tmp_path: Path, tiny_domain: Path,
                                                         capfd: pytest.CaptureFixture[str]) -> None:
    paths = output_paths(["x/Anna.png", "x/anna.jpg", "y/ANNA.png"], str(tmp_path / "out"))
    assert len({path.name.casefold() for path in paths}) == 3
    photos = [str(photo_at(tmp_path / "in" / name)) for name in ("Sheet.png", "b.png")]
    assert main(["edit", *photos, "-o", str(tmp_path / "out"), "--domain", str(tiny_domain), "--sheet"]) == 1
    assert "same name" in capfd.readouterr().err


def png(tmp_path: Path, **options: object) -> Path:
    path = tmp_path / "large.png"
    Image.new("RGB", (24, 20), (200, 30, 90)).save(path, **options)
    return path


def test_a_large_workflow_in_a_picture_is_not_damage(tmp_path: Path) -> None:
    notes = PngInfo()
    notes.add_text("workflow", "x" * 3_000_000, zip=True)
    notes.add_itxt("prompt", "y" * 3_000_000, zip=True)
    path = png(tmp_path, pnginfo=notes)
    assert images.open_picture(path).getpixel((3, 3)) == (200, 30, 90)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="truncated or damaged"):
        images.open_picture(path)


def test_a_large_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2 << 20)
    found = images.open_picture(png(tmp_path, icc_profile=profile))
    assert found.info["icc_profile"] == profile and images.from_pil(found).shape == (1, 3, 20, 24)


def test_a_profile_that_is_no_data_costs_only_itself(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + crc32(kind + content).to_bytes(4, "big")

    notes = PngInfo()
    notes.add_text("workflow", "x" * 3_000_000, zip=True)  # more than Pillow reads: our reader takes it out
    path = png(tmp_path, pnginfo=notes)
    before, data = images.load_image(path), path.read_bytes()
    header = 8 + 25                                     # the signature and IHDR
    path.write_bytes(data[:header] + chunk(b"iCCP", b"name\0\0not packed") + data[header:] + b"\xff\xff\xff")
    assert torch.equal(images.load_image(path), before)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [3, 4])
def test_photos_of_halves_come_back_as_an_image(pack: SimpleNamespace, kind: torch.dtype, channels: int) -> None:  # noqa: F811
    """SaveImage cannot write bfloat16, and other nodes fail on halves."""
    photo = picture(1, 40, 48, channels).to(kind)
    crop, face, _ = call(pack, "AlignFace", photo=photo, find="points", points=POINTS)
    pasted, mask = call(pack, "PasteFace", face=face, edited=1.0 - crop)
    assert pasted.dtype == mask.dtype == crop.dtype == torch.float32 and pasted.shape == photo.shape
    assert torch.equal(pasted[mask == 0], photo[mask == 0].float()) and bool((mask > 0).any())


def test_pictures_that_a_browser_saved_as_jfif_are_trained_on(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.JPG", "._a.jfif"):
        photo_at(tmp_path / name)
    assert FolderPictures(tmp_path, 32).names == ["a.jfif", "b.JPG"]


def test_codes_of_other_programs_are_read(tmp_path: Path, pack: SimpleNamespace) -> None:
    """e4e's and StyleCLIP's latents.pt, numpy's .npy; they were "truncated"."""
    ws = torch.randn(3, 8, 16)
    torch.save(ws, tmp_path / "latents.pt")
    torch.save({"w": ws, "name": "x"}, tmp_path / "table.pt")
    np.save(tmp_path / "w.npy", ws[0].double().numpy())
    for name, expected in (("latents.pt", ws), ("table.pt", ws), ("w.npy", ws[:1])):
        found = load_latent(tmp_path / name)
        assert torch.equal(found.ws, expected) and found.generator is None
    np.savez(tmp_path / "projected_w.npz", w=ws.numpy())
    torch.save({"a": ws, "b": ws}, tmp_path / "two.pt")
    torch.save(torch.zeros(512), tmp_path / "row.pt")
    torch.save(ws * torch.nan, tmp_path / "nan.pt")
    for name, kind, text in (("projected_w.npz", UnsupportedCheckpointError, "numpy.save"),
                             ("two.pt", UnsupportedCheckpointError, "two.pt.*no latent codes"),
                             ("row.pt", UnsupportedCheckpointError, "no latent codes"),
                             ("nan.pt", CorruptCheckpointError, "NaN")):
        with pytest.raises(kind, match=text):
            load_latent(tmp_path / name)
    folder = pack.sub("_host").output_directory() / "latents"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(ws, folder / "of_e4e.pt")
    try:
        assert "of_e4e.pt" in pack.nodes["LoadLatent"].INPUT_TYPES()["required"]["file"][1]["options"]
        assert torch.equal(call(pack, "LoadLatent", file="of_e4e.pt")[0].ws, ws)
    finally:
        (folder / "of_e4e.pt").unlink()  # the folder is the session's
