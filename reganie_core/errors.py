"""Every error that this library raises on purpose.

A message says what was found, what was expected, and what to do next. All of them derive from
:class:`ReganieError`, so a caller can catch one type and show its text to a person.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CorruptCheckpointError",
    "InputError",
    "MismatchError",
    "NotFoundError",
    "OutOfRangeWarning",
    "ReganieError",
    "ReganieWarning",
    "UnsafeCheckpointError",
    "UnsafePathError",
    "UnsupportedCheckpointError",
    "WrongKindError",
]


class ReganieError(Exception):
    """Base of every error raised on purpose; its text is meant for a person."""


class InputError(ReganieError, ValueError):
    """An image, number, text or tensor that the called function cannot use."""


class MismatchError(InputError):
    """Two things that do not belong together: sizes, batches, a latent of another generator."""


class NotFoundError(ReganieError, FileNotFoundError):
    """A file, folder, model, control or domain that is not there."""


class UnsafePathError(ReganieError):
    """A file name from a graph, an API call or a manifest that leaves its registered folder."""


class CheckpointError(ReganieError):
    """Base of everything that can be wrong with a model file."""


class UnsafeCheckpointError(CheckpointError):
    """The file asks for something outside the allow-list; nothing in it was executed."""


class CorruptCheckpointError(CheckpointError):
    """Truncated, mislabelled, inconsistent or non-finite: the file cannot be what it claims."""


class UnsupportedCheckpointError(CheckpointError):
    """A well-formed file of a dialect or architecture that this library does not read."""


class WrongKindError(CheckpointError):
    """A readable file of another kind, for example an encoder where a generator is needed."""


class ReganieWarning(UserWarning):
    """Something works but is probably not what a person wants, for example networks of different trainings."""


class OutOfRangeWarning(ReganieWarning):
    """An edit goes beyond what its editor was trained for."""


for _name in __all__:  # ComfyUI imports us under the path of its folder and shows the type's module to people
    globals()[_name].__module__ = "reganie_core.errors"
