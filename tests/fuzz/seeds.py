"""Small honest files of every kind, as bytes."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests import checkpoint_files as files
from tests import hostile
from tests.conftest import TINY_CONTROLS, make_tiny_networks

SIDE = 16
WIDTHS = (3, 4, 2)  # of style vectors: a convolution, a ToRGB layer, a convolution


def written(write: Callable[[Path], Any], suffix: str = ".safetensors") -> bytes:
    """What ``write(path)`` leaves at the path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def ours(kind: str, config: dict[str, Any], tensors: dict[str, torch.Tensor], **provenance: Any) -> bytes:
    """One of our files."""
    from reganie_core.checkpoints import save_checkpoint

    return written(lambda path: save_checkpoint(path, kind, config, tensors, {"command": "tests", **provenance}))


def own_files() -> list[bytes]:
    """One of our files of every kind that has a network or an editor in it."""
    from reganie_core import networks

    nets = make_tiny_networks(resolution=SIDE)
    found = [ours(kind, networks.describe(getattr(nets, kind)), getattr(nets, kind).state_dict(),
                  fingerprints={"generator": "0" * 16}) for kind in ("encoder", "rectifier")]
    tiny = hostile.tiny_generator(8)
    found.append(ours("generator", networks.describe(tiny), tiny.state_dict(), seed=1, metrics={"l2": 0.1}))
    found.append(ours("directions", {"controls": TINY_CONTROLS, "space": "w+"}, nets.directions))
    torch.manual_seed(0)
    small = {
        "dystyle": {"type": "DyStyle", "num_ws": 6, "w_dim": 8, "names": ["yaw", "glasses"],
                    "kinds": ["numeric", "binary"], "mean": [0.0, 0.0], "std": [1.0, 1.0], "reader": 4, "trunk": 4,
                    "expert": 4, "bank": 2, "attention": 4},
        "styleclip": {"type": "LevelsMapper", "w_dim": 8},
        "attributes": {"type": "AttributeNet", "resolution": 16, "channels": [4, 4], "hidden": 4, "numeric": ["yaw"],
                       "mean": [0.0], "std": [1.0]},
        "identity": {"type": "IdentityNet", "resolution": 16, "channels": [4, 4], "dim": 4},
        "text_image": {"type": "TextImageNet", "resolution": 16, "channels": [4, 4], "vocabulary": "a person", "dim": 4,
                       "hidden": 4, "text_width": 4, "text_layers": 1},
    }
    for kind, config in small.items():
        network = networks.build(kind, config)
        full = networks.describe(network)
        if kind == "dystyle":
            full["controls"] = [TINY_CONTROLS[0], TINY_CONTROLS[3]]
        if kind == "styleclip":
            full |= {"mode": "mapper", "prompt": "a smiling person", "name": "smiling"}
        found.append(ours(kind, full, network.state_dict()))
    statistics = {"directions": torch.linspace(-1, 1, 24).view(6, 4), "mean": torch.zeros(6), "std": torch.ones(6)}
    config = {"widths": [4, 2], "neutral": "a person", "method": "relevance", "text_encoder": "text.safetensors"}
    found.append(ours("styleclip", config, statistics))
    counters = json.dumps({"seen": 8})
    found.append(ours("training", {"batch": 4}, {"module.G.weight": torch.zeros(2, 2)}, counters=counters))
    return found


def latents() -> list[bytes]:
    """Saved latents with and without everything that may belong to them."""
    from reganie_core.latents import Latent, save_latent

    ws = torch.linspace(-1, 1, 96).view(2, 6, 8)
    full = Latent(ws, {1: torch.zeros(2, 4)}, {"synthesis.b4.conv1.weight": torch.zeros(2, 1, 1)}, "0" * 16,
                  {"b8.conv0": torch.zeros(2, 2, 4, 2, 2)}, torch.zeros(2, 3, 4, 4))
    return [written(lambda path, one=one: save_latent(one, path, {})) for one in (Latent(ws), full)]


