"""What is there wins over what its name would mean as a pattern; nothing is left out without a word."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
from pathlib import Path

import pytest
from PIL import Image

from reganie_core.errors import InputError, NotFoundError, ReganieWarning
from tests.toy_stage import ToyConfig, ToyStage
from tests.trainer_files import one_thread  # noqa: F401
from trainer.data.sources import FolderPictures, TarPictures, open_pictures
from trainer.loop.config import build
from trainer.loop.run import Run


def png(value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (value,) * 3).save(file, "PNG")
    return file.getvalue()


def pictures(place: Path, count: int) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (place / f"{number}.png").write_bytes(png(number))
    return place


def shard(path: Path, count: int) -> Path:
    with tarfile.open(path, "w") as file:
        for number in range(count):
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(png(number))
            file.addfile(entry, io.BytesIO(png(number)))
    return path


@pytest.mark.parametrize("name", ["my faces [cropped]", "faces?", "all*", "[", "plain"])
def test_a_folder_is_what_it_is_called(tmp_path: Path, name: str) -> None:
    pictures(tmp_path / "my faces c", 1)            # what the pattern would find
    assert len(open_pictures(pictures(tmp_path / name, 3), 8)) == 3
    assert len(open_pictures(shard(tmp_path / f"{name}.tar", 2), 8)) == 2
    inside = tmp_path / name / "part-*.tar"         # the name of a folder above is no pattern
    shard(tmp_path / name / "part-0.tar", 4)
    assert len(open_pictures(inside, 8)) == 4


def test_a_pattern_is_one_where_nothing_is_called_so(tmp_path: Path) -> None:
    for number in range(3):
        shard(tmp_path / f"part-{number}.tar", 2)
    assert len(open_pictures(tmp_path / "part-[01].tar", 8)) == 4
    with pytest.raises(NotFoundError, match="No file matches"):
        open_pictures(tmp_path / "x?", 8)
    (tmp_path / "part-9.png").write_bytes(png())
    with pytest.raises(InputError, match=r"part-9\.png, which is no \.tar"):
        open_pictures(tmp_path / "part-*", 8)


@pytest.mark.parametrize(("count", "tars", "kind", "total"), [(8, 1, FolderPictures, 8), (1, 3, TarPictures, 6)])
def test_what_there_is_more_of_is_used_and_the_rest_named(tmp_path: Path, count: int, tars: int, kind: type,
                                                          total: int) -> None:
    pictures(tmp_path, count)
    for number in range(tars):
        shard(tmp_path / f"part-{number}.tar", 2)
    with pytest.warns(ReganieWarning, match=r"pictures.*\.tar|\.tar.*pictures"):
        source = open_pictures(tmp_path, 8)
    assert isinstance(source, kind) and len(source) == total


def test_one_kind_is_used_without_a_word(tmp_path: Path) -> None:
    pictures(tmp_path / "a", 2)
    (tmp_path / "a" / "folder.tar").mkdir()
    (tmp_path / "b").mkdir()
    shard(tmp_path / "b" / "PART.TAR", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(open_pictures(tmp_path / name, 8)) for name in "ab"] == [2, 5]


def test_linked_subfolders_count_and_circles_end(tmp_path: Path) -> None:
    home = pictures(tmp_path / "home", 2)
    pictures(tmp_path / "disk" / "more", 3)
    os.symlink(tmp_path / "disk", home / "linked")
    os.symlink(home, home / "linked" / "more" / "back")
    os.symlink(tmp_path / "disk" / "more" / "0.png", home / "one.png")
    os.symlink(tmp_path / "nowhere", home / "dead")
    os.symlink(tmp_path / "disk", tmp_path / "entry")
    source = open_pictures(home, 8)
    assert source.names == ["0.png", "1.png", "linked/more/0.png", "linked/more/1.png", "linked/more/2.png", "one.png"]
    source.check()
    assert open_pictures(tmp_path / "entry", 8).names[-1].startswith("more")


def test_the_run_says_how_many_it_found_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, count in ((pictures(tmp_path / "faces?", 3), 3), (shard(tmp_path / "s.tar", 2), 2)):
        stage = ToyStage(build(ToyConfig, None, []))
        stage.data = open_pictures(place, 8)
        Run(stage, tmp_path / "run", []).prepare(False)
        assert f"{count} training pictures in {place}" in capsys.readouterr().out
