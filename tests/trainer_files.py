"""What several tests of training start from: a small attribute network, options of a small rectifier, one thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from reganie_core.checkpoints import save_checkpoint
from reganie_core.networks import build, describe

#: Of a rectifier and its discriminator at 32 px.
SMALL_RECTIFIER = ["encoder_channels=8,12,16", "body_channels=16", "body_blocks=1", "decoder_channels=12,8",
                   "sp_channels=8", "gl_channels=16", "gl_dim=16", "d_channels=8,8,8,8"]


def write_attributes(path: Path, numeric: Sequence[str] = ("yaw",), binary: Sequence[str] = (),
                     mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,), seed: int = 0) -> Path:
    """An attribute network of random weights at 32 px."""
    torch.manual_seed(seed)
    net = build("attributes", {"type": "AttributeNet", "resolution": 32, "channels": [8, 8], "hidden": 8,
                               "numeric": list(numeric), "binary": list(binary), "mean": list(mean), "std": list(std)})
    save_checkpoint(path, "attributes", describe(net), net.state_dict(), {})
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Import it to have it: tiny networks lose more than they win with threads, most of all on a busy machine."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)
