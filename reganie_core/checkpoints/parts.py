"""What a dialect finds in a file: networks as maps from our tensor names to records of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import CheckpointError, CorruptCheckpointError, UnsupportedCheckpointError
from .records import Record, TensorRecord

MAX_INDEX = 64  # layers of one kind; no known network has more than 18
MAX_LEVEL = 11  # log2 of the largest resolution that a shape may ask for
Tensors = Mapping[str, TensorRecord]


@dataclass(frozen=True)
class Mapped:
    """A tensor of the file, brought to the shape that our network gives it."""

    record: TensorRecord
    shape: tuple[int, ...]
    convert: Callable[[torch.Tensor], torch.Tensor] | None = None

    def read(self) -> torch.Tensor:
        """Its values; floating ones as float32."""
        tensor = self.record.read()
        if tensor.is_floating_point():
            tensor = tensor.float()
        if self.convert is not None:
            tensor = self.convert(tensor)
        return tensor.reshape(self.shape)


@dataclass
class Part:
    """One network of a file.

    filters: (name, record, gain) of FIR buffers: constants for us, but a file with other values would be a different
    network, so they are compared when it is loaded.
    """

    kind: str
    dialect: str
    config: dict[str, Any]
    tensors: dict[str, Mapped] = field(default_factory=dict)
    filters: list[tuple[str, TensorRecord, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    needs_w_avg: bool = False
    problem: CheckpointError | None = None  # why it cannot be loaded, although it was recognised
    file_size: int = 0
    average_from: Part | None = None  # the generator whose mapping gives an encoder its missing latent_avg
    cautions: list[str] = field(default_factory=list)  # notes that are said aloud when the part is loaded

    def add(self, name: str, record: TensorRecord, shape: Iterable[int]) -> None:
        shape = tuple(shape)
        if record.numel != _count(shape):
            raise CorruptCheckpointError(
                f"The tensor for '{name}' has shape {list(record.shape)} where {list(shape)} belongs. "
                "The file is damaged or of an unknown variant: get the original."
            )
        self.tensors[name] = Mapped(record, shape)


def attempt(kind: str, dialect: str, make: Callable[[], Part]) -> Part:
    """``make()``, or a part that holds its error: what is wrong with one network is no fault of the others."""
    try:
        return make()
    except CheckpointError as error:
        return Part(kind, dialect, {}, problem=error)


def check_picture(channels: int, start: tuple[int, ...] = (4, 4)) -> None:
    """Refuse a network of pictures that are not square RGB; ``start`` is the smallest map, (height, width)."""
    if channels != 3:
        what = {1: "grey pictures", 2: "grey pictures with alpha", 4: "RGBA pictures", 12: "wavelets (SWAGAN)"}
        raise UnsupportedCheckpointError(
            f"The network is for {what.get(channels, 'pictures')} of {channels} channels; only RGB (3 channels) is "
            "supported. Use a network of colour pictures."
        )
    if tuple(start) != (4, 4):
        raise UnsupportedCheckpointError(
            f"The network starts from a map of {'x'.join(map(str, start))} where square pictures start from 4x4; only "
            "square pictures are supported. Use another network."
        )


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def tensors_of(value: Any, prefix: str = "") -> dict[str, TensorRecord]:
    """The named tensors of a state dict below ``prefix``; a ``module.`` of data-parallel training is taken off."""
    if not isinstance(value, dict):
        return {}
    found = {name: t for name, t in value.items() if isinstance(name, str) and isinstance(t, TensorRecord)}
    if found and all(name.startswith("module.") for name in found):
        found = {name[len("module.") :]: t for name, t in found.items()}
    return {name[len(prefix) :]: t for name, t in found.items() if name.startswith(prefix)}


def need(tensors: Tensors, name: str, dimensions: int | None = None) -> TensorRecord:
    """A tensor that must be there, with its number of dimensions checked."""
    record = tensors.get(name)
    if record is None:
        raise CorruptCheckpointError(
            f"Tensor '{name}' is missing. The file is incomplete or of an unknown variant: get the original."
        )
    if dimensions is not None and len(record.shape) != dimensions:
        raise CorruptCheckpointError(
            f"Tensor '{name}' has shape {list(record.shape)}, {dimensions} dimensions are expected. "
            "The file is damaged or of an unknown variant: get the original."
        )
    return record


def count_up(tensors: Tensors, pattern: str, start: int = 0) -> int:
    """How many of ``pattern.format(start)``, ``pattern.format(start + 1)`` ... there are, up to the last one.

    A gap is counted: what is missing is then asked for by name.
    """
    return max((i + 1 for i in range(start, MAX_INDEX) if pattern.format(i) in tensors), default=start) - start


def check_level(level: int) -> int:
    """log2 of a resolution that this library builds: 8 to 2048 px."""
    if not 3 <= level <= MAX_LEVEL:
        raise UnsupportedCheckpointError(
            f"The network is for {2**level} px; 8 to {2**MAX_LEVEL} px are supported. Use another one."
        )
    return level


def options(value: Any) -> dict[str, Any]:
    """The plain entries of an ``opts`` table or ``argparse.Namespace``: texts, numbers, flags, short lists of them."""
    state = value.state if isinstance(value, Record) else value
    if not isinstance(state, dict):
        return {}
    plain: dict[str, Any] = {}
    for name, entry in list(state.items())[:500]:
        items = entry if isinstance(entry, list | tuple) else [entry]
        simple = len(items) <= 64 and all(v is None or isinstance(v, str | int | float) for v in items)
        if isinstance(name, str) and simple:
            plain[name[:100]] = [_short(v) for v in items] if items is entry else _short(entry)
    return plain


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:500]
    return value if not isinstance(value, int) or abs(value) < 1 << 63 else None
