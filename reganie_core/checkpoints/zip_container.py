"""The zip container of ``torch.save``: stored, never compressed, with ``<name>/data.pkl`` and ``<name>/data/<key>``.

The directory is parsed here: Python's ``zipfile`` builds its whole table before anything can be checked, and follows
compressed entries, of which a genuine file has none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError
from .allowlist import find_global, storage_of
from .legacy_container import read_nested
from .records import StorageRecord
from .unpickler import Unpickler

MAX_ENTRIES = 65536
MAX_NAME = 512
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_ALL_ONES = 0xFFFFFFFF


@dataclass(frozen=True)
class _Entry:
    size: int
    local: int
    plain: bool  # neither compressed nor encrypted


def read_zip(view: memoryview) -> Any:
    """The root of a ``torch.save`` zip, inert; tensors are read later, from ``view``."""
    entries, directory_start = _directory(view)
    roots = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if any(name.endswith(("constants.pkl", "model.json")) or "/code/" in name for name in entries):
        raise UnsupportedCheckpointError(
            "This is a TorchScript archive, which carries program code. Give the plain weights (a .pt state dict)."
        )
    if entries and all(name.endswith(".npy") for name in entries):
        raise UnsupportedCheckpointError(
            "This is a numpy archive (.npz). Save its array alone: numpy.save('w.npy', numpy.load('FILE.npz')['w'])."
        )
    if len(roots) != 1:
        raise UnsupportedCheckpointError(
            "This is a zip archive, but not a torch.save file. If the model file is packed inside, unpack it first."
        )
    prefix = roots[0][: -len("data.pkl")]
    if (order := entries.get(prefix + "byteorder")) and bytes(_content(view, order, directory_start)[:16]) != b"little":
        raise UnsupportedCheckpointError("The file was saved on a big-endian machine. Save it on a little-endian one.")

    known: dict[tuple[Any, ...], StorageRecord] = {}  # tensors that share a storage share its record

    def storage(pid: Any) -> StorageRecord:
        dtype, key, numel = storage_of(pid)
        if (found := known.get((dtype, key, numel))) is not None:
            return found
        entry = entries.get(f"{prefix}data/{key}")
        if entry is None or entry.size != numel * dtype.itemsize:
            size = "no such entry" if entry is None else f"{entry.size} bytes"
            raise CorruptCheckpointError(
                f"Storage '{key}' should have {numel * dtype.itemsize} bytes, the archive has {size}. "
                "The file is damaged or was made to do harm: do not use it."
            )
        data = _content(view, entry, directory_start)
        known[dtype, key, numel] = StorageRecord(dtype, numel, lambda: data)
        return known[dtype, key, numel]

    pickle = _content(view, entries[roots[0]], directory_start)
    return Unpickler(pickle, find_global, persistent=storage, nested=read_nested).load()


def _damaged(why: str) -> NoReturn:
    raise CorruptCheckpointError(f"The zip archive is damaged or truncated ({why}): get the file again.")


def _content(view: memoryview, entry: _Entry, directory_start: int) -> memoryview:
    """An entry's bytes: the sizes come from the directory, the local header only says where they begin."""
    if not entry.plain:
        raise UnsupportedCheckpointError(
            "The zip archive is compressed or encrypted, which torch.save never does. Get the original file."
        )
    if entry.local + 30 > directory_start or bytes(view[entry.local : entry.local + 4]) != b"PK\x03\x04":
        _damaged("an entry without header")
    name, extra = struct.unpack("<HH", view[entry.local + 26 : entry.local + 30])
    start = entry.local + 30 + name + extra
    if start + entry.size > directory_start:
        _damaged("an entry longer than the file")
    return view[start : start + entry.size]


def _directory(view: memoryview) -> tuple[dict[str, _Entry], int]:
    count, size, start = _end_record(view)
    if count > MAX_ENTRIES:
        raise UnsupportedCheckpointError(
            f"The zip archive lists {count} entries, more than any known network. Get the original file."
        )
    if start + size > len(view):
        _damaged("its directory lies outside the file")
    entries: dict[str, _Entry] = {}
    position, total = start, 0
    for _ in range(count):
        if position + 46 > start + size or bytes(view[position : position + 4]) != b"PK\x01\x02":
            _damaged("its directory is cut")
        name, entry, position = _directory_entry(view, position, start + size)
        if name in entries:
            _damaged("two entries of one name")
        entries[name] = entry
        total += entry.size
    if total > len(view):
        _damaged("its entries overlap")
    return entries, start


def _end_record(view: memoryview) -> tuple[int, int, int]:
    """(number of entries, directory size, directory start)"""
    tail_start = max(0, len(view) - 65557)
    at = bytes(view[tail_start:]).rfind(_END)
    if at < 0 or tail_start + at + 22 > len(view):
        _damaged("its end is missing")
    at += tail_start
    count, size, start = struct.unpack("<HII", view[at + 10 : at + 20])
    locator = at - 20
    if locator >= 0 and bytes(view[locator : locator + 4]) == _LOCATOR64:
        (end64,) = struct.unpack("<Q", view[locator + 8 : locator + 16])
        if end64 + 56 > len(view) or bytes(view[end64 : end64 + 4]) != _END64:
            _damaged("its 64-bit end record is missing")
        count, size, start = struct.unpack("<QQQ", view[end64 + 32 : end64 + 56])
    return count, size, start


def _directory_entry(view: memoryview, position: int, end: int) -> tuple[str, _Entry, int]:
    flags, method = struct.unpack("<HH", view[position + 8 : position + 12])
    packed, size, n_name, n_extra, n_comment = struct.unpack("<IIHHH", view[position + 20 : position + 34])
    (local,) = struct.unpack("<I", view[position + 42 : position + 46])
    names = position + 46
    following = names + n_name + n_extra + n_comment
    if following > end or n_name > MAX_NAME:
        _damaged("its directory is cut")
    name = bytes(view[names : names + n_name]).decode("utf-8", "replace")
    extra = view[names + n_name : names + n_name + n_extra]
    plain = not (flags & 1 or method)
    size, packed, local = _wide_fields(extra, size, packed, local)
    if plain and size != packed:
        _damaged("an entry with two sizes")
    return name, _Entry(packed, local, plain), following


def _wide_fields(extra: memoryview, size: int, packed: int, local: int) -> tuple[int, int, int]:
    """Zip64: fields that are all ones live in extra block 1, in this order."""
    if _ALL_ONES not in (size, packed, local):
        return size, packed, local
    position = 0
    while position + 4 <= len(extra):
        block, length = struct.unpack("<HH", extra[position : position + 4])
        body = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if block != 1:
            continue
        values = iter(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
        wide = [next(values, None) if v == _ALL_ONES else v for v in (size, packed, local)]
        if None in wide:
            break
        return cast(tuple[int, int, int], tuple(wide[:3]))
    _damaged("an entry without its 64-bit size")
