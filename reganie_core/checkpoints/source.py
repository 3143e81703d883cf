"""What container is this file, by its content, and what is in it? The extension is never asked."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ..errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError, UnsupportedCheckpointError
from .allowlist import find_global
from .files import open_regular
from .legacy_container import is_legacy, read_legacy, read_nested
from .npy_container import MAGIC as NPY_MAGIC
from .npy_container import read_npy
from .records import StorageRecord, TensorRecord
from .safetensors_file import Header, read_header
from .unpickler import Unpickler
from .zip_container import read_zip

_PICTURES = {b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF", b"RIFF": "a RIFF file"}
_ARCHIVES = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"(\xb5/\xfd": "a zstd archive",
}
_OTHERS = {b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 file", b"%PDF": "a PDF document", b"\x7fELF": "a program"}
_WEB = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")


@dataclass
class Source:
    """An open file: ``root`` holds inert records whose tensors are read from the file when asked for."""

    name: str
    size: int
    container: str
    root: Any
    metadata: dict[str, str]


def map_file(handle: BinaryIO, size: int) -> memoryview:
    """The file's bytes without reading them; a file system that cannot map them has them read."""
    try:
        return memoryview(mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        handle.seek(0)
        return memoryview(handle.read(size))


def open_source(path: str | os.PathLike[str]) -> Source:
    """Recognise a file and read its structure; no tensor is read and nothing in it is executed.

    Raises:
        NotFoundError, InputError: no such file.
        UnsafeCheckpointError, CorruptCheckpointError, UnsupportedCheckpointError: what ``reganie_core.errors`` says.
    """
    name = Path(path).name
    handle, size = open_regular(path)
    with handle:
        view = map_file(handle, size)
        try:
            container = sniff(view)
            metadata: dict[str, str] = {}
            if container == "safetensors":
                header = read_header(handle, size)
                root, metadata = _records(header, view), header.metadata
            else:
                root = _READERS[container](view)
        except CheckpointError as error:
            raise type(error)(f"'{name}': {error}") from error
    return Source(name, size, container, root, metadata)


def sniff(view: memoryview) -> str:
    """One of "safetensors", "zip", "legacy", "pickle", "npy"; everything else raises and says what it is."""
    head = bytes(view[:512])
    # First, because it begins with a number, which may begin like anything else; no other format has "{" there after
    # eight bytes that are such a number.
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 48:
        return "safetensors"
    if head.startswith(b"PK"):
        return "zip"
    if head.startswith(NPY_MAGIC):
        return "npy"
    if is_legacy(view):
        return "legacy"
    if head[:1] == b"\x80":
        return "pickle"
    _explain(head, len(view))
    return "pickle"


def _explain(head: bytes, size: int) -> None:
    """Raise for everything that is known not to be a model file, or is not known at all."""
    if head.startswith(b"version https://git-lfs"):
        raise CorruptCheckpointError(
            f"This is a Git LFS pointer of {size} bytes, not the model itself. Run 'git lfs pull' or download it."
        )
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_WEB):
        raise CorruptCheckpointError(
            "This is a web page, not a model: the download failed or asked for a confirmation. Download it again."
        )
    advice_for = ((_PICTURES, "Give a model file."), (_ARCHIVES, "Unpack it first."), (_OTHERS, "Give a model file."))
    for table, advice in advice_for:
        for magic, what in table.items():
            if head.startswith(magic):
                raise UnsupportedCheckpointError(f"This is {what}, not a model checkpoint. {advice}")
    if text.startswith((b"{", b"[")) and text.isascii() and b'"' in text:
        raise CorruptCheckpointError("This is a JSON text, perhaps an error message of a server. Download it again.")
    if head[:1] not in (b"(", b"c", b"]", b"}", b"S", b"V", b"i"):  # how pickles of protocol 0 and 1 start
        _unknown(size)


def _unknown(size: int) -> NoReturn:
    raise CorruptCheckpointError(
        f"The content ({size} bytes) is of no known model format (torch zip or legacy .pt, StyleGAN .pkl, .npy, "
        ".safetensors). The file is damaged or something else: get it again."
    )


def _read_pickle(view: memoryview) -> Any:
    try:
        return Unpickler(view, find_global, nested=read_nested).load()
    except (UnsafeCheckpointError, UnsupportedCheckpointError):
        raise
    except CorruptCheckpointError:
        if view[0] != 0x80:  # it only might have been a pickle
            _unknown(len(view))
        raise


def _records(header: Header, view: memoryview) -> dict[str, TensorRecord]:
    return {name: _record(entry, view, header.data_start) for name, entry in header.entries.items()}


def _record(entry: Any, view: memoryview, data_start: int) -> TensorRecord:
    part = view[data_start + entry.start : data_start + entry.end]
    storage = StorageRecord(entry.dtype, len(part) // entry.dtype.itemsize, lambda: part)
    stride: list[int] = []
    step = 1
    for size in reversed(entry.shape):
        stride.append(step)
        step *= max(size, 1)
    return TensorRecord(storage, 0, entry.shape, tuple(reversed(stride)))


_READERS = {"zip": read_zip, "legacy": read_legacy, "pickle": _read_pickle, "npy": read_npy}
