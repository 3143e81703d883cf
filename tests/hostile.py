"""Files made to do harm, and files that are simply not what they claim. Run as a program, it tries to load each of them
under a memory limit and prints what happened as JSON."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests import checkpoint_files as files
from tests.hostile_headers import HUGE, header_cases

SENTINEL = "SENTINEL"


class Evil:
    """Pickles as a call of ``function`` with ``args``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class Lie:
    """Pickles as a tensor whose geometry its storage does not have."""

    def __init__(self, offset: Any, size: Any, stride: Any, items: int = 4) -> None:
        self.geometry = offset, size, stride
        self.items = items

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        storage = torch.zeros(self.items).storage()
        return torch._utils._rebuild_tensor_v2, (storage, *self.geometry, False, OrderedDict())


def tiny_generator(size: int = 16, w_dim: int = 16) -> Any:
    """A random generator of 8 channels, as a module."""
    from reganie_core import networks

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        channels = [8] * (size.bit_length() - 2)
        network = networks.build("generator", {"type": "Generator", "resolution": size, "channels": channels,
                                               "z_dim": 16, "w_dim": w_dim, "mapping_layers": 2})
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.3)
        network.mapping.w_avg.normal_()
    return network.eval().requires_grad_(False)


def saved(value: Any, legacy: bool = False, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return buffer.getvalue()


def code_cases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Pickles that run something when they are read the usual way."""
    mark = str(folder / SENTINEL)
    shell, source = f"touch '{mark}'", f"open({mark!r}, 'w').write('x')"
    calls = {
        "os_system": Evil(os.system, shell),
        "exec": Evil(exec, source),
        "eval": Evil(eval, source),
        "getattr_chain": Evil(getattr, Evil(__import__, "os"), "system"),
        "import": Evil(__import__, "os"),
        "open": Evil(open, mark, "w"),
        "bytearray": Evil(bytearray, HUGE),
    }
    for name, call in calls.items():
        for protocol in (0, 2, 4):
            yield f"{name}_{protocol}.pkl", pickle.dumps({"G_ema": call}, protocol=protocol)
        yield f"{name}.pt", saved({"g_ema": call})
        yield f"{name}_legacy.pt", saved({"g_ema": call}, legacy=True)
    payload = pickle.dumps(calls["os_system"])
    multiarray = "numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray"
    numpy_core = sys.modules[multiarray]
    yield "numpy_scalar_object.pkl", pickle.dumps(Evil(numpy_core.scalar, np.dtype("O"), payload))
    yield "numpy_reconstruct.pkl", pickle.dumps(Evil(numpy_core._reconstruct, os.system, (0,), b"b"))
    array = np.empty(1, dtype=object)
    array[0] = calls["os_system"]
    yield "numpy_object_array.pkl", pickle.dumps(array)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    yield "object_array.npy", buffer.getvalue()
    for name, nested in (("pickle", payload), ("zip", saved(calls["os_system"])),
                         ("legacy", saved(calls["os_system"], legacy=True))):
        yield f"nested_{name}.pkl", pickle.dumps({"G_ema": Evil(torch.storage._load_from_bytes, nested)})
    twice = saved(Evil(torch.storage._load_from_bytes, saved(calls["os_system"], legacy=True)), legacy=True)
    yield "nested_twice.pkl", pickle.dumps({"G_ema": Evil(torch.storage._load_from_bytes, twice)})
    yield "reduce_result.pkl", b"\x80\x02ccollections\nOrderedDict\n)R)R."
    yield "parameter_class.pkl", b"\x80\x02ctorch\nFloatStorage\n)R."
    yield "extension.pkl", b"\x80\x02\x82\x01)R."
    yield "module_name.pkl", b"\x80\x02ctorch.nn.modules.linear\nos.system\n)R."
    with files.nvidia_modules():
        hostile = files.nvidia_network({"fc.weight": torch.zeros(2, 2)}, "os.system", module_src=source)
        yield "persistence_source.pkl", pickle.dumps({"G_ema": hostile})


def shape_cases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Tensors whose description and content do not agree, and tensors that are not dense."""
    lies = {
        "larger": (0, (8, 8), (8, 1)), "offset": (3, (2,), (1,)), "offset_huge": (1 << 61, (1,), (1,)),
        "offset_negative": (-1, (2,), (1,)), "stride_negative": (3, (4,), (-1,)), "stride_huge": (0, (2,), (1 << 61,)),
        "overflow": (0, (1 << 33, 1 << 33), (1 << 33, 1)), "beyond_int64": (1 << 70, (2,), (1,)),
        "expanded": (0, (HUGE,), (0,)), "ranks": (0, (2, 2), (1,)), "float_size": (0, (2.0,), (1,)),
        "size_text": (0, ("2",), (1,)), "size_list": (0, [2], [1]), "many_axes": (0, (1,) * 64, (1,) * 64),
    }
    good = files.to_rosinality(tiny_generator().state_dict())
    for name, geometry in lies.items():
        yield f"lie_{name}.pt", saved({"g_ema": {**good, "conv1.activate.bias": Lie(*geometry)}})
        yield f"lie_{name}_legacy.pt", saved({"g_ema": {**good, "conv1.activate.bias": Lie(*geometry)}}, legacy=True)
    dense = torch.eye(8)
    odd = {
        "sparse": dense.to_sparse(), "sparse_csr": dense.to_sparse_csr(), "meta": torch.empty(8, 8, device="meta"),
        "complex": torch.zeros(8, dtype=torch.complex64), "float8": torch.zeros(8).to(torch.float8_e4m3fn),
        "quantised": torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        "nan": torch.full((8,), float("nan")), "infinity": torch.full((8,), float("inf")),
        "wrong_shape": torch.zeros(3, 5), "nested_list": [[1.0]],
    }
    for name, tensor in odd.items():
        yield f"odd_{name}.pt", saved({"g_ema": {**good, "conv1.activate.bias": tensor}})
    shared = torch.zeros(1 << 16)
    yield "shared_many.pt", saved({"g_ema": {f"style.{i}.weight": shared.expand(64, 1 << 16) for i in range(1, 2000)}})
    full = files.manifest("rosinality_g1024")
    views = {key: _view(shape) for key, (shape, _) in full.items() if not key.endswith("kernel")}
    yield "shared_network.pt", saved({"g_ema": views})
    wide = {**good, "input.input": torch.zeros(1, 1, 4, 4).expand(1, 4096, 4, 4)}
    yield "expanded_width.pt", saved({"g_ema": wide})
    yield "filter.pt", saved({"g_ema": {**good, "convs.0.conv.blur.kernel": torch.ones(4, 4)}})


_SHARED = torch.zeros(512 * 512 * 9)


def _view(shape: list[int]) -> torch.Tensor:
    """A tensor of the one storage that a whole network is made of."""
    return _SHARED[: int(np.prod(shape))].view(shape)


def bomb_cases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Small files that ask for a lot of memory or time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as entry:
            for _ in range(16):
                entry.write(bytes(1 << 24))
        archive.writestr("archive/version", "3")
    yield "bomb_deflate.pt", buffer.getvalue()
    archive_bytes = saved({"g_ema": {"a": torch.zeros(4)}})
    end = archive_bytes.rfind(b"PK\x06\x06")  # the 64-bit end record, which torch always writes
    for name, at in (("count", 32), ("size", 40), ("offset", 48)):
        for size in (HUGE, 60_000):
            changed = archive_bytes[: end + at] + struct.pack("<Q", size) + archive_bytes[end + at + 8 :]
            yield f"zip_{name}_{size}.pt", changed
    entry = archive_bytes.find(b"PK\x01\x02")
    yield "zip_entry.pt", archive_bytes[: entry + 42] + b"\xff\xff\xff\x7f" + archive_bytes[entry + 46 :]
    for size in (HUGE, 1 << 62):
        length = struct.pack("<Q", size)
        yield f"bytes_{size}.pkl", b"\x80\x04\x8e" + length + b"x."
        yield f"text_{size}.pkl", b"\x80\x04\x8d" + length + b"x."
        yield f"bytearray_{size}.pkl", b"\x80\x05\x96" + length + b"x."
        yield f"frame_{size}.pkl", b"\x80\x04\x95" + length + b"N."
    yield "memo_index.pkl", b"\x80\x02Nr\xff\xff\xff\xff."
    yield "memo_line.pkl", b"\x80\x02Np" + b"9" * 200 + b"\n."
    yield "long.pkl", b"\x80\x02\x8b\xff\xff\xff\x7f."
    yield "decimal.pkl", b"\x80\x02L" + b"9" * 4000 + b"L\n."
    double = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(200))
    yield "hash_bomb.pkl", b"\x80\x02}(K\x01\x85q\x00" + double + b"Nu."
    lists = b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(200))
    yield "list_bomb.pkl", b"\x80\x02]q\x00" + lists + b"."
    item = b"(" + b"N" * 100_000 + b"lq\x00"
    copies = b"cbuiltins\nlist\nq\x01" + b"h\x01h\x00\x85R" * 50_000
    yield "copy_bomb.pkl", b"\x80\x02" + item + copies + b"."
    yield "deep.pkl", b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b"."
    yield "sets.pkl", b"\x80\x04" + b"\x8f" * 1_010_000 + b"."
    yield "module_copies.pkl", _module_copies()
    yield "self.pkl", b"\x80\x02}q\x00X\x04\x00\x00\x00selfh\x00s."
    yield "module_loop.pkl", _loop_pickle()
    for numel in (HUGE, -1):
        yield f"storage_{numel}.pt", archive_bytes_with(_storage_pickle(numel))


