#!/usr/bin/env python3
"""What full-size networks cost on a GPU: `python -m benchmarks.gpu [--json FILE]` (random weights, CUDA only).

Whole edit at 512 on a 1024 generator (E, editor, two syntheses, E_d, E_p, G_p), warm, as the library runs it and as one
CUDA graph; synthesis at 1024 in batches of 16 with the PSNR of half precision to float32; one training step of the
rectifier at 512, batch 8 (widths A, Algorithm 1's second triplet, discriminator and R1 included).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from reganie_core.algorithm1 import algorithm1
from reganie_core.editing import DirectionEditor
from reganie_core.images import area_downsample
from reganie_core.networks.discriminator import Discriminator, DiscriminatorConfig
from reganie_core.networks.encoders import Encoder4Editing, StyleEncoderConfig
from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig
from trainer.losses import discriminator_loss, generator_loss, r1_penalty

DEVICE = "cuda"


def timed(function: Callable[[], object], rounds: int = 20, warm_up: int = 5) -> dict[str, float]:
    """Median and spread in ms of synchronised calls, and the peak memory in GiB."""
    for _ in range(warm_up):
        function()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1000)
    return {"ms": statistics.median(times), "fastest": min(times), "slowest": max(times),
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30}


def generator(resolution: int, dtype: torch.dtype) -> Generator:
    channels = GeneratorConfig.config_f_channels(resolution)
    net = Generator(GeneratorConfig(resolution, channels)).eval().requires_grad_(False).to(DEVICE)
    net.to(memory_format=torch.channels_last)
    net.synthesis.set_precision(dtype, len(channels))
    return net


def synthesis_rows(batch: int = 16) -> dict[str, dict[str, float]]:
    """1024 px synthesis per dtype: images/s, and PSNR to float32."""
    rows, reference = {}, None
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        torch.manual_seed(0)
        net = generator(1024, dtype)
        ws = torch.randn(batch, net.num_ws, 512, device=DEVICE)
        with torch.inference_mode():
            row = timed(lambda net=net, ws=ws: net.synthesis(ws), rounds=7, warm_up=3)
            picture = net.synthesis(ws).float()
        reference = picture if reference is None else reference
        spread = float(reference.max() - reference.min())
        error = float((picture - reference).square().mean())
        row["images_per_s"] = batch / row["ms"] * 1000
        row["psnr"] = float("inf") if error == 0 else 10 * torch.log10(torch.tensor(spread**2 / error)).item()
        rows[f"synthesis 1024, batch {batch}, {name}"] = row
    return rows


def edit_rows(dtype: torch.dtype = torch.bfloat16) -> dict[str, dict[str, float]]:
    """One picture through Algorithm 1: as the library runs it, and captured as a CUDA graph."""
    torch.manual_seed(0)
    net = generator(1024, dtype)
    encoder = Encoder4Editing(StyleEncoderConfig(num_ws=18)).eval().requires_grad_(False).to(DEVICE)
    encoder.to(memory_format=torch.channels_last)
    rectifier = Rectifier(RectifierConfig()).eval().requires_grad_(False).to(DEVICE, memory_format=torch.channels_last)
    rectifier.compute_dtype = dtype
    editor = DirectionEditor({"age": torch.randn(18, 512) * 0.1}).to(DEVICE)
    x0 = (2 * torch.rand(1, 3, 1024, 1024) - 1).to(DEVICE)

    def library() -> Tensor:
        with torch.inference_mode(), torch.autocast(DEVICE, dtype):
            return algorithm1(net, encoder, editor, rectifier, x0, {"age": 1.0}).rectified

    def bare() -> Tensor:
        with torch.autocast(DEVICE, dtype):
            codes = encoder(x0).float()
        edited = codes + editor.directions["age"]
        x_hat, y_hat = area_downsample(net.synthesis(torch.cat([codes, edited])).float().clamp(-1, 1), 512).chunk(2)
        code = rectifier.encode_delta(area_downsample(x0, 512) - x_hat)
        return rectifier.render(y_hat, code).clamp(-1, 1)

    rows = {"whole edit at 512, the library": timed(library)}
    with torch.no_grad():
        rows["whole edit at 512, bare networks"] = timed(bare)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            bare()
        rows["whole edit at 512, one CUDA graph"] = timed(graph.replay)
    return rows


def training_row(batch: int = 8, dtype: torch.dtype = torch.bfloat16) -> dict[str, dict[str, float]]:
    """Triplet 2 of Algorithm 1 and both optimiser steps at 512; L1 stands for L1 + perceptual."""
    torch.manual_seed(0)
    net = generator(512, dtype)
    encoder = Encoder4Editing(StyleEncoderConfig(num_ws=16)).eval().requires_grad_(False).to(DEVICE)
    encoder.to(memory_format=torch.channels_last)
    rectifier = Rectifier(RectifierConfig()).to(DEVICE, memory_format=torch.channels_last)
    rectifier.compute_dtype = dtype
    d = Discriminator(DiscriminatorConfig(512, (512, 512, 512, 512, 256, 128, 64, 32)))
    d.to(DEVICE, memory_format=torch.channels_last).dtype = dtype
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-4, betas=(0.0, 0.99), fused=True) for m in (rectifier, d)]
    state = {"step": 0}

    def update(optimizer: torch.optim.Optimizer, loss: Tensor, frozen: nn.Module | None = None) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if frozen is not None:
            frozen.requires_grad_(True)

    def step() -> None:
        with torch.no_grad(), torch.autocast(DEVICE, dtype):
            w = net.mapping(torch.randn(batch, 512, device=DEVICE))
            x, y = net.synthesis(torch.cat([w, w + 0.1])).float().clamp(-1, 1).chunk(2)
            codes = encoder(torch.cat([x, y])).float()
            x_hat, y_hat = net.synthesis(codes).float().clamp(-1, 1).chunk(2)
        painted = rectifier(y_hat, x - x_hat)
        loss_d = discriminator_loss(d(y), d(painted.detach()))
        if state["step"] % 16 == 0:
            loss_d = loss_d + 80 * r1_penalty(d, y)
        update(optimizers[1], loss_d)
        d.requires_grad_(False)
        update(optimizers[0], (painted - y).abs().mean() + generator_loss(d(painted)), d)
        state["step"] += 1

    row = timed(step, rounds=32, warm_up=17)
    row["s_per_kimg"] = row["ms"] / batch
    return {f"rectifier training at 512, batch {batch}": row}


def main() -> int:
    p = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", metavar="FILE")
    args = p.parse_args()
    if not torch.cuda.is_available():
        print("not measured: no CUDA device")
        return 0
    torch.backends.cudnn.benchmark = True
    rows: dict[str, dict[str, float]] = {}
    for part in (synthesis_rows, edit_rows, training_row):
        for name, row in part().items():
            rows[name] = row
            print(name, " ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
    about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    if args.json:
        Path(args.json).write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
