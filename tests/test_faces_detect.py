"""Detectors: read from local files through the safe reader, decoded as kornia decodes, never downloaded."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from reganie_core import faces
from reganie_core.errors import (
    CorruptCheckpointError,
    NotFoundError,
    ReganieWarning,
    UnsafeCheckpointError,
    UnsafePathError,
    UnsupportedCheckpointError,
)
from reganie_core.faces.yunet import YuNet, _network, decode, load_yunet, non_maximum_suppression


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights of kornia's network, lively enough that scores spread."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, tensor in _network().state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = tensor
        elif name.endswith("running_var"):
            tensors[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        else:
            tensors[name] = torch.randn(tensor.shape, generator=generator) * 0.4
    return tensors


@pytest.fixture
def weights(state, tmp_path):
    path = tmp_path / "yunet_final.pth"
    torch.save(state, path)
    return path


def test_weights_are_read_without_pickle_and_without_downloading(state, weights, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    before = torch.random.get_rng_state()
    detector = faces.load_detector(weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert isinstance(detector, faces.Detector) and not detector.network.training
    for name, tensor in detector.network.state_dict().items():
        assert torch.equal(tensor, state[name])
    from safetensors.torch import save_file

    save_file(state, weights.with_name("yunet.safetensors"))
    again = faces.load_detector(weights.with_name("yunet.safetensors"))
    assert torch.equal(again.network.head[0].conv1.conv1.weight, state["head.0.conv1.conv1.weight"])


def test_candidates_are_those_of_kornia(weights, monkeypatch):
    """Scores, boxes and points of the same outputs through kornia's own detector, built without its download."""
    face_detection = pytest.importorskip("kornia.contrib.face_detection")
    ours = load_yunet(weights)
    name = "YuNet" if hasattr(face_detection, "YuNet") else "YuFaceDetectNet"  # before kornia 0.9
    monkeypatch.setattr(face_detection, name, lambda *args, **kwargs: ours.network)
    theirs = face_detection.FaceDetector(confidence_threshold=0.5, nms_threshold=0.3)
    generator = torch.Generator().manual_seed(1)
    out = ours.network(torch.zeros(1, 3, 128, 192))  # kornia's own shapes and order of anchors
    out = {"loc": torch.randn(out["loc"].shape, generator=generator),
           "conf": torch.rand(out["conf"].shape, generator=generator),
           "iou": torch.rand(out["iou"].shape, generator=generator)}
    expected = theirs.postprocess(out, 128, 192)[0]
    rows = decode(out["loc"][0], out["conf"][0], out["iou"][0], (128, 192))
    found = non_maximum_suppression(rows[rows[:, 14] > 0.5], 0.3)
    assert 50 < len(found) == len(expected)
    assert torch.allclose(found[:, 14], expected[:, 14], atol=1e-5)
    assert torch.allclose(found[:, :14], expected[:, :14], atol=1e-2)


def test_decoding_a_known_anchor():
    """The first anchor of a 64x64 picture: centre (4, 4), side 10."""
    count = 8 * 8 * 3 + 4 * 4 * 2 + 2 * 2 * 2 + 3
    loc, conf, iou = torch.zeros(count, 14), torch.zeros(count, 2), torch.zeros(count, 1)
    loc[0] = torch.tensor([1.0, 2, 0, 0, -3, -3, 3, -3, 0, 0, -2, 3, 2, 3])
    conf[0, 1], iou[0] = 0.81, 1.0
    row = decode(loc, conf, iou, (64, 64))[0]
    assert row[:4].tolist() == pytest.approx([0, 1, 10, 11]) and row[14] == pytest.approx(0.9)
    assert row[4:14].tolist() == pytest.approx([1, 1, 7, 1, 4, 4, 2, 7, 6, 7])
    with pytest.raises(UnsupportedCheckpointError):
        decode(loc[:-1], conf, iou, (64, 64))


