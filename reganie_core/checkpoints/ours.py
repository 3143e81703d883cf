"""Our own files: safetensors with ``format_version``, ``kind``, ``config`` and ``provenance`` in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import CorruptCheckpointError, InputError, UnsupportedCheckpointError, WrongKindError
from ..kinds import KINDS
from ..paths import atomic_write
from .files import open_regular
from .safetensors_file import NAMES, plain_json, read_header, stored_tensors, write_tensors
from .sums import check_sum

FORMAT_VERSION = 1
SUM_ITEMS = 1 << 22


@dataclass(frozen=True)
class Checkpoint:
    """What one of our files holds; floating tensors are float32 (or float64), whatever the file stores."""

    kind: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """16 hex characters that name a set of weights: SHA-256 over sorted names, shapes and float32 bytes.

    It identifies what is *loaded*: a float16 file and the float32 weights it was made from have different
    fingerprints, because they are different functions. Read a file back before recording its fingerprint.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode("utf-8", "surrogatepass"))  # of a public pickle
        flat = tensor.to(device="cpu", dtype=torch.float32).contiguous().reshape(-1)
        if flat.numel():
            digest.update(flat.numpy().data)
    return digest.hexdigest()[:16]


def check_finite(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ``CorruptCheckpointError`` naming the first tensor with a NaN or an infinity."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        # A float64 sum of float32 values cannot overflow; only a hit is looked at closely. In pieces: it is cast first.
        sums = [part.sum(dtype=torch.float64) for part in tensor.reshape(-1).split(SUM_ITEMS)]
        if not torch.isfinite(torch.stack(sums)).all() and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise CorruptCheckpointError(
                f"Tensor '{name[:80]}' holds {count} non-finite values (NaN or infinity). "
                "The training run that made the file diverged, or the file is damaged: use another one."
            )


def save_checkpoint(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    provenance: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write one of our files atomically.

    Args:
        path: ends in ``.safetensors``; its folder exists.
        kind: one of ``kinds.KINDS``.
        config: what rebuilds the network; plain JSON values (tuples become lists).
        tensors: name -> tensor on any device; written contiguous.
        provenance: command, commit, seed, kimg, fingerprints, metrics ...; plain JSON values.
        dtype: stored dtype of the floating tensors (None: as they are).

    Raises:
        InputError: wrong suffix or kind, values that JSON or safetensors cannot hold, a file that cannot be written.
        CorruptCheckpointError: a tensor is not finite; nothing is written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"'{path.name}' must end in .safetensors, the only format written here.")
    if kind not in KINDS:
        raise InputError(f"'{kind}' is not a kind of checkpoint. Kinds: {', '.join(sorted(KINDS))}.")
    stored = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        if tensor.dtype not in NAMES or tensor.layout is not torch.strided or tensor.is_meta:
            raise InputError(f"Tensor '{name}' ({tensor.dtype}, {tensor.layout}, {tensor.device}) cannot be saved.")
        if name.encode("utf-8", "replace").decode("utf-8") != name:
            raise InputError(f"The tensor's name {repr(name)[:80]} is no text that a file can hold; rename it.")
        stored[name] = tensor
    check_finite(stored)
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "kind": kind,
        "config": _to_json(config, "config"),
        "provenance": _to_json(provenance, "provenance"),
    }
    with atomic_write(path) as temporary, open(temporary, "wb") as handle:
        write_tensors(handle, stored, metadata)


def _to_json(value: Mapping[str, Any], what: str) -> str:
    try:
        text = json.dumps(dict(value), allow_nan=False, sort_keys=True, ensure_ascii=False)
        text.encode("utf-8")
        return text
    except (TypeError, ValueError) as error:
        raise InputError(f"The {what} holds what JSON cannot: {error}. Use numbers, texts and lists.") from None


def describe(metadata: Mapping[str, str], name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(kind, config, provenance) of the metadata of one of our files; ``name`` is the file name for messages."""
    version = metadata.get("format_version")
    if version is None or "kind" not in metadata:
        raise UnsupportedCheckpointError(
            f"'{name}' is a safetensors file without this project's format_version and kind. "
            "Give the original .pt or .pkl file, or one made by 'python -m reganie_core convert'."
        )
    if not (version.isascii() and version.isdigit() and len(version) < 6):
        raise CorruptCheckpointError(f"'{name}' has format_version '{version[:20]}', which is not a number.")
    if int(version) > FORMAT_VERSION:
        raise UnsupportedCheckpointError(
            f"'{name}' has format_version {version}; this version reads up to {FORMAT_VERSION}. Update ReGANIE."
        )
    kind = metadata["kind"]
    if kind not in KINDS:
        raise UnsupportedCheckpointError(
            f"'{name}' is of kind '{kind[:40]}', which this version does not know. Update ReGANIE."
        )
    return kind, _from_json(metadata, "config", name), _from_json(metadata, "provenance", name)


def _from_json(metadata: Mapping[str, str], key: str, name: str) -> dict[str, Any]:
    try:
        value = plain_json(metadata.get(key, "{}"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CorruptCheckpointError(
            f"The {key} stored in '{name}' is not a JSON table. The file is damaged: get it again."
        )
    return value


def check_kind(found: str, wanted: str | None, name: str) -> None:
    """Raise ``WrongKindError`` that says which loader reads the file."""
    if wanted is not None and found != wanted:
        raise WrongKindError(
            f"'{name}' holds a checkpoint of kind '{found}', not '{wanted}'. "
            f"Read it with {KINDS[found].loader}()."
        )


def read_checkpoint(path: str | os.PathLike[str], kind: str | None = None) -> Checkpoint:
    """Read one of our safetensors files; float16 and bfloat16 become float32.

    Raises:
        NotFoundError, InputError: no such file, or not a file.
        CorruptCheckpointError: truncated, inconsistent, non-finite, or not the file of its domain.json.
        UnsupportedCheckpointError: not one of ours, or written by a newer version.
        WrongKindError: of another kind than ``kind``.
    """
    name, before = Path(path).name, _mark(path)
    handle, size = open_regular(path)
    with handle:
        check_sum(handle, path)
        header = read_header(handle, size)
    found, config, provenance = describe(header.metadata, name)
    check_kind(found, kind, name)
    tensors = {}
    for key, tensor in stored_tensors(path, header):
        tensors[key] = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    if _mark(path) != before:  # the tensors are those of the file that was checked, or of none
        raise CorruptCheckpointError(f"'{name}' was changed while it was read. Load it again when it is complete.")
    check_finite(tensors)
    return Checkpoint(found, config, provenance, tensors)


def _mark(path: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """What tells a file from the one that takes its place; None where there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
