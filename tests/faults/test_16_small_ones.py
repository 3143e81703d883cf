"""Byte order marks in text files, photos without any face, and the quality of lossy pictures."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reganie_core import faces, images
from reganie_core.__main__ import main
from reganie_core.domains import load_domain
from reganie_core.paths import read_text
from trainer.chain import read_chain
from trainer.loop.config import StageConfig, build

POINTS = "10,12 22,12 12,24 20,24  # \N{LATIN SMALL LETTER E WITH ACUTE}\n"
MARKS = {"none": ("utf-8", b""), "utf-8": ("utf-8", codecs.BOM_UTF8), "utf-16-le": ("utf-16-le", codecs.BOM_UTF16_LE),
         "utf-16-be": ("utf-16-be", codecs.BOM_UTF16_BE)}


def write(path: Path, text: str, mark: str) -> Path:
    encoding, first = MARKS[mark]
    path.write_bytes(first + text.encode(encoding))
    return path


@pytest.mark.parametrize("mark", MARKS)
def test_text_files_may_begin_with_a_mark(tmp_path: Path, tiny_domain: Path, mark: str) -> None:
    points = write(tmp_path / "points.txt", POINTS, mark)
    assert read_text(points) == POINTS and len(faces.parse_points(read_text(points))) == 1
    photo = tiny_domain / "examples" / "one.png"
    assert main(["edit", str(photo), "-o", str(tmp_path / "out.png"), "--align", str(points), "--domain",
                 str(tiny_domain)]) == 0
    assert build(StageConfig, write(tmp_path / "c.json", '{"batch": 4}', mark), []).batch == 4
    (tmp_path / "chains").mkdir()
    write(tmp_path / "chains" / "chain.json", json.dumps([{"name": "a", "stage": "generator"}]), mark)
    assert [job.name for job in read_chain(tmp_path / "chains", [])] == ["a"]
    assert len(faces.parse_points("\ufeff" + POINTS)) == 1                    # pasted into a node


def test_a_domain_s_manifest_may_too(tmp_path: Path, make_domain: object) -> None:
    folder = make_domain(tmp_path / "d")  # type: ignore[operator]
    text = (folder / "domain.json").read_text()
    for mark in MARKS:
        write(folder / "domain.json", text, mark)
        assert load_domain(folder).name == "tiny"


@pytest.mark.parametrize("count", [1, 2])
def test_skip_skips_also_where_no_photo_has_a_face(tmp_path: Path, tiny_domain: Path, count: int,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    """One photo with a face let the others pass; none of them having one was an error."""
    photos = [tmp_path / f"wall{i}.png" for i in range(count)]
    (tmp_path / "points").mkdir()
    for photo in photos:
        Image.new("RGB", (40, 30), (9, 99, 200)).save(photo)
    out = tmp_path / "out"
    common = ["edit", *map(str, photos), "--domain", str(tiny_domain), "--align", str(tmp_path / "points"), "-o"]
    assert main([*common, str(out), "--missing", "skip", "--sheet"]) == 0
    said = capfd.readouterr()
    assert said.out.count("no usable face, skipped") == count and not said.err and not list(out.iterdir())
    assert main([*common, str(out), "--missing", "skip", "--paste-back"]) == 0
    assert [np.array_equal(Image.open(out / p.name), Image.open(p)) for p in photos] == [True] * count
    assert main([*common, str(tmp_path / "strict")]) == 1
    said = capfd.readouterr().err
    assert "No face was found in wall0.png" in said and "None of the" not in said


def test_a_clip_without_a_face_is_skipped_too() -> None:
    track = faces.track_faces([None, None], (64, 48), 32, missing="skip")
    frames = [torch.rand(3, 48, 64), torch.rand(3, 48, 64)]
    edited = list(faces.edit_frames(frames, track.faces, lambda crops: crops))
    assert all(torch.equal(a, b) for a, b in zip(frames, edited, strict=True))


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_lossy_pictures_are_written_at_high_quality(tmp_path: Path, suffix: str) -> None:
    """Smooth grey noise: PIL's own quality (75 and 80) loses twice as much. WebP halves the size of colours anyway."""
    small = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    noise = images.resize(small, 96).clamp(-1, 1).repeat(1, 3, 1, 1)
    images.save_image(noise, tmp_path / f"ours{suffix}")
    images.to_pil(noise)[0].save(tmp_path / f"plain{suffix}")
    errors = [float((images.load_image(tmp_path / f"{name}{suffix}") - noise).square().mean())
              for name in ("ours", "plain")]
    assert errors[0] < 0.5 * errors[1] and errors[0] < 0.003
