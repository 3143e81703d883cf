"""A public implementation beside ours, when a checkout of it is named: ``--public FOLDER`` (stylegan2-ada-pytorch).

Its code is imported from that folder and runs as it is, on its reference operations (no CUDA here).
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from .routes import Route, quiet

VARIABLE = "REGANIE_BENCH_PUBLIC"    # the folder, for the processes that measure memory as well


def generator_routes(resolution: int) -> dict[str, Route]:
    """NVIDIA's synthesis network of the same widths with random weights; empty without a checkout."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return {}
    import torch

    sys.modules.setdefault("requests", ModuleType("requests"))  # it only downloads
    if folder not in sys.path:
        sys.path.append(folder)
    from training.networks import SynthesisNetwork

    network = SynthesisNetwork(512, resolution, 3, num_fp16_res=0).eval().requires_grad_(False)
    ws = torch.randn(1, network.num_ws, 512)
    return {"public": Route(quiet(lambda: network(ws, noise_mode="const", force_fp32=True)))}
