"""The globals that a file may name, and the inert thing each of them stands for.

Enumerated from genuine files of every dialect read here. A name that is missing is refused by name; nothing falls back
to an import.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import Any, NoReturn, cast

import torch

from ..errors import CorruptCheckpointError, UnsafeCheckpointError, UnsupportedCheckpointError
from .records import (
    ArrayRecord,
    DTypeRecord,
    LongText,
    Record,
    StorageRecord,
    Symbol,
    TensorRecord,
    array_tensor,
    numpy_dtype,
)
from .unpickler import Global, Unpickler

STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Of the allowance, for each nested storage: reading one takes time, not only memory.
NESTED_COST = 1 << 15
_DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_LAYOUTS = {
    "f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "i2": "<h", "i1": "<b", "u1": "<B", "b1": "<?",
}
_OTHER_TYPES = re.compile(r"[A-Z]\w{0,40}Storage|(float|complex|int|uint|qint|quint|bits)\d\w{0,20}")
_REFUSED_TENSORS = {
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_meta_tensor_no_storage": "a meta tensor (a shape without values)",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_wrapper_subclass": "a tensor subclass",
    "_rebuild_tensor_v3": "a tensor of an unusual dtype",
    "_rebuild_device_tensor_from_numpy": "a tensor of another device",
    "_rebuild_device_tensor_from_cpu_tensor": "a tensor of another device",
}


def find_global(module: str, name: str) -> Global:
    """The inert function that stands for ``module.name``.

    Raises:
        UnsafeCheckpointError: the name is not on the list; it is named in the message.
        UnsupportedCheckpointError: it belongs to a known file type that is not read.
    """
    if found := _GLOBALS.get((module, name)):
        return found
    if module.startswith("torch.nn.modules.") and name.isidentifier():
        return _record
    if module.startswith("dnnlib.tflib"):
        raise UnsupportedCheckpointError(
            "This is a TensorFlow StyleGAN pickle (dnnlib.tflib.network). Convert it with legacy.py of "
            "stylegan2-ada-pytorch, or download the PyTorch version of the network."
        )
    if module == "torch" and _OTHER_TYPES.fullmatch(name):
        raise UnsupportedCheckpointError(
            f"The file holds tensors of type {name[:40]}, which no network here uses. Save it as float32."
        )
    text = ascii(f"{module[:60]}.{name[:60]}")
    if module.split(".")[0] not in sys.stdlib_module_names and re.fullmatch(r"_*[A-Z]\w*", name):
        # The class of somebody's program: whole objects given to torch.save. Harmful files call functions.
        raise UnsafeCheckpointError(
            f"The file holds a whole object of the class {text}, which only the program that made it can read; "
            "nothing was executed. Save the weights alone, in that program: torch.save(model.state_dict(), FILE)."
        )
    raise UnsafeCheckpointError(
        f"The file asks for {text}, which no known checkpoint needs; nothing was executed. "
        "Do not trust this file: get it from its original source."
    )


def find_storage_only(module: str, name: str) -> Global:
    """For nested payloads: storage classes and nothing else."""
    if module == "torch" and name in STORAGES or (module, name) == ("torch.storage", "UntypedStorage"):
        return _not_callable
    if module == "collections" and name == "OrderedDict":  # sys_info of some writers
        return _dictionary
    return _refuse_nested(module, name)


def _refuse_nested(module: str, name: str) -> NoReturn:
    raise UnsafeCheckpointError(
        f"A storage nested in the file asks for {ascii(f'{module[:60]}.{name[:60]}')}; nothing was executed. "
        "Do not trust this file: get it from its original source."
    )


def storage_of(pid: Any) -> tuple[torch.dtype, str, int]:
    """(dtype, key, numel) of a persistent id ``("storage", type, key, location, numel[, view])``."""
    if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage" and isinstance(pid[1], Symbol)):
        raise CorruptCheckpointError("The file refers to a storage in an unknown way. It is damaged: get it again.")
    if len(pid) == 6 and pid[5] is not None:
        raise UnsupportedCheckpointError("The file was saved by a very old PyTorch (shared storages). Save it again.")
    symbol, key, numel = pid[1], pid[2], pid[4]
    dtype = torch.uint8 if symbol.name == "UntypedStorage" else STORAGES.get(symbol.name)
    if dtype is None or not isinstance(key, str | int) or type(numel) is not int or not 0 <= numel < 1 << 48:
        raise CorruptCheckpointError(
            "The file describes a storage of impossible type or size. It is damaged: get it again."
        )
    return dtype, str(key)[:100], numel


# --- the inert functions ----------------------------------------------------------------------------------------------


def _not_callable(_: Unpickler, __: tuple[Any, ...]) -> NoReturn:
    raise UnsafeCheckpointError("The file calls a type that is only ever named. Nothing was executed; do not trust it.")


def _record(_: Unpickler, args: tuple[Any, ...]) -> Record:
    return Record("object", args)


def _dictionary(machine: Unpickler, args: tuple[Any, ...]) -> dict[Any, Any]:
    items = next((a for a in args[:2] if isinstance(a, list | dict)), ())
    machine.charge(64 + 100 * len(items))
    pairs = items.items() if isinstance(items, dict) else items
    return {machine.check_key(key): value for key, value in pairs}


def _sequence(machine: Unpickler, args: tuple[Any, ...]) -> list[Any]:
    items = args[0] if args and isinstance(args[0], list | tuple) else ()
    machine.charge(64 + 8 * len(items))
    return list(items)


def _size(machine: Unpickler, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_sequence(machine, args))


def _device(_: Unpickler, args: tuple[Any, ...]) -> str:
    return ":".join(str(a)[:20] for a in args[:2] if isinstance(a, str | int))


def _path(machine: Unpickler, args: tuple[Any, ...]) -> str:
    text = "/".join(a[:200] for a in args[:64] if isinstance(a, str))
    machine.charge(4 * len(text) + 64)
    return text


def _encode(machine: Unpickler, args: tuple[Any, ...]) -> Any:
    text, encoding = args
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str | LongText):
        raise UnsafeCheckpointError(
            "The file encodes a text in an unexpected way. Nothing was executed; do not trust it."
        )
    return text if isinstance(text, LongText) else bytes(machine.bytes_of(text))


def _persistent_object(_: Unpickler, args: tuple[Any, ...]) -> Record:
    """NVIDIA's persistence record. The original executes ``module_src``; here the text is dropped unread."""
    meta = args[0]
    version, kind = meta.get("version"), meta.get("type")
    if kind not in (None, "class") or type(version) is not int:
        raise CorruptCheckpointError(
            "The file holds a persistence record of unknown type. It is damaged: get it again."
        )
    if version > 6:
        raise UnsupportedCheckpointError(
            f"The file holds a persistence record of version {version}; up to 6 are read. Use an older file."
        )
    name, state = meta.get("class_name"), meta.get("state")
    if not isinstance(name, str) or not isinstance(state, dict | None):
        raise CorruptCheckpointError(
            "The file holds a persistence record without class or state. It is damaged: get it again."
        )
    return Record(name[:100], (), state or {})


