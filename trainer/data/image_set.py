"""Training images of the portraits domain: rendered once, kept as uint8 on disk or on the training device."""

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
    """images [N,3,R,R] uint8 (a memory map, or a tensor on an accelerator), labels {name: [N]} in their units."""

    images: np.ndarray | Tensor
    labels: dict[str, Tensor]
    resolution: int

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: str | torch.device) -> ImageSet:
        """The set for training on `device`: an accelerator holds all pictures itself, a CPU reads the memory map."""
        if torch.device(device).type == "cpu":
            return self
        images = torch.from_numpy(np.ascontiguousarray(self.images)).to(device)
        return ImageSet(images, {k: v.to(device) for k, v in self.labels.items()}, self.resolution)

    def batch(self, indices: Tensor, mirror: Tensor | None = None) -> Tensor:
        """Images [B,3,R,R] in [-1,1]; rows where `mirror` is true are flipped left-right."""
        if isinstance(self.images, Tensor):
            x = self.images[indices.to(self.images.device)]
        else:
            x = torch.from_numpy(self.images[indices.numpy()])
        x = x.float().div_(127.5).sub_(1.0)
        if mirror is not None:
            x = torch.where(mirror.to(x.device)[:, None, None, None], x.flip(-1), x)
        return x

    def label_batch(self, indices: Tensor, mirror: Tensor | None = None) -> dict[str, Tensor]:
        """Labels of those images; signs of mirrored attributes follow the flip."""
        out = {}
        for name, values in self.labels.items():
            v = values[indices.to(values.device)]
            if mirror is not None and name in MIRRORED:
                v = torch.where(mirror.to(v.device), -v, v)
            out[name] = v
        return out


def portraits_set(folder: str | Path, count: int, resolution: int, seed: int, device: str = "cpu") -> ImageSet:
    """`count` in-domain portraits with seeds seed ... seed+count-1, rendered into `folder` on first use.

    Rendering happens on `device`; pictures of two devices may differ by one step of 255.
    """
    return _rendered(folder, count, resolution, seed, 1, device)


def long_tail_set(folder: str | Path, count: int, resolution: int, seed: int, device: str = "cpu") -> ImageSet:
    """The same people, each with one long-tail item; for judges, which have to read pictures that show items.

    No network that a loss or an editor uses may learn from these.
    """
    return _rendered(folder, count, resolution, seed, 1, device, items=True)


def identity_set(folder: str | Path, people: int, views: int, resolution: int, seed: int,
                 device: str = "cpu") -> ImageSet:
    """`views` portraits of each of `people` persons, person-major; see `portraits.variants` for what differs."""
    return _rendered(folder, people, resolution, seed, views, device)


def _rendered(folder: str | Path, count: int, resolution: int, seed: int, views: int, device: str,
              items: bool = False) -> ImageSet:
    if seed + count > FIRST_RESERVED_SEED:
        raise InputError(f"Seeds from {FIRST_RESERVED_SEED} up are reserved for evaluation; found {seed + count - 1}.")
    name = f"portraits_{resolution}_{seed}_{count}" + (f"x{views}" if views > 1 else "") + ("_items" if items else "")
    stem = Path(folder) / f"{name}_{_renderer_fingerprint()}"
    image_file, label_file = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not label_file.exists():
        _render(image_file, label_file, count, resolution, seed, views, device, items)
    labels = {k: torch.tensor(v) for k, v in json.loads(label_file.read_text()).items()}
    return ImageSet(np.load(image_file, mmap_mode="r"), labels, resolution).to(device)


def _render(image_file: Path, label_file: Path, count: int, resolution: int, seed: int, views: int,
            device: str, items: bool) -> None:
    image_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = image_file.with_suffix(".part.npy")
    images = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count * views, 3, resolution, resolution))
    labels: dict[str, list[float]] = {}
    chunk = 200 if torch.device(device).type == "cpu" else 2000
    for start in range(0, count, chunk):
        p = _people(min(chunk, count - start), seed + start, items)
        if views > 1:
            p = portraits.variants(p, views, seed + start)
        x = portraits.render(p.to(device), resolution)
        x = x.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        images[start * views:start * views + len(x)] = x.cpu().numpy()
        for name, values in portraits.attributes(p).items():
            labels.setdefault(name, []).extend(round(float(v), 5) for v in values)
        if start % 2000 == 0:
            print(f"rendering {start}/{count} portraits at {resolution} px", flush=True)
    images.flush()
    temporary.replace(image_file)
    written = label_file.with_suffix(".part.json")      # one name, so that kills leave no pile
    written.write_text(json.dumps(labels))
    written.replace(label_file)                         # its presence says that the set is whole


def _people(count: int, seed: int, items: bool) -> portraits.Portraits:
    """Portraits of seeds seed ... seed+count-1; with `items` person number seed + i has item number i modulo 5."""
    if not items:
        return portraits.sample(count, seed)
    kinds = portraits.concat([portraits.sample(count, seed, items=[item]) for item in portraits.ITEMS])
    own = torch.arange(count)
    return kinds[(own + seed) % len(portraits.ITEMS) * count + own]


def _renderer_fingerprint() -> str:
    """A few pixels of fixed portraits: cached sets of another renderer are not reused."""
    x = portraits.render(portraits.sample(4, 7), 32)
    return hashlib.sha256((x * 50).round().to(torch.int16).numpy().tobytes()).hexdigest()[:8]
