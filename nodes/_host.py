"""Everything that touches ComfyUI: folders, devices, memory, progress, Cancel, notices; no other file imports it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import folder_paths
import server
import torch
from PIL import Image
from torch import Tensor, nn

from ..reganie_core.batches import pictures_at_once
from ..reganie_core.errors import NotFoundError
from ..reganie_core.kinds import REGANIE, STYLEGAN
from ..reganie_core.paths import is_file, placed

log = logging.getLogger("ReGANIE")
Result = TypeVar("Result")
PREVIEW_SECONDS, PREVIEW_PIXELS = 0.25, 512

EXTENSIONS: dict[str, tuple[str, ...]] = {
    STYLEGAN: (".safetensors", ".pkl", ".pt", ".pth"),
    REGANIE: (".safetensors", ".pt", ".pth", ".pkl", ".npy"),
}


# ------------------------------------------------------------------------------------------------ folders and files
def register_folders() -> None:
    """Add ``models/stylegan`` and ``models/reganie`` beside whatever other packs or extra_model_paths.yaml registered.

    The two folders are made, so that whoever reads where files go finds them; a read-only place stays as it is.
    An entry that lists every file (an empty extension set) stays so: another pack may count on it, and
    :func:`list_files` filters by itself.
    """
    for key, extensions in EXTENSIONS.items():
        with suppress(OSError):
            os.makedirs(os.path.join(folder_paths.models_dir, key), exist_ok=True)
        fresh = key not in folder_paths.folder_names_and_paths
        folder_paths.add_model_folder_path(key, os.path.join(folder_paths.models_dir, key))
        paths, known = folder_paths.folder_names_and_paths[key]
        if fresh or known:
            folder_paths.folder_names_and_paths[key] = (paths, set(known) | set(extensions))


def list_files(folder: str, extensions: tuple[str, ...] | None = None) -> list[str]:
    """Relative names of the readable model files of a registered folder; empty when there is no such folder yet."""
    wanted = extensions or EXTENSIONS[folder]
    names = folder_paths.get_filename_list(folder)
    return [
        name
        for name in names
        if os.path.splitext(name)[1].lower() in wanted and not os.path.basename(name).startswith(".")
    ]


def roots(folder: str) -> list[str]:
    """The places of a registered folder."""
    return list(folder_paths.get_folder_paths(folder))


def list_folders(holding: str) -> list[str]:
    """Relative names of the folders below ``models/reganie`` that hold a certain file (two levels deep)."""
    found = set()
    for root in map(Path, folder_paths.get_folder_paths(REGANIE)):
        for pattern in (f"*/{holding}", f"*/*/{holding}"):
            found.update(path.parent.relative_to(root).as_posix() for path in root.glob(pattern))
    return sorted(found)


def folder_hint(folder: str) -> str:
    """Where files of a registered folder go, and which ones are accepted."""
    roots = folder_paths.get_folder_paths(folder)
    place = roots[0] if roots else os.path.join(folder_paths.models_dir, folder)
    return f"Put the file into {place} ({', '.join(EXTENSIONS[folder])}) and press R to refresh the lists."


def resolve(folder: str, name: str, directory: bool = False) -> Path:
    """The file (or directory) ``name`` of a registered folder; links that lie there are followed.

    Raises:
        UnsafePathError: absolute, or ``..``: a name that leaves the folder.
        NotFoundError: no such file there; the message names the folder and the accepted extensions.
    """
    for root in folder_paths.get_folder_paths(folder):
        path = placed(root, name)
        if os.path.isdir(path) if directory else is_file(path):
            return path
    what = "folder" if directory else "file"
    raise NotFoundError(f"There is no {what} {name[:120]!r} among the {folder} models. {folder_hint(folder)}")


def temp_directory() -> Path:
    """ComfyUI's folder for files that may vanish."""
    path = Path(folder_paths.get_temp_directory())
    path.mkdir(parents=True, exist_ok=True)
    return path


def output_directory() -> Path:
    """ComfyUI's folder for what people keep."""
    return Path(folder_paths.get_output_directory())


# ---------------------------------------------------------------------------------------------------- devices, memory
class _Fallback(threading.local):
    """Whether this thread works on the CPU because the memory of the device was too small."""

    active = False


_fallback = _Fallback()


def device() -> torch.device:
    """Where networks compute."""
    return torch.device("cpu") if _fallback.active else mm.get_torch_device()


def can_fall_back() -> bool:
    """Whether there is another memory than the one that was just too small."""
    return device().type != "cpu"


@contextmanager
def on_cpu() -> Iterator[None]:
    """Everything off the device, and what is done meanwhile is done on the CPU."""
    with torch.inference_mode(False):
        mm.unload_all_models()
    mm.soft_empty_cache()
    _fallback.active = True
    try:
        yield
    finally:
        _fallback.active = False


def results_device() -> torch.device:
    """Where tensors wait between nodes."""
    return mm.intermediate_device()


def _check_cancel(*_: Any) -> None:
    """Before every layer: raises when the user has pressed Cancel."""
    mm.throw_exception_if_processing_interrupted()


