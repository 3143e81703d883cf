"""Opening files and reading from them: what every reader here shares."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

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
        step = cast(Any, handle).readinto(view[done:])
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
