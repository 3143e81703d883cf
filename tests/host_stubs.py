"""Small stand-ins for the parts of ComfyUI that the pack uses, and a loader that imports the pack as ComfyUI does."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
EXTENSIONS = (".safetensors", ".pt", ".pth", ".ckpt")


class Interrupted(BaseException):
    """ComfyUI's InterruptProcessingException."""


class StubPatcher:
    """ComfyUI's ModelPatcher, as far as a plain module needs it."""

    def __init__(self, model: torch.nn.Module, load_device: torch.device, offload_device: torch.device) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # find_spec raises on a module without one
    module.__dict__.update(members)
    return module


def _folder_paths(base: Path) -> ModuleType:
    models = base / "models"
    models.mkdir(parents=True, exist_ok=True)
    table: dict[str, tuple[list[str], set[str]]] = {"checkpoints": ([str(models / "checkpoints")], set(EXTENSIONS))}

    def add_model_folder_path(name: str, path: str, is_default: bool = False) -> None:
        paths, _ = table.setdefault(name, ([], set()))
        if path not in paths:
            paths.insert(0, path) if is_default else paths.append(path)

    def get_filename_list(name: str) -> list[str]:
        paths, extensions = table[name]
        found = set()
        for root in paths:
            for folder, _, files in os.walk(root, followlinks=True):
                found.update(os.path.relpath(os.path.join(folder, file), root) for file in files)
        return sorted(f for f in found if not extensions or os.path.splitext(f)[1].lower() in extensions)

    return _module(
        "folder_paths",
        models_dir=str(models),
        folder_names_and_paths=table,
        add_model_folder_path=add_model_folder_path,
        get_filename_list=get_filename_list,
        get_folder_paths=lambda name: table[name][0][:],
        get_temp_directory=lambda: str(base / "temp"),
        get_output_directory=lambda: str(base / "output"),
        get_user_directory=lambda: str(base / "user"),
    )


def host_modules(base: Path) -> SimpleNamespace:
    """The stand-ins; ``.state`` shows what the nodes did: loads, bars, notices, and switches Cancel on."""
    state = SimpleNamespace(loads=[], bars=[], notices=[], previews=[], routes={}, cancel=False)

    def check_cancel() -> None:
        if state.cancel:
            raise Interrupted()

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total, self.current = total, 0
            state.bars.append(self)

        def update_absolute(self, value: int, total: int | None = None, preview: tuple | None = None) -> None:
            check_cancel()
            self.current = value
            if preview is not None:
                state.previews.append(preview)

    def load_models_gpu(models: list[StubPatcher], memory_required: int = 0, force_full_load: bool = False) -> None:
        assert force_full_load and not torch.is_inference_mode_enabled()
        state.loads.append([patcher.model for patcher in models])

    cpu = torch.device("cpu")
    management = _module(
        "comfy.model_management",
        get_torch_device=lambda: cpu,
        intermediate_device=lambda: cpu,
        unet_offload_device=lambda: cpu,
        load_models_gpu=load_models_gpu,
        soft_empty_cache=lambda: None,
        unload_all_models=lambda: None,
        throw_exception_if_processing_interrupted=check_cancel,
        OOM_EXCEPTION=torch.OutOfMemoryError,
    )
    patcher = _module("comfy.model_patcher", ModelPatcher=StubPatcher)
    utils = _module("comfy.utils", ProgressBar=ProgressBar)
    server = SimpleNamespace(send_sync=lambda event, data: state.notices.append((event, data)))
    modules = {
        "folder_paths": _folder_paths(base),
        "comfy": _module("comfy", __path__=[], model_management=management, model_patcher=patcher, utils=utils),
        "comfy.model_management": management,
        "comfy.model_patcher": patcher,
        "comfy.utils": utils,
        "server": _module("server", PromptServer=SimpleNamespace(instance=server)),
    }
    return SimpleNamespace(modules=modules, state=state, folder_paths=modules["folder_paths"])


@contextmanager
def installed(modules: dict[str, ModuleType]) -> Iterator[None]:
    """The stand-ins in ``sys.modules`` for a while."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def load_pack(host: SimpleNamespace, root: Path = ROOT, suffix: str = "") -> ModuleType:
    """Import the pack under a path-like name, as ComfyUI's load_custom_node does; ``suffix`` makes a second copy."""
    name = str(root).replace(".", "_x_") + suffix
    with installed(host.modules):
        spec = importlib.util.spec_from_file_location(name, root / "__init__.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module


def call(pack: SimpleNamespace, node: str, **inputs: Any) -> tuple:
    """Run a node as ComfyUI does: a fresh object, keyword inputs, inside inference mode."""
    cls = pack.nodes[node]
    with torch.inference_mode():
        return getattr(cls(), cls.FUNCTION)(**inputs)


def picture(count: int = 1, height: int = 32, width: int = 32, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """An IMAGE with smooth random content, ``[B,H,W,C]`` in [0,1]."""
    small = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    grown = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
    return grown.permute(0, 2, 3, 1).contiguous()
