"""One file per stage of the paper's method; `STAGES` maps every name on the command line to its file and class."""

from __future__ import annotations

import importlib

STAGES = {
    "generator": ("stages.generator", "GeneratorStage"),
    "joint": ("stages.joint", "JointStage"),
    "attributes": ("portraits.attributes", "AttributesStage"),
    "identity": ("portraits.identity", "IdentityStage"),
    "encoder": ("stages.encoder", "EncoderStage"),
    "directions": ("stages.directions", "DirectionsStage"),
    "editor": ("stages.editor", "EditorStage"),
    "rectifier": ("stages.rectifier", "RectifierStage"),
    "restyle": ("compare.restyle", "RestyleStage"),
    "hfgi": ("compare.hfgi", "HfgiStage"),
    "hyperstyle": ("compare.hyperstyle", "HyperStyleStage"),
    "styleclip": ("stages.styleclip", "StyleCLIPStage"),
    "text": ("portraits.text", "TextStage"),
}


def stage_class(name: str) -> type:
    """The class of a stage; imported on demand so that `--help` is quick."""
    module, cls = STAGES[name]
    return getattr(importlib.import_module(f"trainer.{module}"), cls)
