"""Opening and atomically writing files: the two things every reader and writer here shares."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import CorruptCheckpointError, InputError, NotFoundError


def open_regular(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """Open a regular file for reading and return it with its size in bytes.

    Pipes, devices and folders are refused before anything is read, because they may block or never end.

    Raises:
        NotFoundError: nothing is there.
        InputError: it is a folder, pipe or device, or it may not be read.
        CorruptCheckpointError: the file is empty.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"No file named '{path}'. Check the name and the folder.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read: {error}.") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise InputError(f"'{path}' is {what}; a model file is expected. Give the file itself.")
    try:
        # Not to wait, should a pipe have taken the file's place since it was looked at.
        handle = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    except FileNotFoundError:
        raise NotFoundError(f"'{path}' is gone. Check the name and the folder.") from None
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}. Check its permissions.") from None
    state = os.fstat(handle.fileno())
    if not stat.S_ISREG(state.st_mode):
        handle.close()
        raise InputError(f"'{path}' is not a regular file any more; a model file is expected. Give the file itself.")
    size = state.st_size
    if size == 0:
        handle.close()
        raise CorruptCheckpointError(f"'{path.name}' is empty (0 bytes). Download or copy it again.")
    return handle, size


def read_exact(handle: BinaryIO, count: int, what: str) -> bytearray:
    """Read exactly ``count`` bytes or raise ``CorruptCheckpointError``; the caller has bounded ``count``."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    done = 0
    while done < count:
        step = handle.readinto(view[done:])  # type: ignore[attr-defined]
        if not step:
            raise CorruptCheckpointError(
                f"The file ends inside {what} ({done} of {count} bytes are there). It is truncated: get it again."
            )
        done += step
    return buffer


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    handle, _ = open_regular(path)
    with handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> None:
    """Call ``write`` on a temporary file beside ``path``, flush it to the disk, then rename it onto ``path``.

    Whatever interrupts this (an error, Ctrl-C, a kill), ``path`` holds either the old or the new content, never a
    part of it; the temporary file is removed unless the process itself is killed.

    Raises:
        NotFoundError: the folder does not exist.
        InputError: the file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise NotFoundError(f"The folder '{path.parent}' does not exist. Create it first.")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a model file may be read by anyone
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"'{path}' cannot be written: {error.strerror}.") from error
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable where the system allows opening a folder (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse; the content is safe all the same
    finally:
        os.close(descriptor)
