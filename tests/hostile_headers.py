"""The part of the hostile corpus that lies in its headers: safetensors, our configurations, ``.npy``."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

HUGE = 10**12


def header_cases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Headers of 10^12 elements, and headers that contradict the file."""

    def tensors(header: dict, data: bytes = bytes(64), length: int | None = None) -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    ours = {"format_version": "1", "kind": "generator", "config": "{}", "provenance": "{}"}
    yield "st_shape.safetensors", tensors({"a": {**entry, "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}})
    yield "st_overflow.safetensors", tensors({"a": {**entry, "shape": [1 << 61, 8], "data_offsets": [0, 0]}})
    yield "st_negative.safetensors", tensors({"a": {**entry, "shape": [-4], "data_offsets": [0, -16]}})
    yield "st_overlap.safetensors", tensors({"a": entry, "b": entry})
    yield "st_gap.safetensors", tensors({"a": {**entry, "data_offsets": [16, 32]}})
    yield "st_header.safetensors", tensors({"a": entry}, length=HUGE)
    yield "st_json.safetensors", struct.pack("<Q", 60_000) + b"{" + b'"a":[' * 10_000 + bytes(30_000)
    yield "st_dtype.safetensors", tensors({"a": {**entry, "dtype": "F8_E4M3"}})
    yield "st_types.safetensors", tensors({"a": {**entry, "shape": "4"}})
    yield "st_newer.safetensors", tensors({"__metadata__": {**ours, "format_version": "99"}}, b"")
    yield "st_kind.safetensors", tensors({"__metadata__": {**ours, "kind": "malware"}}, b"")
    configs = {
        "resolution": {"type": "Generator", "resolution": 1 << 40, "channels": [8] * 39},
        "layers": {"type": "Generator", "resolution": 16, "channels": [8, 8, 8], "mapping_layers": 10**9},
        "channels": {"type": "Generator", "resolution": 16, "channels": [HUGE] * 3},
        "wide": {"type": "Generator", "resolution": 1024, "channels": [4096] * 9, "w_dim": 4096, "z_dim": 4096},
        "negative": {"type": "Generator", "resolution": 16, "channels": [-8] * 3},
        "text": {"type": "Generator", "resolution": "16", "channels": [8, 8, 8]},
        "type": {"type": "os.system", "resolution": 16}, "list": {"type": "Generator", "channels": [8] * 5000},
        "float": {"type": "Generator", "resolution": 16.5, "channels": [8, 8, 8]}, "none": {},
    }
    for name, config in configs.items():
        metadata = {**ours, "config": json.dumps(config)}
        yield f"config_{name}.safetensors", tensors({"__metadata__": metadata, "a": entry}, bytes(16))
    yield "config_json.safetensors", tensors({"__metadata__": {**ours, "config": "[" * 100_000}, "a": entry}, bytes(16))

    def npy(text: str, data: bytes = bytes(64)) -> bytes:
        raw = text.encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + data

    plain = "{{'descr': '{}', 'fortran_order': False, 'shape': ({},), }}"
    yield "npy_shape.npy", npy(plain.format("<f8", HUGE))
    yield "npy_digits.npy", npy(plain.format("<f8", "9" * 150))
    yield "npy_code.npy", npy("__import__('os').system('touch SENTINEL')")
    yield "npy_object.npy", npy(plain.format("|O", 1))
    yield "npy_void.npy", npy(plain.format("|V8", 1))
    yield "npy_header.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF) + b"{"
    yield "npy_big_endian.npy", npy(plain.format(">f8", 8))
    yield "npy_text.npy", npy(plain.format("<U4", 4))
