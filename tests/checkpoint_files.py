"""Writes the files that other projects write: real containers around synthetic weights, for tests."""

from __future__ import annotations

import argparse
import importlib.util
import json
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"
# Executed by the original reader; ours must drop it. It would leave a file in the folder of the test.
MODULE_SRC = "import pathlib\npathlib.Path('executed_module_src').write_text('executed')\nclass Generator: pass\n"


def _load_fill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = _load_fill()


def manifest(name: str) -> dict[str, list]:
    return json.loads((GOLDEN / f"{name}.manifest.json").read_text())


def weights(name: str, prefix: str = "") -> dict[str, Tensor]:
    """The synthetic weights of a manifest; keys outside ``prefix`` are left out."""
    entries = {key: value for key, value in manifest(name).items() if key.startswith(prefix)}
    return {key: torch.from_numpy(np.array(value)) for key, value in fill.fill(entries).items()}


def golden(name: str) -> Mapping[str, np.ndarray]:
    return np.load(GOLDEN / f"{name}.npz")


def latent_avg(*shape: int) -> Tensor:
    return torch.from_numpy(fill.fill({"latent_avg": [list(shape), "float32"]})["latent_avg"])


def given(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(fill.make_input(name, shape))


def error_over_scale(found: Tensor, stored: Mapping[str, np.ndarray], name: str) -> float:
    """Largest error as a fraction of the allowed one: 1e-4 of the largest value, or 20 times the stored floor."""
    values = found.detach().numpy()
    floor = stored[name + ".floor"] if name + ".floor" in stored else None
    worst = 0.0
    parts = {name: values}
    if name not in stored:  # some arrays are stored with a coarser grid or a smaller crop than others
        sizes = {part: stored[f"{name}.{part}"].shape[-1] for part in ("grid", "crop")}
        parts = fill.summary(name, values, **sizes)
    largest = max(float(np.abs(stored[key]).max()) for key in parts if not key.endswith((".shape", ".stats")))
    allowed = 1e-4 * largest
    if floor is not None:
        allowed = max(allowed, 20 * float(floor[0]))
    for key, part in parts.items():
        assert part.shape == stored[key].shape, key
        if not key.endswith(".shape"):
            worst = max(worst, float(np.abs(part.astype(np.float64) - stored[key]).max()) / allowed)
    return worst


# --- rosinality -------------------------------------------------------------------------------------------------------


def rosinality_file(path: Path, g_ema: dict[str, Tensor], **more: Any) -> Path:
    torch.save({"g_ema": OrderedDict(g_ema), **more}, path)
    return path


def to_rosinality(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our (NVIDIA's) generator names to rosinality's: the table of the format notes, written the other way round."""
    out: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        if found := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
            out[f"style.{int(found[1]) + 1}.{found[2]}"] = tensor
        elif name == "synthesis.b4.const":
            out["input.input"] = tensor[None]
        elif found := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", name):
            size, layer, rest = int(found[1]), found[2], found[3]
            k = size.bit_length() - 4
            index = {"conv0": 2 * k, "conv1": 2 * k + 1}.get(layer)
            if layer == "torgb":
                theirs = "to_rgb1" if size == 4 else f"to_rgbs.{k}"
            else:
                theirs = "conv1" if size == 4 else f"convs.{index}"
            if rest == "noise_const":
                out[f"noises.noise_{0 if size == 4 else index + 1}"] = tensor[None, None]
            elif rest == "noise_strength":
                out[f"{theirs}.noise.weight"] = tensor.reshape(1)
            elif rest == "bias":
                out[f"{theirs}.bias" if layer == "torgb" else f"{theirs}.activate.bias"] = (
                    tensor.reshape(1, 3, 1, 1) if layer == "torgb" else tensor
                )
            elif rest == "weight":
                out[f"{theirs}.conv.weight"] = tensor[None]
            else:
                out[f"{theirs}.conv.modulation.{rest.removeprefix('affine.')}"] = tensor
    return out


def namespace(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**values)


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


class Persistent(nn.Module):
    """Stands for a class decorated with NVIDIA's ``persistent_class``; pickles the way that decorator does."""

    def __init__(self, class_name: str, module_src: str = MODULE_SRC) -> None:
        super().__init__()
        self.__dict__["_test"] = (class_name, module_src)

    def __reduce_ex__(self, protocol: int) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        class_name, module_src = state.pop("_test")
        meta = {"type": "class", "version": 6, "module_src": module_src, "class_name": class_name, "state": state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


@contextmanager
def nvidia_modules() -> Iterator[None]:
    """The modules whose names NVIDIA's pickles hold, while one is written."""
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("The original reader must never run.")

    class EasyDict(dict):
        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                raise AttributeError(name) from None

    for module, thing in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
        thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
        setattr(module, thing.__name__, thing)
    added = {"torch_utils": ModuleType("torch_utils"), "torch_utils.persistence": persistence,
             "dnnlib": ModuleType("dnnlib"), "dnnlib.util": util}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name)


_BUFFERS = ("resample_filter", "noise_const", "w_avg")
_CLASSES = {"": "Generator", "mapping": "MappingNetwork", "synthesis": "SynthesisNetwork"}


def nvidia_network(
    tensors: Mapping[str, Tensor], class_name: str = "Generator", attributes: Mapping[str, Mapping[str, Any]] = {},
    everywhere: Mapping[str, Any] = {}, module_src: str = MODULE_SRC,
) -> Persistent:
    """A module tree like NVIDIA's around flat tensors; ``attributes`` by path, ``everywhere`` for every module."""
    root = Persistent(class_name, module_src)
    modules = {"": root}

    def module(path: str) -> Persistent:
        if path not in modules:
            parent, _, last = path.rpartition(".")
            kind = "SynthesisBlock" if re.fullmatch(r"(synthesis\.)?b\d+", path) else "SynthesisLayer"
            modules[path] = Persistent(_CLASSES.get(path, kind), module_src)
            module(parent).add_module(last, modules[path])
        return modules[path]

    for name, tensor in tensors.items():
        path, _, last = name.rpartition(".")
        owner = module(path)
        if last in _BUFFERS:
            owner.register_buffer(last, tensor.clone())
        else:
            owner.register_parameter(last, nn.Parameter(tensor.clone()))
    for path, entries in attributes.items():
        module(path).__dict__.update(entries)
    for path, owner in modules.items():
        if path:
            owner.__dict__.update({"weight_gain": np.float64(0.1), "up": 1, **everywhere})
    return root


def nvidia_generator(tensors: Mapping[str, Tensor], clamp: float | None = 256, **kwargs: Any) -> Persistent:
    attributes = {"mapping": {"num_ws": 10, "lr_multiplier": 0.01}, "": {"z_dim": 512, "img_resolution": 64}}
    return nvidia_network(tensors, "Generator", attributes, {"conv_clamp": clamp, "use_fp16": False}, **kwargs)


def nvidia_discriminator(tensors: Mapping[str, Tensor], group: int | None = 4) -> Persistent:
    mbstd = {"b4.mbstd": {"group_size": group, "num_channels": 1}}
    return nvidia_network(tensors, "Discriminator", mbstd, {"conv_clamp": 256})


def nvidia_file(path: Path, protocol: int = 4, **networks: Any) -> Path:
    """``pickle.dump`` of ``dict(G, D, G_ema, training_set_kwargs, augment_pipe)``; protocol 2 in old numpy's names."""
    with nvidia_modules():
        options = sys.modules["dnnlib.util"].EasyDict(class_name="training.dataset.ImageFolderDataset", xflip=True)
        content = {"training_set_kwargs": options, "G": None, "D": None, "G_ema": None, "augment_pipe": None}
        raw = pickle.dumps({**content, **networks}, protocol=protocol)
    if protocol == 2:  # names are plain lines in protocol 2, so that they can be changed in place
        raw = raw.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(raw)
    return path


def pti_file(path: Path, network: Persistent) -> Path:
    """A whole module through ``torch.save``."""
    with nvidia_modules():
        torch.save(network, path)
    return path
