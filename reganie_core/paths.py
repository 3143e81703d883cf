"""File names are data: what a graph, an API call or a manifest may name, and how files are written.

Every name that a person at the keyboard did not type goes through one of two functions before it is used:

- :func:`placed` for reading below a folder of models. The name may not lead out of the folder; what lies in the folder,
  links included, was put there by the owner of the machine.
- :func:`safe_join` for everything that is written, and for what a manifest names: no link leads out either.
"""

from __future__ import annotations

import codecs
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import InputError, NotFoundError, ReganieError, UnsafePathError

__all__ = ["MAX_NAME", "atomic_write", "check_name", "is_file", "placed", "read_text", "refuse_overwriting_inputs",
           "safe_join"]

MAX_NAME = 512
MAX_PART = 200
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def _shown(name: object) -> str:
    """The name as it may appear in a message: escaped and short."""
    text = repr(str(name))
    return text if len(text) <= 80 else text[:77] + "...'"


def check_name(name: str) -> tuple[str, ...]:
    """Split a relative name into its parts, or raise.

    Both ``/`` and ``\\`` separate parts on every system, so that a manifest means the same everywhere.

    Raises:
        UnsafePathError: not a text, empty, longer than 512 characters, control characters, absolute, with a drive or
            a colon, or with a ``..`` part.
    """
    if not isinstance(name, str) or not name.strip():
        raise UnsafePathError(f"A file name must be a non-empty text, found {_shown(name)}.")
    if len(name) > MAX_NAME:
        raise UnsafePathError(
            f"The file name {_shown(name)} has {len(name)} characters; at most {MAX_NAME} are "
            "allowed."
        )
    if _CONTROL_CHARACTERS.search(name):
        raise UnsafePathError(f"The file name {_shown(name)} contains control characters; use a plain relative name.")
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or ":" in name:
        raise UnsafePathError(
            f"The file name {_shown(name)} is absolute or names a drive; use a name relative to its "
            "folder."
        )
    parts = tuple(part for part in re.split(r"[\\/]+", name) if part not in ("", "."))
    if not parts or any(part.strip(" .") == "" or part == ".." for part in parts):
        raise UnsafePathError(
            f"The file name {_shown(name)} leaves its folder ('..' or empty parts); use a name inside "
            "it."
        )
    if any(len(part.encode("utf-8", "surrogatepass")) > MAX_PART for part in parts):
        raise UnsafePathError(f"The file name {_shown(name)} has a part longer than {MAX_PART} bytes.")
    return parts


def placed(root: str | os.PathLike[str], name: str) -> Path:
    """The path of ``name`` inside ``root`` for reading, existing or not; links that lie in ``root`` are followed.

    Raises:
        UnsafePathError: the name is refused by :func:`check_name`.
    """
    return Path(root).joinpath(*check_name(name))


def safe_join(root: str | os.PathLike[str], name: str) -> Path:
    """The path of ``name`` inside ``root``; existing or not, it never leaves ``root``, also not through links.

    The one exception is the cache of a model hub, where every file of ``snapshots/<revision>`` is a link to the
    ``blobs`` of the same repository.

    Raises:
        UnsafePathError: the name is refused by :func:`check_name`, or a link on its way leads out of ``root``.
    """
    base = Path(root).resolve()
    path = base.joinpath(*check_name(name))
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UnsafePathError(f"The file name {_shown(name)} cannot be resolved inside its folder: {error}.") from error
    inside = [base]
    if base.parent.name == "snapshots":
        inside.append(base.parents[1] / "blobs")
    if resolved != base and not any(folder in resolved.parents for folder in inside):
        raise UnsafePathError(
            f"The file name {_shown(name)} is a link that leaves its folder; put the file itself "
            "there."
        )
    return path


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file is there and may be looked at; a name no system takes (too long) is just not there."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file that a person wrote: UTF-8, or UTF-16 with the mark that Windows' editors put first; the mark is left
    out, and bytes that are no text become U+FFFD.

    Raises:
        InputError: it cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is on the disk and replaces ``path``, on any error it is
    removed. Whatever interrupts this, ``path`` holds the old or the new content, never a part of one.

    The temporary name keeps the suffix, so writers that look at it (PIL) choose the right format.

    Raises:
        NotFoundError: the folder of ``path`` does not exist.
        InputError: ``path`` is a folder, or it cannot be written.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise InputError(f"{target} is a folder; choose the name of a file.")
        if not target.parent.is_dir():
            raise NotFoundError(f"Cannot write to the folder {target.parent}: it does not exist. Create it or choose "
                                "another.")
        handle, name = tempfile.mkstemp(prefix=".part-", suffix=target.suffix, dir=target.parent)
    except (OSError, ValueError) as error:
        raise _cannot_write(target, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; a picture or a model is for sharing
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(target, error) from error
        raise
    _sync_folder(target.parent)


def _cannot_write(target: Path, error: Exception) -> Exception:
    if isinstance(error, ReganieError):
        return error
    reason = getattr(error, "strerror", None) or error
    return InputError(f"'{target}' cannot be written: {reason}. Choose another folder, or make room in this one.")


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


def refuse_overwriting_inputs(output: str | os.PathLike[str], inputs: list[str | os.PathLike[str]]) -> None:
    """Raise :class:`InputError` when ``output`` is one of the ``inputs`` (also through links or another spelling)."""
    out = Path(output)
    for item in inputs:
        source = Path(item)
        if os.path.exists(source) and os.path.exists(out) and os.path.samefile(source, out):
            raise InputError(f"The output {out} is also an input; choose another name for the result.")
