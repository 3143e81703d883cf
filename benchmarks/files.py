"""The rows that are files and imports: how long loading takes, and how much memory on top of the file's size."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import reganie_core as rc
from reganie_core import networks
from reganie_core.checkpoints import save_checkpoint
from reganie_core.checkpoints.loading import load_method

from .cases import encoder, generator
from .memory import apart, peak_of

ROOT = Path(__file__).resolve().parents[1]
IMPORT = """
import sys, tempfile, time
from pathlib import Path
sys.path.insert(0, {root!r})
import torch
{before}
start = time.perf_counter(), time.process_time()
{what}
print(time.perf_counter() - start[0], time.process_time() - start[1])
"""
PACK = """
from tests.host_stubs import host_modules, installed, load_pack
host = host_modules(Path(tempfile.mkdtemp()))
"""


def loaded(loader: str, path: str) -> tuple[float, bool]:
    """MiB that loading needed at most, and whether there is a network."""
    load = {"encoder": rc.load_encoder, "generator": rc.load_generator,
            "hyperstyle": lambda p: load_method(p)[1], "textbook": textbook_encoder}[loader]
    rc.load_encoder, networks.network_class("encoder", "Encoder4Editing")  # imports are not the file's memory
    peak, network = peak_of(lambda: load(path))
    return peak, network is not None


def textbook_encoder(path: str) -> torch.nn.Module:
    """Build the network with random weights, read the whole file, copy it over."""
    from safetensors.torch import load_file

    network = networks.build("encoder", {"type": "Encoder4Editing"})
    network.load_state_dict(load_file(path))
    return network.eval()


def timed(loads: dict[str, tuple[Callable[[Any], Any], Path, str]], rounds: int, threads: int) -> dict[str, Any]:
    """Times in turns (the files are in the system's cache after the first) and peaks in processes of their own."""
    routes: dict[str, Any] = {}
    for number in range(rounds + 1):
        for label, (load, path, loader) in loads.items():
            entry = routes.setdefault(label, {
                "images": 1, "dtype": "float32", "wall_ms": [], "cpu_ms": [], "file_mib": path.stat().st_size / 2**20})
            wall, cpu = time.perf_counter(), time.process_time()
            load(path)
            if number:
                entry["wall_ms"].append(round(1e3 * (time.perf_counter() - wall), 3))
                entry["cpu_ms"].append(round(1e3 * (time.process_time() - cpu), 3))
            else:
                found = apart(loaded, loader, str(path), threads=threads)
                entry["peak_mib"] = None if found is None else found[0]
    return routes


def load_row(rounds: int, threads: int) -> dict[str, Any]:
    """A full-size e4e and generator: as a public ``.pt``, and as our own files."""
    torch.manual_seed(0)
    E, G = encoder(), generator(1024)
    with tempfile.TemporaryDirectory() as folder:
        e4e, own, gan = (Path(folder) / name for name in ("e4e.pt", "e4e.safetensors", "generator.safetensors"))
        state = {f"encoder.{k}": v for k, v in E.state_dict().items() if k != "latent_avg"}
        torch.save({"state_dict": state, "latent_avg": E.latent_avg.clone(),
                    "opts": {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True}}, e4e)
        save_checkpoint(own, "encoder", networks.describe(E), E.state_dict(), {})
        save_checkpoint(gan, "generator", networks.describe(G), G.state_dict(), {})
        del E, G, state
        routes = timed({
            "ours": (rc.load_encoder, e4e, "encoder"), "our file": (rc.load_encoder, own, "encoder"),
            "generator": (rc.load_generator, gan, "generator"), "textbook": (textbook_encoder, own, "textbook"),
        }, rounds, threads)
    return {"row": "load", "routes": routes, "note": "267 million parameters of e4e, 30 million of the generator"}


def hyperstyle_row(rounds: int, threads: int) -> dict[str, Any]:
    """HyperStyle with its shared tensors listed under every head: the same storage, and (re-saved) copies."""
    torch.manual_seed(0)
    network = networks.build("hyperstyle", {"type": "HyperStyle", "hidden": 256}).eval()
    weights = network.state_dict()
    heads = [i for i in network.config.layers if network.config.is_shared(i)]
    shared = {n: weights[f"shared_weight_hypernet.{n}"] for n in ("w1", "b1", "w2", "b2")}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for label in ("ours", "copies"):
            state = {f"hypernet.{k}": v for k, v in weights.items()}
            for i in heads:
                for n, tensor in shared.items():
                    state[f"hypernet.refinement_blocks.{i}.hypernet.{n}"] = tensor if label == "ours" \
                        else tensor.clone()
            paths[label] = Path(folder) / f"{label}.pt"
            torch.save({"state_dict": state, "opts": {"output_size": 1024}}, paths[label])
            del state
        unique = sum(t.numel() * t.element_size() for t in weights.values()) / 2**20
        del network, weights, shared
        load = load_method
        routes = timed({label: (load, path, "hyperstyle") for label, path in paths.items()}, rounds, threads)
    return {"row": "load-hyperstyle", "routes": routes, "figures": {"unique_mib": unique, "heads": len(heads)},
            "note": f"hidden size 256; {len(heads)} heads list the shared tensors"}


def import_row(rounds: int, threads: int) -> dict[str, Any]:
    """Seconds after torch: the node pack as ComfyUI imports it, and the library."""
    programs = {
        "ours": (PACK, "with installed(host.modules):\n    load_pack(host)"),
        "library": ("", "import reganie_core"),
    }
    routes: dict[str, Any] = {
        label: {"images": 1, "dtype": "-", "wall_ms": [], "cpu_ms": []} for label in programs}
    for _ in range(rounds + 1):
        for label, (before, what) in programs.items():
            code = IMPORT.format(root=str(ROOT), before=before, what=what)
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            for clock, text in zip(("wall_ms", "cpu_ms"), run.stdout.split()[-2:], strict=True):
                routes[label][clock].append(round(1e3 * float(text), 3))
    for entry in routes.values():
        for clock in ("wall_ms", "cpu_ms"):
            entry[clock] = entry[clock][1:]
    return {"row": "import", "routes": routes, "note": "after torch, which ComfyUI has imported already"}


FILE_ROWS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "load": load_row, "load-hyperstyle": hyperstyle_row, "import": import_row,
}
