"""The packaged face detector on the packaged photographs, its networks, and the stage that trains it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reganie_core as rc
from reganie_core.__main__ import main
from reganie_core.errors import InputError, UnsupportedCheckpointError
from reganie_core.faces import PACKAGED_DETECTOR, find_detector, find_faces, load_detector
from reganie_core.faces.framing import FACES
from reganie_core.networks.face_detector import FaceDetectorNet, FaceDetectorNetConfig
from trainer.data import face_scenes
from trainer.stages.face_detector import FaceDetectorStage, FaceDetectorStageConfig

EXAMPLES = sorted((PACKAGED_DETECTOR.parent / "examples").glob("*.jpg"))


@pytest.fixture(scope="module")
def detector():
    return load_detector()


def scene(places, size=(900, 700)):
    """A grey wall with the example crops as squares ``(picture, x, y, side)``."""
    wall = Image.new("RGB", size, (150, 160, 170))
    for path, x, y, side in places:
        with Image.open(path) as picture:
            wall.paste(picture.convert("RGB").resize((side, side)), (x, y))
    return wall


def off(face, x, y, side):
    """How far its square is from the one that was pasted, in shares of its side."""
    corners = torch.tensor([[x, y], [x, y + side], [x + side, y + side], [x + side, y]], dtype=torch.float64) - 0.5
    return float((FACES.quad(face.points) - corners).norm(dim=-1).max()) / side


@pytest.mark.parametrize("side", [60, 130, 300, 600])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_it_finds_a_face_of_any_size_and_its_square(detector, path, side):
    place = (path, 120, 40, side)
    [faces] = find_faces(scene([place]), detector)
    assert len(faces) == 1 and faces[0].score > 0.8
    assert off(faces[0], *place[1:]) < 0.15


def test_two_faces_are_two_and_a_wall_is_none(detector):
    places = [(EXAMPLES[0], 60, 100, 220), (EXAMPLES[1], 500, 300, 320)]
    [faces] = find_faces(scene(places), detector)
    assert len(faces) == 2 and all(off(face, *place[1:]) < 0.15 for face, place in zip(faces, places, strict=True))
    assert find_faces(scene([]), detector) == [[]]
    noise = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert detector.detect(noise) == [[]]
    assert detector.detect(torch.zeros(1, 3, 5, 3)) == [[]]


def test_it_is_the_default_where_no_file_is_named(tmp_path):
    assert find_detector([tmp_path]) == PACKAGED_DETECTOR
    (tmp_path / "yunet_final.pth").write_bytes(b"x")
    assert find_detector([tmp_path]) == tmp_path / "yunet_final.pth"


def test_the_command_line_aligns_without_a_detector_file_and_leaves_the_rest_as_it_was(tmp_path):
    photo = scene([(EXAMPLES[0], 200, 150, 256)], (640, 520))
    photo.save(tmp_path / "photo.png")
    arguments = ["edit", str(tmp_path / "photo.png"), "--domain", "faces", "--align", "auto", "--paste-back",
                 "--edit", "smile=2", "--out", str(tmp_path / "out.png")]
    assert main(arguments) == 0
    before, after = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (tmp_path / "photo.png",
                                                                                    tmp_path / "out.png"))
    changed = np.abs(after - before).max(2) > 0
    assert changed[150:406, 200:456].any(), "the face changed"
    changed[130:426, 180:476] = False
    assert not changed.any(), "nothing else did"


def test_a_refined_point_is_the_mean_of_its_map():
    net = FaceDetectorNet(FaceDetectorNetConfig()).eval()
    torch.nn.init.zeros_(net.maps.weight)
    torch.nn.init.zeros_(net.maps.bias)
    points = net.refine(torch.zeros(2, 3, 64, 64))
    assert torch.allclose(points, torch.full((2, 5, 2), 0.5), atol=1e-6), "all places alike: the centre"
    with pytest.raises(InputError):
        FaceDetectorNetConfig(finder=(4, 4))


def test_a_file_of_another_kind_is_named(tmp_path):
    path = PACKAGED_DETECTOR.parent / "directions.safetensors"
    with pytest.raises((UnsupportedCheckpointError, rc.errors.WrongKindError)):
        load_detector(path)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Six "photographs": a light disc with two dark eyes, a nose and a mouth at known places."""
    folder = tmp_path_factory.mktemp("labelled")
    columns = [f"{name}_{axis}" for name in face_scenes.NAMES for axis in "xy"]
    with (folder / "labels.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["file", *columns])
        for i in range(6):
            picture = np.full((100, 100, 3), 90 + 10 * i, np.uint8)
            points = np.array([[30, 30], [70, 30], [50, 50], [36, 70], [64, 70]]) + i
            for x, y in points:
                picture[y - 3:y + 3, x - 3:x + 3] = 0
            Image.fromarray(picture).save(folder / f"{i}.png")
            table.writerow([f"{i}.png", *points.flatten()])
    return folder


def test_scenes_put_the_points_where_the_marks_are(labelled):
    photos = face_scenes.read(Path(labelled))
    random = torch.Generator().manual_seed(3)
    centre, turn = torch.full((6, 2), 64.0), torch.full((6,), 0.3)
    mirror = torch.tensor([True, False] * 3)
    drawn, _, points = face_scenes._similarity(photos, torch.arange(6), torch.full((6,), 112.0), centre, turn, mirror,
                                               128)
    for picture, own in zip(drawn, points, strict=True):
        for x, y in own.round().long().tolist():
            assert picture[:, y, x].mean() < -0.8, "the mark is there"
    right, left = points[:, 0, 0], points[:, 1, 0]
    assert (right < left).all(), "also in a mirrored one the subject's right eye is left in the picture"
    first, again = (face_scenes.scenes(photos, 8, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.images, again.images) and first.images.abs().max() <= 1
    crops, shares = face_scenes.crops(photos, 8, random)
    assert crops.shape == (8, 3, 64, 64) and ((shares > -0.2) & (shares < 1.2)).all()


def test_the_stage_learns_and_its_file_loads(labelled, tmp_path):
    stage = FaceDetectorStage(FaceDetectorStageConfig(images=str(labelled), batch=8, device="cpu"))
    terms = [stage.step(8 * i) for i in range(16)]
    early, late = (sum(float(t["face"]) + float(t["points"]) for t in part) for part in (terms[:4], terms[-4:]))
    assert late < 0.7 * early
    assert 0 <= stage.validate()["found"] <= 1
    stage.export(tmp_path / "face_detector.safetensors", {})
    assert load_detector(tmp_path / "face_detector.safetensors").detect(torch.zeros(1, 3, 64, 64)) is not None


def test_labels_that_are_missing_are_named(tmp_path):
    with pytest.raises(InputError, match="labels.csv"):
        face_scenes.read(tmp_path)
    (tmp_path / "labels.csv").write_text("file,nose_x\n")
    with pytest.raises(InputError, match="right_eye_x"):
        face_scenes.read(tmp_path)


def test_samples_of_the_packaged_faces_are_what_the_encoder_knows():
    """The mapping network is written down, not trained: codes of its pictures are found again."""
    domain = rc.load_domain("faces")
    generator, encoder = domain.generator, domain.encoder
    z = torch.randn(12, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        w = generator.mapping.w(z) - generator.w_avg
        pictures = generator.synthesis(generator.mapping(z), noise="const").clamp(-1, 1)
        found = encoder(pictures)[:, 0] - generator.w_avg
    alike = torch.nn.functional.cosine_similarity(w[:, None], found[None], dim=-1)
    assert alike.diagonal().mean() > 0.8 and (alike.argmax(1) == torch.arange(12)).all()
    assert 0.2 < float(pictures.std()) < 0.9
