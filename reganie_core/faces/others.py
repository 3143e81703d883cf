"""Face detectors that are used where a person has them: insightface and mediapipe. Nothing is ever downloaded."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, NotFoundError
from ..images import check_image, to_uint8
from .choose import Found
from .points import check_points

__all__ = ["InsightFace", "MediaPipe", "load_insightface", "load_mediapipe"]

#: Points of mediapipe's face mesh: the irises' centres, the nose's tip, the mouth's corners.
MESH_POINTS = (468, 473, 1, 61, 291)


def _package(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotFoundError(f"{what} needs the package {name.split('.')[0]}, which is not installed. Use YuNet, or "
                            "give the points by hand.") from error


class InsightFace:
    """An insightface ``FaceAnalysis`` as a detector; its five points are already the ones used here."""

    def __init__(self, analysis: Any) -> None:
        self.analysis = analysis

    def detect(self, images: Tensor) -> list[list[Found]]:
        """See :class:`reganie_core.faces.Detector`."""
        found = []
        for picture in to_uint8(check_image(images)).numpy():
            faces = self.analysis.get(picture[..., ::-1].copy())  # BGR
            found.append([Found(check_points(torch.as_tensor(face.kps)), float(face.det_score)) for face in faces])
        return found


class MediaPipe:
    """A mediapipe Tasks ``FaceLandmarker`` as a detector."""

    def __init__(self, landmarker: Any, package: Any) -> None:
        self.landmarker = landmarker
        self.package = package

    def detect(self, images: Tensor) -> list[list[Found]]:
        """See :class:`reganie_core.faces.Detector`. The landmarker gives no scores."""
        found = []
        for picture in to_uint8(check_image(images)).numpy():
            height, width = picture.shape[:2]
            image = self.package.Image(image_format=self.package.ImageFormat.SRGB, data=picture.copy())
            faces = []
            for marks in self.landmarker.detect(image).face_landmarks:
                points = [(marks[i].x * width - 0.5, marks[i].y * height - 0.5) for i in MESH_POINTS]
                faces.append(Found(check_points(points)))
            found.append(faces)
        return found


def load_insightface(folder: str | os.PathLike[str], device: torch.device | str = "cpu") -> InsightFace:
    """A model pack that lies in ``<root>/models/<name>`` with its ``.onnx`` files, for example buffalo_l.

    Mind the licence of the packs: the published ones are for non-commercial research.

    Raises:
        NotFoundError: the package is not installed, or the folder is not laid out like that; insightface would
            otherwise download the pack by itself.
    """
    folder = Path(folder)
    app = _package("insightface.app", "A folder of .onnx files")
    if folder.parent.name != "models" or not any(folder.glob("*.onnx")):
        raise NotFoundError(f"insightface needs its pack in a folder models/NAME with .onnx files; {folder} is none. "
                            "Move the pack there.")
    providers = ["CPUExecutionProvider"]
    if torch.device(device).type == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
    analysis = app.FaceAnalysis(name=folder.name, root=str(folder.parent.parent), allowed_modules=["detection"],
                                providers=providers)
    analysis.prepare(ctx_id=0 if len(providers) > 1 else -1, det_size=(640, 640))
    return InsightFace(analysis)


def load_mediapipe(path: str | os.PathLike[str], faces: int = 16) -> MediaPipe:
    """A local ``face_landmarker.task`` file.

    Raises:
        NotFoundError: no such file, or the package is not installed.
        CorruptCheckpointError: mediapipe refuses the file.
    """
    if not Path(path).is_file():
        raise NotFoundError(f"There is no file {path}. Give a local face_landmarker.task, or use YuNet.")
    package = _package("mediapipe", "A .task file")
    vision = _package("mediapipe.tasks.python.vision", "A .task file")
    base = _package("mediapipe.tasks.python", "A .task file")
    options = vision.FaceLandmarkerOptions(base_options=base.BaseOptions(model_asset_path=str(path)), num_faces=faces)
    try:
        return MediaPipe(vision.FaceLandmarker.create_from_options(options), package)
    except (RuntimeError, ValueError) as error:
        raise CorruptCheckpointError(f"{Path(path).name} is not a face landmarker that mediapipe reads: "
                                     f"{error}.") from error
