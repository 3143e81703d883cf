"""Loaded networks: each file once, whichever node asks, and again only when the file has changed.

Nothing here keeps a network alive: ComfyUI does, by keeping loaders' outputs and node objects while their graph is in
use. A node that loads by name keeps the result for that reason (``_choices.connected_or_named``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import WeakValueDictionary

import torch

from .. import reganie_core as rc
from . import _host, _notices

LOADERS: dict[str, Callable[..., Any]] = {
    "generator": lambda path: rc.load_generator(path),
    "encoder": lambda path, **options: rc.load_encoder(path, **options),
    "dystyle": lambda path: rc.load_editor(path),
    "styleclip": lambda path: rc.load_editor(path),
    "directions": lambda path: rc.load_editor(path),
    "rectifier": lambda path: rc.load_rectifier(path),
    "detector": lambda path: rc.faces.load_detector(path),
    "method": lambda path: rc.checkpoints.loading.load_method(path),
}
_lock = RLock()
_alive: WeakValueDictionary[tuple, Model] = WeakValueDictionary()


class Model:
    """One loaded file on a wire: its kind, a label for messages, and the network or editor itself."""

    def __init__(self, kind: str, label: str, value: Any, path: Path | None = None) -> None:
        self.kind, self.label, self.value, self.path = kind, label, value, path
        held = (value, getattr(value, "network", None), getattr(value, "mapper", None))  # editors hold theirs
        modules = (item for item in held if isinstance(item, torch.nn.Module))
        module = next((item for item in modules if next(item.parameters(), None) is not None), None)
        self.resident = None if module is None else _host.Resident(module)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label}>"


def load(kind: str, path: Path, label: str, **options: str) -> Model:
    """The network in ``path``; built outside inference mode, so that nodes which optimise can use it as well.

    What the reader warns of is shown on the page. ``options``: of an encoder, ``encoder_type``.

    Raises:
        ReganieError: whatever the reader has to say about the file.
    """
    path = Path(path)
    try:
        state = path.resolve().stat()
    except OSError:
        raise rc.errors.NotFoundError(f"The {kind} file {path} is gone; refresh the lists and choose again.") from None
    key = (kind, str(path.resolve()), state.st_mtime_ns, state.st_size, *sorted(options.items()))
    with _lock:
        model = _alive.get(key)
        if model is None:
            with torch.inference_mode(False), _notices.show_warnings("Models"):
                value = LOADERS[kind](path, **options)
            if kind == "method":  # its file says which
                kind, value = value
            _alive[key] = model = Model(kind, label, value, path)
        return model


def on_device(memory: int, *models: Model) -> list[Any]:
    """Bring the networks to the compute device together and return them."""
    residents = [model.resident for model in models if model.resident is not None]
    if residents:
        _host.to_device(residents, memory)
    return [model.value for model in models]


def state(path: Path) -> str:
    """What IS_CHANGED compares: changes when the file is replaced, so an edited file is read again."""
    found = Path(path).stat()
    return f"{path}:{found.st_mtime_ns}:{found.st_size}"
