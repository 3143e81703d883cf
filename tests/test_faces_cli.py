"""``edit --align --paste-back``: a photo in, the same photo with an edited face out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import reganie_core as rc
from reganie_core import faces
from reganie_core.__main__ import main
from reganie_core.images import save_image, to_pil
from reganie_core.portraits.scenes import sample_scene


@pytest.fixture
def photo(tmp_path):
    """Two people, with alpha, and the file of their points."""
    scene = sample_scene(2, seed=3, width=260, height=180)
    image = to_pil(scene.render())[0]
    image.putalpha(77)
    image.save(tmp_path / "photo.png")
    (tmp_path / "photo.txt").write_text("# left, right\n" + faces.format_points(list(scene.points())))
    return tmp_path / "photo.png"


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_the_face_goes_back_and_the_rest_stays(photo, tiny_domain, tmp_path, capfd):
    out = tmp_path / "out.png"
    common = ("edit", photo, "-o", out, "--edit", "age=+1", "--domain", tiny_domain, "--align",
              photo.with_suffix(".txt"))
    assert run(*common, "--paste-back", "--face", "right") == 0
    before, after = np.asarray(Image.open(photo)), np.asarray(Image.open(out))
    assert after.shape == before.shape and np.array_equal(after[..., 3], before[..., 3])
    points = faces.parse_points(photo.with_suffix(".txt").read_text())
    aligned = faces.align_photos(Image.open(photo), None, smallest=32, points=points, which="right")
    assert aligned.crops.shape[-1] == round(aligned.faces[0].side) > 32, "the photo's own resolution"
    edited = rc.edit(aligned.crops, {"age": 1.0}, domain=tiny_domain)
    expected = faces.paste_faces(Image.open(photo), edited.result, aligned.faces, reference=edited.reconstruction)
    assert np.array_equal(after, np.asarray(expected.photos))
    untouched = expected.mask[0, 0].numpy() == 0
    assert np.array_equal(after[untouched], before[untouched]) and (after != before).any()
    assert untouched[:, :60].all()  # the person on the left
    assert run(*common, "--paste-back", "--face", "all", "--sheet") == 0
    assert (np.asarray(Image.open(out))[:, :130] != before[:, :130]).any() and (tmp_path / "out_sheet.png").exists()
    assert run(*common, "--json") == 0  # without pasting: the crop
    assert Image.open(out).size == (aligned.faces[0].size,) * 2


def test_several_photos_one_without_a_face(photo, tiny_domain, tmp_path, capfd):
    save_image(torch.zeros(1, 3, 50, 60), tmp_path / "wall.png")
    common = ("edit", photo, tmp_path / "wall.png", "-o", tmp_path / "o", "--domain", tiny_domain, "--align", tmp_path,
              "--json")
    assert run(*common) == 1
    said = capfd.readouterr()
    assert "wall.png" in said.err and (tmp_path / "o" / "photo.png").exists()
    assert "No face" in json.loads(said.out)["pictures"][1]["error"] and not (tmp_path / "o" / "wall.png").exists()
    assert run(*common, "--missing", "skip") == 0
    report = json.loads(capfd.readouterr().out)["pictures"]
    assert report[0]["result"].endswith("photo.png") and report[1]["result"] is None
    assert run(*common, "--missing", "skip", "--paste-back") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o" / "wall.png")),
                          np.asarray(Image.open(tmp_path / "wall.png")))


@pytest.mark.parametrize(("options", "said"), [
    (("--paste-back",), "--align"),
    (("--align", "auto", "--detector", "none.pth"), "none.pth"),
    (("--align", "nowhere.txt"), "no points at"),
    (("--align", "photo.png"), "no number"),
    (("--align", "photo.txt", "--face", "7"), "no face 7"),
    (("--align", "photo.txt", "--face", "all"), "--paste-back"),
])
def test_mistakes_are_explained(photo, tiny_domain, tmp_path, capfd, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    assert run("edit", photo, "-o", "x.png", "--domain", tiny_domain, *options) == 1
    assert said in capfd.readouterr().err and not (tmp_path / "x.png").exists()
