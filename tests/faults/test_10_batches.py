"""Many photos: each is written when it is done, those that fail are named at the end, memory holds one at a time."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reganie_core import images
from reganie_core.__main__ import main
from reganie_core.cli.photos import points_files
from reganie_core.errors import InputError
from reganie_core.latents import load_latent

POINTS = "10,12 22,12 12,24 20,24\n"


def photo_at(path: Path, seed: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.linspace(0.1, 0.4 + seed / 10, 32, dtype=np.float32), (32, 1))
    Image.fromarray(ramp if mode == "F" else (ramp * 255).astype(np.uint8)).convert(mode).save(path)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three photos with points, the second of floats, which a .png cannot hold."""
    photos = [photo_at(tmp_path / "a.png", 1), photo_at(tmp_path / "b.tif", 2, "F"), photo_at(tmp_path / "c.png", 3)]
    for path in photos:
        path.with_suffix(".txt").write_text(POINTS)
    return photos


def test_one_photo_that_fails_costs_no_other(three: list[Path], tiny_domain: Path, tmp_path: Path,
                                             capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("edit", *three, "-o", out, "--domain", tiny_domain, "--edit", "age=+0.5", "--align", tmp_path,
               "--paste-back", "--sheet") == 1
    said = capfd.readouterr()
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png", "sheet.png"]
    last = said.err.splitlines()[-2:]
    assert "b.tif" in last[0] and "floats" in last[0] and last[1].startswith("error: 1 of 3")
    assert said.out.count(" -> ") == 3                     # two photos and the sheet
    assert run("edit", three[1], "-o", tmp_path / "alone.tif", "--domain", tiny_domain, "--align",
               tmp_path / "b.txt", "--paste-back") == 0
    assert Image.open(tmp_path / "alone.tif").mode == "F"


@pytest.mark.parametrize("kind", ["page", "missing", "narrow"])
def test_the_same_without_aligning_and_for_inversions(tiny_domain: Path, tmp_path: Path, kind: str,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    good = [photo_at(tmp_path / "a.png", 1), photo_at(tmp_path / "c.png", 3)]
    bad = tmp_path / "b.png"
    if kind == "page":
        bad.write_text("<html>")
    elif kind == "narrow":
        Image.new("RGB", (32, 40)).save(bad)
    latent = ("--latent", tmp_path / "w.safetensors")
    for command, name, more in (("edit", "result", ()), ("invert", "inversion", latent)):
        out = tmp_path / command
        assert run(command, good[0], bad, good[1], "-o", out, "--domain", tiny_domain, "--json", *more) == 1
        said = capfd.readouterr()
        report = json.loads(said.out)["pictures"]
        assert [entry[name] is None for entry in report] == [False, True, False] and report[1]["error"]
        assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"] and "1 of 3" in said.err
    assert load_latent(tmp_path / "w.safetensors").ws.shape[0] == 2


def test_each_is_written_before_the_next_is_read_and_one_is_held(tiny_domain: Path, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [photo_at(tmp_path / "in" / f"{i}.png", i) for i in range(6)]
    for path in photos:
        path.with_suffix(".txt").write_text(POINTS)
    held: list[weakref.ref] = []
    written: list[int] = []
    out, plain = tmp_path / "out", images.open_picture

    def open_picture(path: str) -> Image.Image:
        written.append(len(list(out.iterdir())))
        picture = plain(path)
        held.append(weakref.ref(picture))
        assert sum(one() is not None for one in held) <= 2        # the last one may not be swept up yet
        return picture

    monkeypatch.setattr(images, "open_picture", open_picture)
    assert run("edit", *photos, "-o", out, "--domain", tiny_domain, "--align", tmp_path / "in", "--paste-back") == 0
    assert written == [0, 1, 2, 3, 4, 5]


def test_what_is_wrong_for_all_is_said_before_any(tiny_domain: Path, tmp_path: Path,
                                                  capfd: pytest.CaptureFixture[str]) -> None:
    photos = [photo_at(tmp_path / f"{i}.png", i) for i in range(2)]
    for options in (("--edit", "nose=+1"), ("--strength", "nan"), ("--strength", "2.5"), ("--paste-back",),
                    ("--align", tmp_path / "0.txt"), ("--sheet", tmp_path / "x.gif")):
        assert run("edit", *photos, "-o", tmp_path / "out", "--domain", tiny_domain, *options) == 1
        assert capfd.readouterr().err.count("error:") == 1 and not list((tmp_path / "out").glob("*"))


def test_two_photos_never_share_one_points_file(tmp_path: Path) -> None:
    a, b = photo_at(tmp_path / "a" / "x.png"), photo_at(tmp_path / "b" / "x.png", 2)
    points = tmp_path / "points"
    (points / "b").mkdir(parents=True)
    (points / "x.txt").write_text(POINTS)
    with pytest.raises(InputError, match="would both take their points"):
        points_files(str(points), [str(a), str(b)])
    assert points_files(str(points), [str(a), str(a)]) == {str(a): points / "x.txt"}
    (points / "b" / "x.txt").write_text(POINTS)
    assert points_files(str(points), [str(a), str(b)]) == {str(a): points / "x.txt", str(b): points / "b" / "x.txt"}
    other = photo_at(tmp_path / "a" / "x.jpg", 1)
    with pytest.raises(InputError, match=r"x\.png\.txt.*x\.jpg\.txt"):
        points_files(str(points), [str(a), str(other)])
    (points / "x.jpg.txt").write_text(POINTS)
    assert points_files(str(points), [str(a), str(other)])[str(other)].name == "x.jpg.txt"


def test_a_batch_gives_its_singles(tiny_domain: Path, tmp_path: Path) -> None:
    photos = [photo_at(tmp_path / f"{i}.png", i) for i in range(3)]
    assert run("edit", *photos, "-o", tmp_path / "all", "--domain", tiny_domain, "--edit", "age=+0.5") == 0
    assert run("edit", photos[1], "-o", tmp_path / "one.png", "--domain", tiny_domain, "--edit", "age=+0.5") == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "all" / "1.png").read_bytes()
    assert torch.equal(images.load_image(tmp_path / "one.png"), images.load_image(tmp_path / "all" / "1.png"))
