"""Names are data."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reganie_core.errors import InputError, NotFoundError, UnsafePathError
from reganie_core.paths import atomic_write, refuse_overwriting_inputs, safe_join

HOSTILE = [
    "", " ", ".", "..", "../x", "a/../../x", "a/..", "..\\x", "a\\..\\..\\x", "/etc/passwd", "\\windows", "C:\\x",
    "C:x",
    "c:/x", "//host/share/x",
    "\\\\host\\share", "a\0b", "a\nb", "x" * 600, "a/" + "y" * 250, "stream.txt:hidden", ". .",
    "a/. /x", None, 7, b"x",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(tmp_path, name):
    with pytest.raises(UnsafePathError):
        safe_join(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "a/b.png", "./a", "sub\\b.png", "with space.png", "ünï.png", "..hidden", "a..b"])
def test_plain_names_stay_inside(tmp_path, name):
    assert tmp_path.resolve() in safe_join(tmp_path, name).resolve().parents


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_inside(name):
    root = "/tmp/some/root"
    try:
        path = safe_join(root, name)
    except UnsafePathError:
        return
    inside = os.path.realpath(path)
    assert inside.startswith(os.path.realpath(root) + os.sep)


def test_links_may_not_leave(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("x")
    (root / "real").write_text("y")
    (root / "good").symlink_to(root / "real")
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    assert safe_join(root, "good").read_text() == "y"
    for name in ("file", "folder/secret", "folder/new", "loop/x"):
        with pytest.raises(UnsafePathError):
            path = safe_join(root, name)
            path.resolve(strict=True)  # a loop may pass as a name, but never reads anything
            raise UnsafePathError


def test_root_may_itself_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    assert safe_join(tmp_path / "alias", "x").name == "x"


def test_atomic_write_leaves_all_or_nothing(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["out.txt"]
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["out.txt"]
    with pytest.raises(NotFoundError, match="folder"), atomic_write(tmp_path / "missing" / "x"):
        pass


def test_inputs_are_not_overwritten(tmp_path):
    source = tmp_path / "a.png"
    source.write_text("x")
    (tmp_path / "alias.png").symlink_to(source)
    refuse_overwriting_inputs(tmp_path / "b.png", [source])
    for output in (source, tmp_path / "alias.png", tmp_path / "." / "a.png"):
        with pytest.raises(InputError, match="input"):
            refuse_overwriting_inputs(output, [source])
