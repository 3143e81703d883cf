"""The safetensors container: 8 bytes header length, a JSON header, then the raw tensors.

Written here rather than taken from the package for two reasons: every size is compared with the file before anything is
allocated, and the same tensors always give the same bytes (sorted names), so that a file can be compared by its hash.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

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


def read_tensor(handle: BinaryIO, header: Header, name: str) -> torch.Tensor:
    """One tensor of a checked header, in its stored dtype."""
    entry = header.entries[name]
    if entry.end == entry.start:
        return torch.empty(entry.shape, dtype=entry.dtype)
    handle.seek(header.data_start + entry.start)
    buffer = read_exact(handle, entry.end - entry.start, f"tensor '{name[:80]}'")
    if entry.dtype is torch.bool:  # any byte but 0 and 1 is undefined behaviour as a bool
        return torch.frombuffer(buffer, dtype=torch.uint8).ne(0).reshape(entry.shape)
    return torch.frombuffer(buffer, dtype=entry.dtype).reshape(entry.shape)


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
            handle.write(memoryview(flat.view(torch.uint8).numpy()))
