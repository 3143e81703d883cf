"""Numpy's ``.npy``: magic, version, a header text, the raw items.

An array of objects is a pickle. Of those only one form is read, the table of arrays that ``np.save`` makes of a dict,
and by the same machine that builds nothing but data; every other one is refused.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from ..errors import CorruptCheckpointError, UnsafeCheckpointError
from .allowlist import find_global
from .legacy_container import read_nested
from .records import OBJECTS, ArrayRecord, DTypeRecord, array_tensor
from .unpickler import Global, Unpickler

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 16
# The header is a Python literal. It is matched, not evaluated: only this one form is ever written by numpy.
_HEADER = re.compile(
    r"\{'descr': '(?P<order>[<>|=])(?P<code>[A-Za-z]\d*)', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[\d, ]{0,200})\),? *\} *\n?"
)


def read_npy(view: memoryview) -> Any:
    """The one array of the file, or its one table of arrays.

    Raises:
        UnsafeCheckpointError: an array of other objects.
        CorruptCheckpointError: the header and the size of the file do not agree.
        UnsupportedCheckpointError: values that are not plain little-endian numbers.
    """
    if len(view) < 12 or view[6] not in (1, 2, 3):
        raise CorruptCheckpointError("The .npy file has no complete header. It is truncated: get it again.")
    start = 10 if view[6] == 1 else 12
    (length,) = struct.unpack("<H" if view[6] == 1 else "<I", view[8:start])
    if length > MAX_HEADER or start + length > len(view):
        raise CorruptCheckpointError(
            f"The .npy header claims {length} bytes in a file of {len(view)}. It is damaged: get it again."
        )
    text = bytes(view[start : start + length]).decode("latin-1")
    match = _HEADER.fullmatch(text)
    if match is None:
        raise CorruptCheckpointError(
            "The .npy header does not describe a plain array of numbers. The file is damaged: get it again."
        )
    if match["code"][0] in "OV":
        return _table(view[start + length :])
    numbers = [part for part in match["shape"].replace(" ", "").split(",") if part]
    if any(len(part) > 18 for part in numbers):
        raise CorruptCheckpointError(
            "The .npy header describes an array of absurd size. The file is damaged: get it again."
        )
    dtype = DTypeRecord(match["code"], match["order"])
    return array_tensor(dtype, tuple(map(int, numbers)), match["fortran"] == "True", view[start + length :])


def _table(view: memoryview) -> dict[Any, Any]:
    try:
        root = Unpickler(view, _find, nested=read_nested).load()
    except UnsafeCheckpointError as error:
        raise UnsafeCheckpointError(f"The .npy file holds Python objects. {error}") from error
    if not isinstance(root, ArrayRecord) or not isinstance(root.items, list) or len(root.items) != 1 or \
            not isinstance(root.items[0], dict):
        raise UnsafeCheckpointError(
            "The .npy file holds Python objects, which could run code; nothing was run. Save it as float32 numbers."
        )
    return root.items[0]


def _find(module: str, name: str) -> Global:
    return _object_dtype if (module, name) == ("numpy", "dtype") else find_global(module, name)


def _object_dtype(machine: Unpickler, args: tuple[Any, ...]) -> DTypeRecord:
    if args[0] in ("O", "O8", "|O"):
        return DTypeRecord(OBJECTS)
    return find_global("numpy", "dtype")(machine, args)