def pickles() -> list[bytes]:
    """NVIDIA's pickles in two protocols, a pickled module record, and small pickles that do harm elsewhere."""
    network = hostile.tiny_generator(8)
    found = [written(lambda path, p=protocol: files.nvidia_file(
        path, p, G_ema=files.nvidia_generator(network.state_dict()), D=None), ".pkl") for protocol in (4, 2)]
    with tempfile.TemporaryDirectory() as folder:
        found += [data for name, data in hostile.code_cases(Path(folder)) if name.endswith(".pkl") and len(data) < 600]
    components = {"comp": np.eye(3, 8, dtype=np.float32)[:, None], "mean": np.zeros((1, 8), np.float32),
                  "stdev": np.ones(3, np.float32)}
    return [*found, pickle.dumps([[np.zeros(3)], [np.ones(3)]], 2), pickle.dumps(components, 4)]


def archives(legacy: bool = False) -> list[bytes]:
    """``torch.save`` files: a generator of rosinality's, an encoder-like file, a direction, plain numbers."""
    good = files.to_rosinality(hostile.tiny_generator(8).state_dict())
    options = files.namespace(encoder_type="Encoder4Editing", stylegan_size=8, start_from_latent_avg=True)
    encoder = {f"encoder.input_layer.{i}.weight": torch.zeros(4) for i in range(3)}
    decoder = {f"decoder.{key}": value for key, value in good.items()}
    mapper = {f"mapper.{level}_mapping.mapping.{i}.{kind}": torch.zeros(8, 8) if kind == "weight" else torch.zeros(8)
              for level in ("course", "medium", "fine") for i in range(1, 5) for kind in ("weight", "bias")}
    values: list[Any] = [
        {"g_ema": OrderedDict(good), "latent_avg": torch.zeros(16), "args": options},
        {"state_dict": {**encoder, **decoder}, "latent_avg": torch.zeros(4, 16), "opts": options},
        {"state_dict": mapper, "opts": options}, torch.zeros(1, 16), {"yaw": torch.zeros(1, 6, 16)},
        {"models": {"G_ema": {f"module.{name}": value for name, value in good.items()}, "latent_avg": [0.5] * 16}},
        {"ckpt": "g.pt", "eigvec": torch.eye(16)}, {"age": torch.zeros(16), "smile": [0.5] * 16, "note": "w"},
        {"loss": 0.5, "names": ["a", ("b", None, True)], "nested": {"x": torch.zeros(2, 3).half()}},
    ]
    return [hostile.saved(value, legacy=legacy) for value in values]


def arrays() -> list[bytes]:
    """``.npy`` and ``.npz`` files of plain numbers."""
    found = []
    for array in (np.zeros((1, 16), np.float32), np.zeros((3, 16), np.float64), np.zeros((2, 6, 16), np.float16),
                  np.asfortranarray(np.ones((4, 8))), np.arange(5), np.array(1.0),
                  {"age": np.zeros((1, 16), np.float32), "smile": [0.5] * 16}, {"a": torch.zeros(16)}):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    for names in (("a",), ("act_comp", "act_mean", "act_stdev", "lat_comp", "lat_mean", "lat_stdev")):
        buffer = io.BytesIO()
        np.savez(buffer, **{name: np.ones((2, 1, 8), np.float32) for name in names})
        found.append(buffer.getvalue())
    return found


def picture(kind: str, mode: str = "RGB") -> bytes:
    """A small encoded picture."""
    values = (np.indices((SIDE + 4, SIDE)).sum(0) * 7 % 256).astype(np.uint8)
    image = Image.fromarray(values).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def pictures() -> list[bytes]:
    """One picture of every format and of several modes."""
    plain = [picture(kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")]
    return [*plain, picture("GIF", "P"), picture("PNG", "P"), picture("PNG", "LA"), picture("PNG", "RGBA"),
            picture("PNG", "1"), picture("PNG", "I;16"), picture("TIFF", "F"), picture("TIFF", "CMYK")]


def picture_archives() -> list[bytes]:
    """A zip file and a tar shard of three pictures."""
    names = {"a.png": picture("PNG"), "b/c.jpg": picture("JPEG"), "d.txt": b"text"}
    packed, shard = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    with tarfile.open(fileobj=shard, mode="w:") as tar:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return [packed.getvalue(), shard.getvalue()]


def tables() -> list[bytes]:
    """StyleCLIP's public pair of tables, the first one's length before them."""
    directions = io.BytesIO()
    np.save(directions, np.ones((5, 4), np.float32))  # 3 + 2 channels, and no ToRGB ones
    first = directions.getvalue()
    second = pickle.dumps([[np.zeros(n) for n in WIDTHS], [np.ones(n) for n in WIDTHS]], 2)
    return [len(first).to_bytes(4, "little") + first + second]
