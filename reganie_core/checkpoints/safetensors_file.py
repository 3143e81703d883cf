"""The safetensors container: 8 bytes header length, a JSON header, then the raw tensors.

The package ``safetensors`` reads the tensors. In front of it stands a check of our own: every size is compared with the
file before anything is allocated, numbers and depths have limits, and what is wrong is said in a sentence. Writing is
ours: the package (0.8) writes the metadata in another order each time, and the same tensors must always give the same
bytes, so that a file can be compared by its hash; also, it fills no open file, or holds the whole one in memory.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError
from .files import read_exact

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER = 16 << 20
MAX_TENSORS = 65536
MAX_DIMENSIONS = 8
MAX_BRACKETS = 4 * MAX_TENSORS  # every table or list of the JSON takes far more memory than its two bytes


@dataclass(frozen=True)
class Entry:
    """One tensor of the header; ``start`` and ``end`` count from the first byte after the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    metadata: dict[str, str]
    entries: dict[str, Entry]
    data_start: int


def read_header(handle: BinaryIO, size: int) -> Header:
    """Parse and check the header of an open file of ``size`` bytes; no tensor is read."""
    if size < 10:
        raise CorruptCheckpointError(f"A safetensors file has at least 10 bytes; this one has {size}. Get it again.")
    handle.seek(0)
    (length,) = struct.unpack("<Q", bytes(read_exact(handle, 8, "the header length")))
    if length > MAX_HEADER or length + 8 > size:
        raise CorruptCheckpointError(
            f"The safetensors header claims {length} bytes in a file of {size}. It is truncated: get it again."
        )
    try:
        text = read_exact(handle, length, "the header")
        if text.count(b"[") + text.count(b"{") > MAX_BRACKETS:
            raise ValueError("more tables than any file has tensors")
        raw = json.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise CorruptCheckpointError(
            "The safetensors header is not valid JSON. The file is damaged: get it again."
        ) from None
    if not isinstance(raw, dict) or len(raw) > MAX_TENSORS:
        raise CorruptCheckpointError(
            "The safetensors header is not a table of tensors. The file is damaged: get it again."
        )
    metadata = raw.pop("__metadata__", {}) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CorruptCheckpointError(
            "The safetensors metadata is not a table of texts. The file is damaged: get it again."
        )
    data_start = 8 + length
    entries = {name: _entry(name, value, size - data_start) for name, value in raw.items()}
    _check_ranges(entries, size - data_start)
    return Header(metadata, entries, data_start)


def plain_json(text: str) -> Any:
    """A JSON text's value; ValueError also for halves of surrogate pairs, which no file name or text can hold."""
    value = json.loads(text)
    if "\\ud" in text.lower():  # only an escape brings them in, and most escapes are whole pairs
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _entry(name: str, value: Any, available: int) -> Entry:
    try:
        dtype_name, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise CorruptCheckpointError(
            f"The safetensors entry '{name[:80]}' is malformed. It is damaged: get it again."
        ) from None
    whole = [start, end, *shape] if isinstance(shape, list) else [None]
    if not all(type(v) is int and 0 <= v < 1 << 62 for v in whole) or len(shape) > MAX_DIMENSIONS:
        raise CorruptCheckpointError(
            f"The safetensors entry '{name[:80]}' has an impossible shape or range: get the file again."
        )
    dtype = DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        raise UnsupportedCheckpointError(
            f"Tensor '{name[:80]}' has dtype {str(dtype_name)[:40]}; {', '.join(DTYPES)} are read. Save it as F32."
        )
    if math.prod(shape) * dtype.itemsize != end - start or end > available:
        raise CorruptCheckpointError(
            f"Tensor '{name[:80]}' claims shape {shape} and bytes {start}..{end}, but the file holds {available} bytes "
            "of tensors. It is truncated or damaged: get it again."
        )
    return Entry(dtype, tuple(shape), start, end)


def _check_ranges(entries: Mapping[str, Entry], available: int) -> None:
    """Ranges tile the data exactly, as the format demands: no overlap, no gap, nothing appended."""
    position = 0
    for entry in sorted(entries.values(), key=lambda e: (e.start, e.end)):
        if entry.start != position:
            raise CorruptCheckpointError(
                "Tensors of the safetensors file overlap or leave gaps. The file is damaged: get it again."
            )
        position = entry.end
    if position != available:
        raise CorruptCheckpointError(
            f"The safetensors file holds {available} bytes of tensors, its header describes {position}. It is "
            "damaged: get it again."
        )


def stored_tensors(path: str | os.PathLike[str], header: Header) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of a file whose header was checked, one at a time, each its own memory, in the stored dtype."""
    try:
        with _open(path) as (tensors, copy):
            for name, entry in header.entries.items():
                tensor = tensors.get_tensor(name)
                if entry.dtype is torch.bool:  # any byte but 0 and 1 is undefined behaviour as a bool
                    tensor = tensor.view(torch.uint8).ne(0)
                yield name, tensor.clone() if copy else tensor
    except (SafetensorError, OSError) as error:
        raise CorruptCheckpointError(
            f"'{os.path.basename(path)}' cannot be read to its end: {str(error)[:200]}. It is damaged: get it again."
        ) from None


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[tuple[Any, bool]]:
    """The file as the package opens it, and whether its tensors lie in a mapping of the file.

    Read rather than mapped where the package can (0.8): a mapping counts as memory beside the copies, and breaks the
    whole process if somebody shortens the file meanwhile.
    """
    try:
        opened, mapped = safe_open(path, framework="pt", backend="pread"), False
    except TypeError:
        opened, mapped = safe_open(path, framework="pt"), True
    with opened as tensors:
        yield tensors, mapped


def write_tensors(handle: BinaryIO, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write a whole safetensors file; equal input gives equal bytes."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    position = 0
    # Larger items first keeps every tensor aligned to its own item size; the name makes the order total.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    for name in order:
        tensor = tensors[name]
        count = tensor.numel() * tensor.dtype.itemsize
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, position + count],
        }
        position += count
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    handle.write(struct.pack("<Q", len(text)))
    handle.write(text)
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            handle.write(flat.view(torch.uint8).numpy().data)
