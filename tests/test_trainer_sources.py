"""Training pictures from folders, zip files and tar shards: the same pictures, every one of them, in a fixed order."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reganie_core.errors import InputError, NotFoundError, ReganieWarning
from trainer.data.pictures import decode, is_picture
from trainer.data.sources import TarPictures, open_pictures
from trainer.loop.randomness import numbers


def png(value: int, size: tuple[int, int] = (16, 16)) -> bytes:
    """A grey picture whose value names it."""
    file = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(file, "PNG")
    return file.getvalue()


def value_of(image: torch.Tensor) -> int:
    return int(image.mean().add(1).mul(127.5).round())


def make_shards(folder: Path, sizes: tuple[int, ...]) -> Path:
    folder.mkdir(parents=True)
    value = 0
    for number, size in enumerate(sizes):
        with tarfile.open(folder / f"part-{number:03d}.tar", "w") as file:
            for _ in range(size):
                for suffix, data in ((".png", png(value)), (".json", b"{}")):
                    entry = tarfile.TarInfo(f"{value:04d}{suffix}")
                    entry.size = len(data)
                    file.addfile(entry, io.BytesIO(data))
                value += 1
    return folder


def test_folder_and_zip_give_the_same_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        for name, value in (("b/2.png", 2), ("1.PNG", 1), (".hidden/9.png", 9), ("notes.txt", 0)):
            data = png(value) if value else b"text"
            (folder / name).write_bytes(data)
            file.writestr(name, data)
    for path in (folder, tmp_path / "p.zip"):
        source = open_pictures(path, 8)
        assert len(source) == 2
        batch = source.batch(torch.tensor([0, 1, 0]), torch.tensor([False, True, False]))
        assert batch.shape == (3, 3, 8, 8) and [value_of(x) for x in batch] == [1, 2, 1]
    picks = numbers(source, 40, 64, torch.Generator().manual_seed(0))
    assert set(picks.tolist()) == {0, 1}


def test_pictures_are_cropped_in_the_middle_turned_upright_and_mirrored() -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:8], pixels[:, 8:12] = 100, 200
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    out = decode(file.getvalue(), "x", 8)
    assert np.array_equal(out, pixels[:, 4:12].transpose(2, 0, 1))
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3                      # upside down
    Image.fromarray(pixels).save(turned, "PNG", exif=exif)
    assert np.array_equal(decode(turned.getvalue(), "x", 8), out[:, ::-1, ::-1])


def test_a_damaged_picture_is_named_and_replaced(tmp_path: Path) -> None:
    for value in range(40):
        (tmp_path / f"{value:02d}.png").write_bytes(png(value))
    (tmp_path / "07.png").write_bytes(png(7)[:40])
    source = open_pictures(tmp_path, 8)
    source.check()
    with pytest.warns(ReganieWarning, match="07.png"):
        assert value_of(source.batch(torch.tensor([7]))[0]) == 8
    for value in range(40):
        (tmp_path / f"{value:02d}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be used"):
        source.check()
    with pytest.warns(ReganieWarning), pytest.raises(InputError, match="Repair"):
        source.batch(torch.arange(40))


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="images="):
        open_pictures(tmp_path / "nowhere", 8)
    with pytest.raises(InputError, match="holds no pictures"):
        open_pictures(tmp_path, 8)
    with pytest.raises(NotFoundError, match="No file matches"):
        open_pictures(tmp_path / "x-*.tar", 8)
    for name in ("x.zip", "x.tar", "x.bin"):
        (tmp_path / name).write_bytes(b"nonsense" * 100)
    for name, words in (("x.zip", "zip file"), ("x.bin", "neither")):
        with pytest.raises(InputError, match=words):
            open_pictures(tmp_path / name, 8)
    with pytest.raises(InputError, match="tar file"):
        len(open_pictures(tmp_path / "x.tar", 8))
    with pytest.raises(InputError, match="smaller than the 32 px"):
        decode(png(1), "small.png", 32)
    assert not is_picture("__MACOSX/a.png") and not is_picture("a.txt") and is_picture("x/a.WEBP")


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_every_epoch_of_the_shards_shows_every_picture_once(tmp_path: Path, lanes: int) -> None:
    folder = make_shards(tmp_path / "shards", (5, 3, 4, 4, 5, 3))
    source = TarPictures(sorted(folder.glob("*.tar")), 8, seed=1, lanes=lanes, window=2)
    assert source.lanes == {1: 1, 2: 2, 4: 4}[lanes] and len(source) == 24
    for lane in range(source.lanes):
        count = sum(source.counts(lane))
        epochs = [[source.locate(lane + source.lanes * (e * count + i)) for i in range(count)] for e in range(2)]
        assert len(set(epochs[0])) == count and set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]
        assert {path for path, _ in epochs[0]} == set(source.shards(lane))


def test_the_stream_depends_on_seed_and_position_only(tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "shards", (6, 6, 6, 6))

    def values(first: int, count: int, seed: int = 0) -> list[int]:
        source = open_pictures(folder, 8, seed, lanes=2, cache=tmp_path / "cache")
        return [value_of(x) for x in source.batch(numbers(source, first, count, torch.Generator()))]

    whole = values(0, 60)
    assert values(37, 5) == whole[37:42] and values(0, 60, seed=1) != whole
    assert len(list((tmp_path / "cache").iterdir())) == 2
    # Mixing reaches over a window: neighbours come from different shards.
    assert len({v // 6 for v in whole[:8]}) > 2


def test_a_changed_shard_is_counted_again(tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "shards", (2, 2))
    assert len(open_pictures(folder, 8, cache=tmp_path / "cache")) == 4
    other = make_shards(tmp_path / "other", (5,))
    (folder / "part-000.tar").write_bytes((other / "part-000.tar").read_bytes())
    assert len(open_pictures(folder, 8, cache=tmp_path / "cache")) == 7
