"""One file per stage; `STAGES` maps the name on the command line to it."""

from __future__ import annotations

import importlib

STAGES = {
    "generator": ("generator", "GeneratorStage"),
    "joint": ("joint", "JointStage"),
    "face_detector": ("face_detector", "FaceDetectorStage"),
    "attributes": ("attributes", "AttributesStage"),
    "identity": ("identity", "IdentityStage"),
    "encoder": ("encoder", "EncoderStage"),
    "directions": ("directions", "DirectionsStage"),
    "editor": ("editor", "EditorStage"),
    "rectifier": ("rectifier", "RectifierStage"),
    "restyle": ("restyle", "RestyleStage"),
    "hfgi": ("hfgi", "HfgiStage"),
    "hyperstyle": ("hyperstyle", "HyperStyleStage"),
    "styleclip": ("styleclip", "StyleCLIPStage"),
    "text": ("text", "TextStage"),
}


def stage_class(name: str) -> type:
    """The class of a stage; imported on demand so that `--help` is quick."""
    module, cls = STAGES[name]
    return getattr(importlib.import_module(f".{module}", __package__), cls)
