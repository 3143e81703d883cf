"""ReGANIE for ComfyUI: registers the nodes; nothing else."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("folder_paths") is not None:  # inside ComfyUI
    from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
else:  # pytest, linters and documentation tools import this file as well
    NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS = {}, {}

WEB_DIRECTORY = "./web"

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
