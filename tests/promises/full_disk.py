"""A disk that refuses: every operation that needs space is counted, and fails from a chosen one on."""

from __future__ import annotations

import builtins
import errno
import io
import os
import stat
from typing import Any

import pytest


class Disk:
    """Counts creations, writes, syncs and renames; the ``fails_at``-th and the next ``lasts - 1`` raise OSError."""

    def __init__(self, fails_at: int = 0, lasts: int = 1, code: int = errno.ENOSPC) -> None:
        self.count, self.fails_at, self.lasts, self.code = 0, fails_at, lasts, code

    def use(self) -> None:
        self.count += 1
        if self.fails_at and self.fails_at <= self.count < self.fails_at + self.lasts:
            raise OSError(self.code, os.strerror(self.code))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Disk:
        """Put it between Python and the system; only what writes is touched."""
        plain_open, plain_os_open = io.open, os.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+"):
                return plain_open(file, mode, *args, **kwargs)
            if not isinstance(file, int):
                self.use()
            return _File(plain_open(file, mode, *args, **kwargs), self)

        def os_opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & os.O_CREAT:
                self.use()
            return plain_os_open(path, flags, *args, **kwargs)

        monkeypatch.setattr(io, "open", opened)
        monkeypatch.setattr(builtins, "open", opened)
        monkeypatch.setattr(os, "open", os_opened)
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        return self

    def _counted(self, function: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            folder = isinstance(args[0], int) and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            if not folder:  # a folder that cannot be synced is no lost file; some file systems never can
                self.use()
            return function(*args, **kwargs)

        return counted


class _File:
    """An open file whose every write is counted."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> int:
        self._disk.use()
        return self._file.write(data)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
