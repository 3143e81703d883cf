"""One file per stage of the paper's method.

`STAGES` maps every name on the command line to a file and a class. Where a renderer can do more, that is a subclass in
trainer/portraits with further options, which without these is the plain stage.
"""

from __future__ import annotations

import importlib

STAGES = {
    "generator": ("portraits.generator", "PortraitGeneratorStage"),
    "joint": ("stages.joint", "JointStage"),
    "face_detector": ("stages.face_detector", "FaceDetectorStage"),
    "attributes": ("portraits.attributes", "AttributesStage"),
    "identity": ("portraits.identity", "IdentityStage"),
    "encoder": ("portraits.encoder", "PortraitEncoderStage"),
    "directions": ("portraits.directions", "PortraitDirectionsStage"),
    "editor": ("portraits.editor", "PortraitEditorStage"),
    "rectifier": ("portraits.rectifier", "PortraitRectifierStage"),
    "restyle": ("compare.restyle", "RestyleStage"),
    "hfgi": ("compare.hfgi", "HfgiStage"),
    "hyperstyle": ("compare.hyperstyle", "HyperStyleStage"),
    "styleclip": ("portraits.styleclip", "PortraitStyleCLIPStage"),
    "text": ("portraits.text", "TextStage"),
}


def stage_class(name: str) -> type:
    """The class of a stage; imported on demand so that `--help` is quick."""
    module, cls = STAGES[name]
    return getattr(importlib.import_module(f"trainer.{module}"), cls)
