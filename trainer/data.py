"""Training images of the portraits domain: rendered once, kept as uint8 on disk, read through a memory map."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.errors import InputError

FIRST_RESERVED_SEED = 10**9   # never used for training, tuning or choosing anything
# What changes sign when a portrait is mirrored; every other attribute stays.
MIRRORED = ("yaw", "light_azimuth")


@dataclass
class ImageSet:
    """images [N,3,R,R] uint8 (memory-mapped), labels {name: [N]} in the controls' units."""

    images: np.ndarray
    labels: dict[str, Tensor]
    resolution: int

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor, mirror: Tensor | None = None) -> Tensor:
        """Images [B,3,R,R] in [-1,1]; rows where `mirror` is true are flipped left-right."""
        x = torch.from_numpy(self.images[indices.numpy()]).float().div_(127.5).sub_(1.0)
        if mirror is not None:
            x = torch.where(mirror[:, None, None, None], x.flip(-1), x)
        return x

    def label_batch(self, indices: Tensor, mirror: Tensor | None = None) -> dict[str, Tensor]:
        """Labels of those images; signs of mirrored attributes follow the flip."""
        out = {}
        for name, values in self.labels.items():
            v = values[indices]
            if mirror is not None and name in MIRRORED:
                v = torch.where(mirror, -v, v)
            out[name] = v
        return out


def portraits_set(folder: str | Path, count: int, resolution: int, seed: int) -> ImageSet:
    """`count` in-domain portraits with seeds seed ... seed+count-1, rendered into `folder` on first use."""
    if seed + count > FIRST_RESERVED_SEED:
        raise InputError(f"Seeds from {FIRST_RESERVED_SEED} up are reserved for evaluation; found {seed + count - 1}.")
    renderer = _renderer_fingerprint()
    stem = Path(folder) / f"portraits_{resolution}_{seed}_{count}_{renderer}"
    image_file, label_file = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not label_file.exists():
        _render(image_file, label_file, count, resolution, seed)
    labels = {k: torch.tensor(v) for k, v in json.loads(label_file.read_text()).items()}
    return ImageSet(np.load(image_file, mmap_mode="r"), labels, resolution)


def _render(image_file: Path, label_file: Path, count: int, resolution: int, seed: int) -> None:
    image_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = image_file.with_suffix(".part.npy")
    images = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, 3, resolution, resolution))
    labels: dict[str, list[float]] = {}
    for start in range(0, count, 200):
        p = portraits.sample(min(200, count - start), seed + start)
        x = portraits.render(p, resolution)
        images[start:start + len(x)] = x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        for name, values in portraits.attributes(p).items():
            labels.setdefault(name, []).extend(round(float(v), 5) for v in values)
        if start % 2000 == 0:
            print(f"rendering {start}/{count} portraits at {resolution} px", flush=True)
    images.flush()
    temporary.replace(image_file)
    label_file.write_text(json.dumps(labels))


def _renderer_fingerprint() -> str:
    """A few pixels of fixed portraits: cached sets of another renderer are not reused."""
    x = portraits.render(portraits.sample(4, 7), 32)
    return hashlib.sha256((x * 50).round().to(torch.int16).numpy().tobytes()).hexdigest()[:8]