def _loop_pickle() -> bytes:
    """A persistence record whose module tables hold the record itself twice."""
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()  # noqa: E731
    state = b"}q\x01" + text("_modules") + b"}q\x02s"
    meta = b"}(" + text("type") + text("class") + text("version") + b"K\x06" + text("class_name") + text("Generator")
    meta += text("state") + state + b"u"
    record = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + meta + b"\x85Rq\x03"
    fill = b"h\x02(" + text("a") + b"h\x03" + text("b") + b"h\x03u0"
    return b"\x80\x02" + record + fill + b"}" + text("G_ema") + b"h\x03s."


def _module_copies() -> bytes:
    """Ten thousand names for one module that has ten thousand names for one tensor."""
    import collections

    record = files.Persistent("Generator")
    leaf = files.Persistent("Layer")
    leaf.__dict__["_parameters"] = collections.OrderedDict.fromkeys(map(str, range(10_000)), torch.zeros(1))
    record.__dict__["_modules"] = collections.OrderedDict.fromkeys(map(str, range(10_000)), leaf)
    with files.nvidia_modules():
        return pickle.dumps({"G_ema": record})


def _storage_pickle(numel: int) -> bytes:
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()  # noqa: E731
    number = b"\x8a\x08" + struct.pack("<q", numel)
    pid = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"K\x00" + number + b"\x85K\x01\x85\x89}tR"
    return b"\x80\x02" + tensor + b"."