def _load_from_bytes(machine: Unpickler, args: tuple[Any, ...]) -> StorageRecord:
    if machine.nested is None:
        raise UnsafeCheckpointError("The file nests storages inside storages. Nothing was executed; do not trust it.")
    (payload,) = args
    machine.charge(NESTED_COST)
    if not isinstance(payload, bytes | bytearray | memoryview | LongText):
        raise CorruptCheckpointError(
            "A nested storage of the file is not a byte string. The file is damaged: get it again."
        )
    return machine.nested(cast(Any, payload))  # a LongText is as good as the bytes


def _tensor(_: Unpickler, args: tuple[Any, ...]) -> TensorRecord:
    storage, offset, size, stride = args[:4]
    if not isinstance(storage, StorageRecord) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise CorruptCheckpointError(
            "The file describes a tensor without storage or shape. It is damaged: get it again."
        )
    return TensorRecord(storage, offset, size, stride)


def _parameter(_: Unpickler, args: tuple[Any, ...]) -> TensorRecord:
    if not isinstance(args[0], TensorRecord):
        raise CorruptCheckpointError("The file describes a parameter without a tensor. It is damaged: get it again.")
    return args[0]


def _typed_tensor(machine: Unpickler, args: tuple[Any, ...]) -> TensorRecord:
    """A tensor that carried Python attributes: (rebuild function, type, its arguments, attributes)."""
    function, _, inner = args[:3]
    if not isinstance(function, Symbol) or (function.module, function.name) not in _REBUILD:
        raise UnsafeCheckpointError(
            "The file rebuilds a tensor through an unknown function. Nothing was executed; do not trust it."
        )
    return _REBUILD[function.module, function.name](machine, inner)


