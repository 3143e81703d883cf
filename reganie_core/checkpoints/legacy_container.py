"""The container ``torch.save`` wrote before version 1.6, and still writes for the storages inside NVIDIA's pickles.

Five pickles (magic number, protocol, machine, root, storage keys), then for every key the number of items (int64) and
the raw items.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError
from .allowlist import find_global, find_storage_only, storage_of
from .records import LongText, StorageRecord
from .unpickler import MAX_STEPS, Global, Unpickler

# The pickled magic number 0x1950a86a20f9469cfc6c, in any protocol (from 4 on there may be a frame before it).
MAGIC = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
PROTOCOL = 1001
MAX_NESTED_STEPS = 1000  # the pickles around one storage take about fifty


def is_legacy(view: memoryview) -> bool:
    return MAGIC.match(bytes(view[:32])) is not None


def read_legacy(view: memoryview) -> Any:
    """The root of a legacy file, inert; tensors are read later, from ``view``."""
    root, places = _read(view, find_global, read_nested)
    for storage, start in places:
        storage.read = _slice(lambda: view, start, storage.nbytes)
    return root


def read_nested(payload: bytes | bytearray | memoryview | LongText) -> StorageRecord:
    """The one storage of a ``torch.storage._load_from_bytes`` payload; globals other than storage types are refused."""
    # A text payload is decoded again when it is needed: keeping every decoded copy would double the memory.
    whole = payload.latin1 if isinstance(payload, LongText) else (lambda: memoryview(payload))
    view = whole()
    if not is_legacy(view):
        raise CorruptCheckpointError(
            "A storage nested in the file is not in the expected format. The file is damaged: get it again."
        )
    root, places = _read(view, find_storage_only, None, MAX_NESTED_STEPS)
    for storage, start in places:
        if storage is root:
            storage.read = _slice(whole, start, storage.nbytes)
            return storage
    raise CorruptCheckpointError(
        "A storage nested in the file holds something else. The file is damaged: get it again."
    )


def _slice(whole: Callable[[], memoryview], start: int, count: int) -> Callable[[], memoryview]:
    return lambda: whole()[start : start + count]


def _read(
    view: memoryview, find: Callable[[str, str], Global], nested: Callable[[Any], Any] | None,
    max_steps: int = MAX_STEPS,
) -> tuple[Any, list[tuple[StorageRecord, int]]]:
    """(root, every storage with the byte at which its items start); all sizes are checked against ``view``."""
    storages: dict[str, list[StorageRecord]] = {}

    def persistent(pid: Any) -> StorageRecord:
        dtype, key, numel = storage_of(pid)
        storages.setdefault(key, []).append(StorageRecord(dtype, numel))
        return storages[key][-1]

    magic = MAGIC.match(bytes(view[:32]))
    position = magic.end() if magic else 0
    head = []
    for _ in range(2):
        machine = Unpickler(view, find, position=position, max_steps=max_steps)
        head.append(machine.load())
        position = machine.position
    protocol, system = head
    if protocol != PROTOCOL or not isinstance(system, dict):
        raise CorruptCheckpointError(
            "The file starts like an old torch.save file but is not one. It is damaged: get it again."
        )
    if system.get("little_endian") is False:
        raise UnsupportedCheckpointError("The file was saved on a big-endian machine. Save it on a little-endian one.")
    machine = Unpickler(view, find, persistent, nested, position, max_steps)
    root = machine.load()
    keys_machine = Unpickler(view, find, position=machine.position, max_steps=max_steps)
    keys = keys_machine.load()
    listed = isinstance(keys, list) and len(keys) == len(storages) and all(isinstance(key, str | int) for key in keys)
    if not listed or {str(key)[:100] for key in keys} != set(storages):
        raise CorruptCheckpointError(
            "The file's list of storages does not match its tensors. It is damaged: get it again."
        )
    return root, _locate(view, keys_machine.position, [storages[str(key)[:100]] for key in keys])


def _locate(view: memoryview, position: int, groups: list[list[StorageRecord]]) -> list[tuple[StorageRecord, int]]:
    places = []
    for group in groups:
        if position + 8 > len(view):
            raise CorruptCheckpointError("The file ends before its last tensor. It is truncated: get it again.")
        (numel,) = struct.unpack("<q", view[position : position + 8])
        position += 8
        for storage in group:
            if storage.numel != numel or position + storage.nbytes > len(view):
                raise CorruptCheckpointError(
                    f"A storage of {storage.numel} items is announced; the file has {numel} items and "
                    f"{len(view) - position} bytes for it. It is truncated or damaged: get it again."
                )
            places.append((storage, position))
        position += group[0].nbytes
    return places
