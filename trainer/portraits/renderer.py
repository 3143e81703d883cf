"""Training images of the portraits domain: rendered once, kept as uint8 on disk or on the training device."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from reganie_core import portraits
from reganie_core.errors import InputError
from reganie_core.portraits.parameters import MIRRORED

from ..data.image_set import ImageSet

HELD_OUT_SEED = 500_000_000    # of pictures to look at while training
FIRST_RESERVED_SEED = 10**9   # never used for training, tuning or choosing anything


def rendered_pictures(folder: str | Path, count: int, resolution: int, seed: int, device: str = "cpu") -> ImageSet:
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


def rendered_controls() -> tuple[portraits.PortraitControl, ...]:
    """The controls of portraits, with their units and ranges."""
    return portraits.CONTROLS


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
    return ImageSet(np.load(image_file, mmap_mode="r"), labels, resolution, tuple(MIRRORED)).to(device)


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