def _refuse_tensor(what: str) -> Global:
    def refuse(_: Unpickler, __: tuple[Any, ...]) -> NoReturn:
        raise UnsupportedCheckpointError(f"The file holds {what}; only plain dense tensors are read. Save it as such.")

    return refuse


def _numpy_dtype(_: Unpickler, args: tuple[Any, ...]) -> DTypeRecord:
    code = args[0]
    if not isinstance(code, str) or code.lstrip("<>=|")[:1] in ("O", "V"):
        raise UnsafeCheckpointError(
            "The file holds numpy objects, which could run code. Nothing was executed. Save it as float32."
        )
    return DTypeRecord(code.lstrip("<>=|"), ">" if code.startswith(">") else "<")


def _numpy_scalar(machine: Unpickler, args: tuple[Any, ...]) -> float | int | bool:
    dtype, data = args
    kind = numpy_dtype(dtype)
    raw = bytes(machine.bytes_of(data))
    if len(raw) != kind.itemsize:
        raise CorruptCheckpointError("The file holds a numpy number of the wrong size. It is damaged: get it again.")
    return struct.unpack(_LAYOUTS[dtype.code], raw)[0]


def _numpy_reconstruct(_: Unpickler, args: tuple[Any, ...]) -> ArrayRecord:
    if args[0] != Symbol("numpy", "ndarray"):
        raise UnsafeCheckpointError(
            "The file rebuilds a numpy array of an unknown class. Nothing was executed; do not trust it."
        )
    return ArrayRecord()


def _numpy_buffer(machine: Unpickler, args: tuple[Any, ...]) -> ArrayRecord:
    data, dtype, shape, order = args
    machine.charge(200)
    return ArrayRecord(array_tensor(dtype, shape, order == "F", machine.bytes_of(data)))


_REBUILD: dict[tuple[str, str], Global] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}
_GLOBALS: dict[tuple[str, str], Global] = {
    **_REBUILD,
    ("torch._tensor", "_rebuild_from_type_v2"): _typed_tensor,
    ("torch.nn.parameter", "Parameter"): _not_callable,
    ("torch", "Tensor"): _not_callable,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("torch.storage", "UntypedStorage"): _not_callable,
    ("torch.serialization", "_get_layout"): _device,  # named by sparse tensors, which are refused after it
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("dnnlib.util", "EasyDict"): _dictionary,
    ("argparse", "Namespace"): _record,
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): _dictionary,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _numpy_dtype,
    ("numpy", "ndarray"): _not_callable,
    ("pathlib", "PosixPath"): _path,
    ("pathlib", "WindowsPath"): _path,
}
_GLOBALS.update({("torch", name): _not_callable for name in (*STORAGES, *_DTYPES)})
_GLOBALS.update({("torch._utils", name): _refuse_tensor(what) for name, what in _REFUSED_TENSORS.items()})
for _core in ("numpy.core", "numpy._core"):
    _GLOBALS[_core + ".multiarray", "scalar"] = _numpy_scalar
    _GLOBALS[_core + ".multiarray", "_reconstruct"] = _numpy_reconstruct
    _GLOBALS[_core + ".numeric", "_frombuffer"] = _numpy_buffer
for _builtins in ("builtins", "__builtin__"):
    _GLOBALS[_builtins, "set"] = _GLOBALS[_builtins, "frozenset"] = _sequence
    _GLOBALS[_builtins, "dict"] = _dictionary
    _GLOBALS[_builtins, "list"] = _sequence