class OneFace(torch.nn.Module):
    """Stands in for the network: a face wherever the blue channel of the 64-pixel cells says so."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        h, w = pixels.shape[-2:]
        sizes = [(h // c * (w // c), k) for c, k in ((8, 3), (16, 2), (32, 2), (64, 3))]
        count = sum(n * k for n, k in sizes)
        conf, loc = torch.zeros(1, count, 2), torch.zeros(1, count, 14)
        cells = torch.nn.functional.avg_pool2d(pixels[:, :1], 64) > 200  # blue comes first
        start = sum(n * k for n, k in sizes[:-1])
        rows = start + cells.flatten().nonzero()[:, 0] * 3
        conf[0, rows, 1] = 1.0
        loc[0, rows, 4:] = torch.tensor([-2.0, -1, 2, -1, 0, 0, -1.5, 2, 1.5, 2])
        return {"loc": loc, "conf": conf, "iou": torch.ones(1, count, 1)}


def test_found_points_are_in_photo_pixels():
    """A blue cell of a large photo: its middle, and points a fifth of the anchor around it, whatever the copy."""
    photo = torch.full((1, 3, 512, 1024), -1.0)
    photo[0, 2, 128:256, 512:640] = 1.0
    face, = YuNet(OneFace(), sides=(512,)).detect(photo)[0]
    assert face.score == 1.0
    centre = torch.tensor([575.5, 191.5])
    expected = torch.tensor([[-2, -1], [2, -1], [0, 0], [-1.5, 2], [1.5, 2]]) * 25.6 + centre
    assert torch.allclose(face.points.float(), expected, atol=1e-3)
    assert YuNet(OneFace(), sides=(512,)).detect(-torch.ones(2, 3, 100, 70)) == [[], []]
    found = faces.align_photos(photo, 64, detector=YuNet(OneFace(), sides=(512,)))
    assert found.faces[0].score == 1.0 and torch.allclose(found.faces[0].landmarks.float(), expected, atol=1e-3)
    with pytest.warns(ReganieWarning, match="off by"):
        faces.align_photos(photo[..., 512:], 64, detector=YuNet(OneFace(), sides=(512,)), aligned=True)
    with pytest.warns(ReganieWarning, match="no face was found"):
        faces.align_photos(photo[..., :300], 64, detector=YuNet(OneFace(), sides=(512,)), aligned=True)
    with pytest.raises(NotFoundError, match="empty.png"):
        faces.align_photos(-photo.abs(), 64, detector=YuNet(OneFace()), names=["empty.png"])


def test_overlapping_candidates_are_one_face():
    rows = torch.zeros(3, 15)
    rows[:, :4] = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 0, 30, 10]])
    rows[:, 14] = torch.tensor([0.7, 0.9, 0.8])
    assert non_maximum_suppression(rows, 0.3)[:, 14].tolist() == pytest.approx([0.9, 0.8])
    assert len(non_maximum_suppression(rows, 0.9)) == 3 and non_maximum_suppression(rows[:0], 0.3).shape == (0, 15)


def test_wrong_files_say_what_they_are(state, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("no",)

    cases = {
        "a.pth": ({"conv1.weight": torch.zeros(3)}, UnsupportedCheckpointError, "not a YuNet"),
        "b.pth": ({k: v for k, v in state.items() if "model3" not in k}, CorruptCheckpointError, "model3"),
        "c.pth": ({**state, "model0.conv1.bias": torch.full((16,), float("nan"))}, CorruptCheckpointError, "NaN"),
        "d.pth": ({"x": Evil()}, UnsafeCheckpointError, "d.pth"),
    }
    for name, (content, error, text) in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(error, match=text):
            faces.load_detector(tmp_path / name)
    with pytest.raises(NotFoundError):
        faces.load_detector(tmp_path / "none.pth")
    (tmp_path / "face_detection_yunet.onnx").write_bytes(b"x")
    with pytest.raises(UnsupportedCheckpointError, match="yunet_final.pth"):
        faces.load_detector(tmp_path / "face_detection_yunet.onnx")


def test_files_are_found_by_name_in_registered_folders(weights, tmp_path):
    (tmp_path / "other").mkdir()
    folders = [tmp_path / "nowhere", tmp_path / "other", weights.parent]
    assert faces.list_detectors(folders) == ["yunet_final.pth"]
    assert faces.find_detector(folders) == weights == faces.find_detector(folders, "yunet_final.pth")
    assert faces.find_detector(folders[:2]) == faces.PACKAGED_DETECTOR
    with pytest.raises(NotFoundError, match="'mine.pth'"):
        faces.find_detector(folders, "mine.pth")
    with pytest.raises(UnsafePathError):
        faces.find_detector(folders, "../yunet_final.pth")


def test_packages_people_have_are_used_and_only_with_local_files(tmp_path, monkeypatch):
    pack = tmp_path / "models" / "buffalo"
    pack.mkdir(parents=True)
    for name in ("insightface", "insightface.app", "mediapipe"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotFoundError, match="insightface, which is not installed"):
        faces.load_detector(pack)
    made = {}

    class FaceAnalysis:
        def __init__(self, **options):
            made.update(options)

        def prepare(self, **options):
            pass

        def get(self, picture):
            assert picture.shape == (40, 50, 3) and picture[0, 0].tolist() == [0, 0, 255]  # BGR
            return [types.SimpleNamespace(kps=[[10, 10], [20, 10], [15, 15], [11, 20], [19, 20]], det_score=0.5)]

    module = types.ModuleType("insightface.app")
    module.FaceAnalysis = FaceAnalysis
    monkeypatch.setitem(sys.modules, "insightface", types.ModuleType("insightface"))
    monkeypatch.setitem(sys.modules, "insightface.app", module)
    with pytest.raises(NotFoundError, match="models/NAME"):
        faces.load_detector(pack)  # an empty pack: insightface would fetch it
    assert not made
    (pack / "det_10g.onnx").write_bytes(b"x")
    red = torch.full((1, 3, 40, 50), -1.0)
    red[:, 0] = 1.0
    face, = faces.load_detector(pack).detect(red)[0]
    assert made["root"] == str(tmp_path) and made["name"] == "buffalo" and face.points[1].tolist() == [20, 10]
    with pytest.raises(NotFoundError, match="no file"):
        faces.load_detector(tmp_path / "face_landmarker.task")


def test_the_mesh_of_mediapipe_gives_five_points():
    from reganie_core.faces.others import MediaPipe

    places = {468: (0.3, 0.4), 473: (0.6, 0.4), 1: (0.45, 0.5), 61: (0.35, 0.7), 291: (0.55, 0.7)}
    marks = [types.SimpleNamespace(x=places.get(i, (0, 0))[0], y=places.get(i, (0, 0))[1]) for i in range(478)]
    landmarker = types.SimpleNamespace(detect=lambda image: types.SimpleNamespace(face_landmarks=[marks]))
    package = types.SimpleNamespace(Image=lambda **kwargs: kwargs, ImageFormat=types.SimpleNamespace(SRGB=1))
    face, = MediaPipe(landmarker, package).detect(torch.zeros(1, 3, 100, 200))[0]
    assert face.points[:, 0].tolist() == pytest.approx([59.5, 119.5, 89.5, 69.5, 109.5])
    assert face.points[:, 1].tolist() == pytest.approx([39.5, 39.5, 49.5, 69.5, 69.5])
