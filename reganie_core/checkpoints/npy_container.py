"""Numpy's ``.npy``: magic, version, a header text, the raw items. Object arrays (which are pickles) are refused."""

from __future__ import annotations

import re
import struct

from ..errors import CorruptCheckpointError, UnsafeCheckpointError
from .records import DTypeRecord, TensorRecord, array_tensor

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 16
# The header is a Python literal. It is matched, not evaluated: only this one form is ever written by numpy.
_HEADER = re.compile(
    r"\{'descr': '(?P<order>[<>|=])(?P<code>[A-Za-z]\d*)', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[\d, ]{0,200})\),? *\} *\n?"
)


def read_npy(view: memoryview) -> TensorRecord:
    """The one array of the file.

    Raises:
        UnsafeCheckpointError: an object array.
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
        raise UnsafeCheckpointError(
            "The .npy file holds Python objects, which could run code; nothing was run. Save it as float32 numbers."
        )
    numbers = [part for part in match["shape"].replace(" ", "").split(",") if part]
    if any(len(part) > 18 for part in numbers):
        raise CorruptCheckpointError(
            "The .npy header describes an array of absurd size. The file is damaged: get it again."
        )
    dtype = DTypeRecord(match["code"], match["order"])
    return array_tensor(dtype, tuple(map(int, numbers)), match["fortran"] == "True", view[start + length :])
