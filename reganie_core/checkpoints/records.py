"""Inert stand-ins for what a pickle describes: data only, no behaviour.

The reader never builds an object of a class that a file names. It builds these, and the dialects look through them for
tensors, names and sizes.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError

MAX_DIMENSIONS = 8
# A view that repeats its storage (stride 0) may be this large; more would let a tiny file ask for any amount of memory.
MAX_EXPANDED = 1 << 16
COPY_BYTES = 16 << 20


@dataclass(frozen=True)
class Symbol:
    """A global that the file names and the allow-list knows. It is only a name."""

    module: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object of a named class: its state, and nothing that the class could do."""

    name: str
    args: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class StorageRecord:
    """A run of ``numel`` items of one dtype; ``read`` gives its bytes, and is only called for what is needed."""

    dtype: torch.dtype
    numel: int
    read: Callable[[], memoryview] | None = None

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


@dataclass(eq=False)
class TensorRecord:
    """A strided view on a storage, checked against that storage before it exists."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if max(len(self.shape), len(self.stride)) > MAX_DIMENSIONS:  # first: nothing below may be long
            raise CorruptCheckpointError(
                f"A tensor has {len(self.shape)} dimensions, more than any network. It is damaged: get it again."
            )
        numbers = (self.offset, *self.shape, *self.stride)
        if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers) or len(self.shape) != len(self.stride):
            raise CorruptCheckpointError(
                f"A tensor has an impossible geometry (shape {_short(self.shape)}, stride {_short(self.stride)}, "
                f"offset {_short(self.offset)}). The file is damaged or was made to do harm: do not use it."
            )
        reach = self.offset + (self.extent if self.numel else 0)
        if reach > self.storage.numel or (self.numel > self.storage.numel and self.numel > MAX_EXPANDED):
            raise CorruptCheckpointError(
                f"A tensor of shape {_short(self.shape)} (stride {_short(self.stride)}, offset {self.offset}) does not "
                f"fit its storage of {self.storage.numel} items. The file is damaged or was made to do harm: do "
                "not use it."
            )

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def extent(self) -> int:
        """Items from the first to the last one touched."""
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.stride, strict=True))

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    def read(self) -> torch.Tensor:
        """A contiguous copy of its own, in the stored dtype."""
        if not self.numel:
            return torch.empty(self.shape, dtype=self.dtype)
        if self.storage.read is None:
            raise CorruptCheckpointError("A tensor's storage is not in the file. It is truncated: get it again.")
        view = self.storage.read()
        if len(view) != self.storage.nbytes:
            raise CorruptCheckpointError(
                f"A storage holds {len(view)} bytes where {self.storage.nbytes} are declared. The file is "
                "damaged: get it again."
            )
        size = self.dtype.itemsize
        part = view[self.offset * size : (self.offset + self.extent) * size]
        raw = torch.empty(len(part), dtype=torch.uint8)
        target = raw.numpy()
        for start in range(0, len(part), COPY_BYTES):
            block = np.frombuffer(part[start : start + COPY_BYTES], dtype=np.uint8)
            target[start : start + len(block)] = block
            forget(part.obj, block)
        items = raw.ne(0) if self.dtype is torch.bool else raw.view(self.dtype)
        return items.as_strided(self.shape, self.stride).contiguous()


def forget(owner: Any, block: np.ndarray) -> None:
    """Take the pages of a mapped file out of memory again; they have been copied, and both would count.

    They are clean pages of a read-only mapping: whoever needs a neighbour on the same page has it read once more.
    """
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    first = block.ctypes.data - np.frombuffer(owner, dtype=np.uint8).ctypes.data
    page = first // mmap.PAGESIZE * mmap.PAGESIZE
    owner.madvise(mmap.MADV_DONTNEED, page, first + len(block) - page)


@dataclass(eq=False)
class DTypeRecord:
    """A numpy dtype by its code, for example ``f8``; plain numbers only."""

    code: str
    order: str = "<"


OBJECTS = "O"  # the code of arrays whose items are anything


@dataclass(eq=False)
class ArrayRecord:
    """A numpy array: filled in by its BUILD step.

    items: of an array of objects, which only an ``.npy`` file may hold (``npy_container``).
    """

    tensor: TensorRecord | None = None
    items: Any = None


@dataclass(eq=False)
class LongText:
    """A text too long to be a name, still in the file as UTF-8 (protocol 2 stores bytes this way)."""

    view: memoryview

    def latin1(self) -> memoryview:
        try:
            return memoryview(str(self.view, "utf-8").encode("latin-1"))
        except UnicodeError:
            raise CorruptCheckpointError(
                "A byte string of the file is not valid text. The file is damaged: get it again."
            ) from None


NUMPY_DTYPES: dict[str, torch.dtype] = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
}


def array_tensor(dtype: DTypeRecord, shape: Any, fortran: bool, data: memoryview) -> TensorRecord:
    """The view that a numpy header describes, checked against the bytes that are there."""
    kind = numpy_dtype(dtype)
    fitting = isinstance(shape, list | tuple) and len(shape) <= MAX_DIMENSIONS
    if not fitting or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise CorruptCheckpointError(
            f"An array has an impossible shape {_short(shape)}. The file is damaged: get it again."
        )
    if math.prod(shape) * kind.itemsize != len(data):
        raise CorruptCheckpointError(
            f"An array of shape {_short(shape)} and type {dtype.code} needs {math.prod(shape) * kind.itemsize} bytes; "
            f"{len(data)} are there. The file is truncated or damaged: get it again."
        )
    shape = tuple(shape)
    stride: list[int] = []
    step = 1
    for size in shape if fortran else reversed(shape):
        stride.append(step)
        step *= max(size, 1)
    storage = StorageRecord(kind, len(data) // kind.itemsize, lambda: data)
    return TensorRecord(storage, 0, shape, tuple(stride if fortran else reversed(stride)))


def numpy_dtype(dtype: DTypeRecord) -> torch.dtype:
    if dtype.code not in NUMPY_DTYPES:
        raise UnsupportedCheckpointError(
            f"The file holds numpy values of type '{dtype.code[:20]}'; only plain numbers are read. Save it as float32."
        )
    if dtype.order == ">" and NUMPY_DTYPES[dtype.code].itemsize > 1:
        raise UnsupportedCheckpointError("The file holds big-endian numpy values. Save it on a little-endian machine.")
    return NUMPY_DTYPES[dtype.code]


def _short(value: Any) -> str:
    """Numbers as they are; of anything else only the type: the text of a container can be of any size."""
    if isinstance(value, list | tuple) and len(value) > MAX_DIMENSIONS:
        return f"of {len(value)} entries"
    items = value if isinstance(value, list | tuple) else [value]
    texts = [str(v)[:40] if type(v) in (int, float, bool) else type(v).__name__ for v in items]
    return texts[0] if items is not value else f"[{', '.join(texts)}]"