def archive_bytes_with(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", bytes(16))
    return buffer.getvalue()


def other_cases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Honest files that are something else."""
    yield "empty.pt", b""
    yield "page.pt", b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
    yield "quota.pkl", b"<html><head><title>Google Drive - Quota exceeded</title>"
    yield "pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 381673535\n"
    yield "error.safetensors", b'{"error": "Repository not found"}'
    yield "picture.pt", b"\x89PNG\r\n\x1a\n" + bytes(64)
    yield "packed.pkl", gzip.compress(b"x" * 100)
    yield "noise.pt", bytes(range(7, 250))
    yield "text.pt", b"(this is a text, not a model)"
    yield "one_byte.pkl", b"\x80"
    yield "archive.pt", _plain_zip()
    module = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1))
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    yield "torchscript.pt", buffer.getvalue()
    yield "tensorflow.pkl", _tensorflow()
    with files.nvidia_modules():
        alias_free = {"synthesis.input.freqs": torch.zeros(8, 2), "synthesis.L0_36_8.weight": torch.zeros(8, 8, 3, 3),
                      "mapping.fc0.weight": torch.zeros(8, 8)}
        yield "stylegan3.pkl", pickle.dumps({"G_ema": files.nvidia_network(alias_free)})
        resnet = {**tiny_generator().state_dict(), "synthesis.b8.skip.weight": torch.zeros(8, 8, 1, 1)}
        yield "resnet.pkl", pickle.dumps({"G_ema": files.nvidia_network(resnet)})
        plain = files.nvidia_network(tiny_generator().state_dict())
        plain._modules["synthesis"]._modules["b8"]._modules.pop("torgb")
        yield "origin.pkl", pickle.dumps({"G_ema": plain})
    yield "direction.pt", saved(torch.zeros(1, 512))
    yield "hyperstyle.pt", saved({"state_dict": {"hypernet.shared_weight_hypernet.w1": torch.zeros(2, 2)}})
    face = {"input_layer.0.weight": torch.zeros(64, 3, 3, 3), "output_layer.3.weight": torch.zeros(2)}
    yield "arcface.pth", saved(face)
    yield "numbers.pt", saved({"loss": 0.5})
    yield "missing.pt", saved({"g_ema": {k: v for k, v in files.to_rosinality(tiny_generator().state_dict()).items()
                                         if k != "convs.1.conv.weight"}})


def _plain_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return buffer.getvalue()


def _tensorflow() -> bytes:
    return b"\x80\x03cdnnlib.tflib.network\nNetwork\nq\x00)\x81q\x01N\x87q\x02."


def truncated_cases(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every container, cut at many places."""
    from reganie_core import checkpoints

    network = tiny_generator()
    whole = {
        "rosinality.pt": saved({"g_ema": files.to_rosinality(network.state_dict())}),
        "legacy.pt": saved({"g_ema": files.to_rosinality(network.state_dict())}, legacy=True),
    }
    with files.nvidia_modules():
        whole["nvidia.pkl"] = pickle.dumps({"G_ema": files.nvidia_network(network.state_dict())})
    path = folder / "source.safetensors"
    config = {"type": "Generator", "resolution": 16, "channels": [8, 8, 8], "z_dim": 16, "w_dim": 16,
              "mapping_layers": 2}
    checkpoints.save_checkpoint(path, "generator", config, network.state_dict(), {})
    whole["ours.safetensors"] = path.read_bytes()
    path.unlink()
    for name, content in whole.items():
        cuts = {1, 2, 7, 9, 16, 40, 100, 500, *(len(content) * i // 12 for i in range(1, 12)), len(content) - 8,
                len(content) - 1}
        for cut in sorted(cuts):
            yield f"cut_{cut}_{name}", content[:cut]


GROUPS: dict[str, Callable[[Path], Iterator[tuple[str, bytes]]]] = {
    "code": code_cases, "shape": shape_cases, "bomb": bomb_cases, "header": header_cases, "other": other_cases,
    "truncated": truncated_cases,
}


def write_corpus(folder: Path) -> None:
    """One subfolder per group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several of these kinds of tensors and files are out of fashion
        for group, cases in GROUPS.items():
            target = folder / group
            target.mkdir(parents=True)
            for name, content in cases(target):
                (target / name).write_bytes(content)


def attempt(path: Path) -> dict[str, Any]:
    """What every reader does with a file: the class and text of the error of ``load_generator`` ("" for none)."""
    import reganie_core.checkpoints as c
    from reganie_core.errors import ReganieError

    readers: dict[str, Callable[[Path], Any]] = {"inspect": c.inspect, "load_generator": c.load_generator}
    if path.stat().st_size < 50_000:
        readers |= {"load_encoder": c.load_encoder, "load_directions": c.load_directions,
                    "load_rectifier": c.load_rectifier, "read_checkpoint": c.read_checkpoint}
    result: dict[str, Any] = {"escaped": []}
    for name, reader in readers.items():
        try:
            reader(path)
            kind, text = "", ""
        except ReganieError as error:
            kind, text = type(error).__name__, str(error)
        except BaseException as error:
            kind, text = type(error).__name__, str(error)
            result["escaped"].append(f"{name}: {kind}: {text[:200]}")
        result[name] = [kind, text]
    return result


def peak_memory() -> int:
    """Largest resident size so far in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(folder: Path) -> None:
    import resource

    torch.set_num_threads(1)
    from reganie_core.checkpoints import inspect  # noqa: F401  (what is imported does not count)

    tiny_generator()
    if sys.platform == "linux":  # allocations that are never touched count as well
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), -1))
    before = peak_memory()
    results = {f"{path.parent.name}/{path.name}": attempt(path) for path in sorted(folder.glob("*/*"))}
    json.dump({"results": results, "memory": peak_memory() - before}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

