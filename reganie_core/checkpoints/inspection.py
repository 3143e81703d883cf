"""What is in a file? Names, shapes and settings; no weight is read and nothing is executed."""

from __future__ import annotations

import os
from typing import Any

from ..errors import UnsupportedCheckpointError
from .dialects import described, recognise
from .loading import describe_source, is_ours, naming
from .parts import Part, options
from .records import ArrayRecord, Record, TensorRecord
from .source import Source, open_source

MAX_TENSORS = 50_000
MAX_DEPTH = 24
MAX_PATH = 200
_HOLDERS = (dict, list, tuple, Record, ArrayRecord, TensorRecord)


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a model file without reading its weights.

    Returns:
        A table of plain JSON values: ``file``, ``size`` (bytes), ``container``, ``kind`` and ``dialect`` of the main
        network ("unknown" where no dialect fits), ``config``, ``contains`` (every kind in it), ``tensors``
        ``{name: [shape, dtype]}`` by the names of the file, and ``metadata`` (provenance, or an e4e file's options).

    Raises:
        ReganieError: as the loaders do for files that are unsafe, damaged or no model files.
    """
    with naming(path):
        source = open_source(path)
        result: dict[str, Any] = {"file": source.name, "size": source.size, "container": source.container}
        if is_ours(source):
            kind, config, provenance = describe_source(source)
            result |= {"kind": kind, "dialect": "reganie", "config": config, "contains": [kind]}
            metadata: dict[str, Any] = {"format_version": source.metadata["format_version"], "provenance": provenance}
        else:
            parts, problem = _parts(source)
            main = parts[0] if parts else Part("unknown", "unknown", {})
            result |= {"kind": main.kind, "dialect": main.dialect, "config": main.config}
            result["contains"] = [part.kind for part in parts]
            metadata = _metadata(source, main, problem)
        result["tensors"] = _tensors(source.root)
        result["metadata"] = metadata
    return result


def _parts(source: Source) -> tuple[list[Part], str]:
    """Everything recognised; a file that is not supported is still described, with the reason."""
    try:
        parts = recognise(source)
    except UnsupportedCheckpointError as error:
        return [], str(error)
    return parts, str(parts[0].problem or "") if parts else ""


def _metadata(source: Source, main: Part, problem: str) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(source.metadata)
    if main.kind == "unknown" and not problem:
        problem = f"This is {described(source)}, which no loader here reads."
    if problem:
        metadata["problem"] = problem
    if notes := [*main.notes, *main.cautions]:
        metadata["notes"] = notes
    if isinstance(source.root, dict):
        for name in ("opts", "args", "training_set_kwargs"):
            if plain := options(source.root.get(name)):
                metadata[name] = plain
    return metadata


def _tensors(root: Any) -> dict[str, list[Any]]:
    """Every tensor that can be reached through tables, lists and modules, by its path."""
    found: dict[str, list[Any]] = {}
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    seen: set[int] = set()
    while pending and len(found) < MAX_TENSORS:
        path, value, depth = pending.pop()
        if isinstance(value, ArrayRecord):
            value = value.tensor
        if isinstance(value, TensorRecord):
            found[path or "(whole file)"] = [list(value.shape), str(value.dtype).removeprefix("torch.")]
            continue
        # A file may hold the same table many times over, or inside itself; it is listed once.
        if depth > MAX_DEPTH or id(value) in seen:
            continue
        seen.add(id(value))
        children = _children(value)
        prefix = f"{path[:MAX_PATH]}." if path else ""
        pending += [(f"{prefix}{str(name)[:MAX_PATH]}", child, depth + 1) for name, child in reversed(children)]
    return found


def _children(value: Any) -> list[tuple[Any, Any]]:
    """The named parts of a table, list or module that may hold tensors."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    elif isinstance(value, Record):
        tables = [value.state.get(name) for name in ("_parameters", "_buffers", "_modules")]
        pairs = [item for table in tables if isinstance(table, dict) for item in table.items()]
    else:
        return []
    return [(name, child) for name, child in pairs if isinstance(child, _HOLDERS)][:MAX_TENSORS]