class Resident:
    """A network that takes part in ComfyUI's memory management: it computes on the GPU and waits off it.

    Cancel ends it between two layers.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)
        for part in self.module.modules():  # a pass of a large network must not have to be waited for
            part.register_forward_pre_hook(_check_cancel)
        self.patcher = comfy.model_patcher.ModelPatcher(
            self.module, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device()
        )


def to_device(residents: list[Resident], memory: int) -> None:
    """Bring networks to the compute device together, with ``memory`` bytes left for their activations.

    A full load, because layers here hold weights beside child modules and a partial load would skip those.
    """
    with torch.inference_mode(False):  # moved weights must not become inference tensors: other nodes may optimise
        if _fallback.active:
            for item in residents:
                item.module.to("cpu")
            return
        mm.load_models_gpu([item.patcher for item in residents], memory_required=memory, force_full_load=True)


def activation_bytes(resolution: int, batch: int) -> int:
    """A generous estimate of what a convolutional pass at this resolution needs, in bytes."""
    return batch * resolution * resolution * 32 * 4 * 8


# -------------------------------------------------------------------------------------------------- progress, chunks
def chunk_size(resolution: int) -> int:
    """How many images go through a network at once on this device."""
    return pictures_at_once(resolution, device())


class Progress:
    """The green bar on the node. Every step also looks whether the user pressed Cancel."""

    def __init__(self, total: int) -> None:
        mm.throw_exception_if_processing_interrupted()
        self._bar = comfy.utils.ProgressBar(max(1, total))
        self._shown = 0.0

    def step(self, count: int = 1, picture: Tensor | None = None) -> None:
        """``count`` images further; ``picture [H,W,3]`` in [0,1] is shown on the node, a few times a second at most."""
        mm.throw_exception_if_processing_interrupted()
        self._move(self._bar.current + count, picture)

    def at(self, share: float, picture: Tensor | None = None) -> None:
        """Move to a share of the work; ``picture`` as in :meth:`step`."""
        mm.throw_exception_if_processing_interrupted()
        self._move(round(1000 * share), picture, 1000)

    def _move(self, value: int, picture: Tensor | None, total: int | None = None) -> None:
        preview = None
        if picture is not None and time.monotonic() - self._shown > PREVIEW_SECONDS:
            pixels = (picture.detach().float().clamp(0, 1) * 255).round().byte().cpu().numpy()
            preview, self._shown = ("JPEG", Image.fromarray(pixels), PREVIEW_PIXELS), time.monotonic()
        self._bar.update_absolute(value, total, preview=preview)


def halving(size: int, work: Callable[[int], Result]) -> tuple[Result, int]:
    """``work(size)`` and the size that went through; a notice says when that is not the first one.

    The size is halved while the device runs out of memory, down to one image; where even that is too much it is done
    on the CPU. That is size 0, with which the next call goes there at once.
    """
    first = size
    while size:
        try:
            result = work(size)
        except mm.OOM_EXCEPTION:
            if size == 1 and not can_fall_back():
                raise
        else:
            if size < first:
                notice("Memory", f"{first} at a time were too much for {device()}; {size} went through.")
            return result, size
        size //= 2
        mm.soft_empty_cache()  # outside the handler, whose traceback would keep the tensors alive
    if first:
        notice("Memory", f"Not even one picture at a time fits into the memory of {device()}: it is computed on the "
               "CPU, which takes longer. Close other programs that use the GPU, or take a smaller generator.")
    with on_cpu():
        return work(1), 0


def falling_back(work: Callable[[], Result]) -> Result:
    """``work()``, on the CPU where the device's memory is too small for it."""
    return halving(1, lambda _: work())[0]


def in_chunks(
    total: int, size: int, work: Callable[[slice, int], tuple[Tensor, ...]], show: bool = False
) -> list[Tensor]:
    """Run ``work(rows, size)`` on slices of a batch and join what it returns, on the device for results.

    With ``show`` the first of the results is an IMAGE whose first picture appears on the node while it works.
    """
    progress, parts, start = Progress(total), [], 0
    while start < total:
        rows = slice(start, min(total, start + max(1, size)))
        results, size = halving(size, partial(work, rows))  # what was too much once is not tried again
        parts.append(tuple(item.to(results_device()) for item in results))
        progress.step(rows.stop - start, parts[-1][0][0] if show else None)
        start = rows.stop
    return [torch.cat(column) for column in zip(*parts, strict=True)]


# ------------------------------------------------------------------------------------------------------------ notices
def notice(title: str, text: str) -> None:
    """Something the user should know that is no error: in the log, and as a toast on the page (web/reganie.js)."""
    log.warning("%s: %s", title, text)
    host = getattr(server.PromptServer, "instance", None)
    if host is not None:
        host.send_sync("reganie.notice", {"title": title, "text": text})


def show_text(node: str | None, text: str) -> None:
    """A line of text on a node itself, on hosts that can show one."""
    send = getattr(getattr(server.PromptServer, "instance", None), "send_progress_text", None)
    if node is not None and send is not None:
        send(text, node)


# ------------------------------------------------------------------------------------------------- other packs, routes
def registered_nodes() -> dict[str, type]:
    """Every node that ComfyUI knows at this moment, by id; empty where its module of nodes is not loaded."""
    host = sys.modules.get("nodes")
    known = Path(getattr(host, "__file__", None) or "").name == "nodes.py"
    return dict(getattr(host, "NODE_CLASS_MAPPINGS", {})) if known else {}


def add_route(path: str, answer: Callable[[dict[str, str]], tuple[int, dict[str, Any]]]) -> None:
    """``GET path`` answers with ``answer(query) -> (status, JSON)``, worked out beside the server's own loop."""
    routes = getattr(getattr(server.PromptServer, "instance", None), "routes", None)
    if routes is None:
        return
    from aiohttp import web

    @routes.get(path)
    async def handler(request: web.Request) -> web.Response:
        status, data = await asyncio.to_thread(answer, dict(request.query))
        return web.json_response(data, status=status)
