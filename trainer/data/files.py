"""Pictures in a folder (with its subfolders) and in a zip file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from reganie_core.errors import InputError

from .pictures import LARGEST_FILE, SUFFIXES, Pictures, is_picture


def picture_names(folder: Path) -> list[str]:
    """Every picture below a folder, sorted by path; linked subfolders count, one that leads back to where it lies is
    entered once."""
    found, entered = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()              # where two links lead to one folder, the same one counts everywhere
        inside = os.path.relpath(place, folder)
        found += [os.path.normpath(os.path.join(inside, name)) for name in names]
    return sorted(name for name in found if is_picture(name))


class FolderPictures(Pictures):
    """Every picture below a folder, sorted by path, so that the numbering is the same on every machine."""

    def __init__(self, folder: Path, resolution: int) -> None:
        super().__init__(resolution)
        self.folder = folder
        self.names = picture_names(folder)
        if not self.names:
            raise InputError(f"The folder {folder} holds no pictures; expected files ending in {', '.join(SUFFIXES)}.")

    def where(self) -> str:
        return str(self.folder)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return str(self.folder / self.names[index])

    def fetch(self, index: int) -> bytes:
        path = self.folder / self.names[index]
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise InputError(f"{path} is larger than {LARGEST_FILE >> 20} MiB.")
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error


class ZipPictures(Pictures):
    """Every picture in a zip file, sorted by name; read in place."""

    def __init__(self, path: Path, resolution: int) -> None:
        super().__init__(resolution)
        self.path = path
        try:
            self.file = zipfile.ZipFile(path)
        except Exception as error:  # damaged archives raise BadZipFile, OSError, NotImplementedError, ValueError ...
            raise InputError(f"{path} cannot be read as a zip file: {error}. Copy it again, or unpack it.") from error
        self.entries = sorted((i for i in self.file.infolist() if is_picture(i.filename)), key=lambda i: i.filename)
        if not self.entries:
            raise InputError(f"{path} holds no pictures; expected files ending in {', '.join(SUFFIXES)}.")

    def __len__(self) -> int:
        return len(self.entries)

    def where(self) -> str:
        return str(self.path)

    def name(self, index: int) -> str:
        return f"{self.path.name}:{self.entries[index].filename}"

    def fetch(self, index: int) -> bytes:
        entry, name = self.entries[index], self.name(index)
        if entry.file_size > LARGEST_FILE:
            raise InputError(f"{name} is larger than {LARGEST_FILE >> 20} MiB.")
        try:
            return self.file.read(entry)
        except Exception as error:  # damaged archives raise BadZipFile, zlib.error, EOFError, RuntimeError ...
            raise InputError(f"{name} cannot be unpacked: {error}.") from error
