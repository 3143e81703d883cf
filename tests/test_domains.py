"""Domain folders: manifests are data, networks must belong together."""

from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch

import reganie_core as rc
from reganie_core.domains import load_manifest
from reganie_core.errors import CorruptCheckpointError, MismatchError, NotFoundError, UnsafePathError, WrongKindError


@pytest.fixture
def copy(tiny_domain, tmp_path):
    return shutil.copytree(tiny_domain, tmp_path / "copy")


def rewrite(folder, **changes):
    manifest = json.loads((folder / "domain.json").read_text()) | changes
    (folder / "domain.json").write_text(json.dumps(manifest))


def test_everything_is_loaded_and_silent(tiny_domain, tiny_networks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        domain = rc.load_domain(tiny_domain)
    assert domain.name == "tiny" and domain.resolution == 32 and domain.dystyle is None
    assert [path.name for path in domain.examples] == ["one.png"]
    assert [c.name for c in domain.directions.controls] == ["yaw", "age", "smile", "glasses"]
    for kind in ("generator", "encoder", "rectifier"):
        loaded, original = getattr(domain, kind).state_dict(), getattr(tiny_networks, kind).state_dict()
        assert loaded.keys() == original.keys() and all(torch.equal(loaded[k], original[k]) for k in loaded)
        assert not getattr(domain, kind).training


@pytest.mark.parametrize("name", ["../tiny/generator.safetensors", "/etc/passwd", "C:\\x", "a\0b", "x" * 999, 7, ["a"]])
@pytest.mark.parametrize("field", ["generator", "rectifier", "examples"])
def test_hostile_names(copy, field, name):
    rewrite(copy, **{field: [name] if field == "examples" else name})
    with pytest.raises(UnsafePathError):
        rc.load_domain(copy)


def test_links_that_leave_the_folder(copy, tiny_domain):
    (copy / "encoder.safetensors").unlink()
    (copy / "encoder.safetensors").symlink_to(tiny_domain / "encoder.safetensors")
    with pytest.raises(UnsafePathError):
        rc.load_domain(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"name": "x"}', '{"format_version": "2"}', "[" * 100000,
                                  '{"format_version": "1", "name": 7}', '{"format_version": "1", "examples": "a.png"}',
                                  '{"format_version": "1", "name": "a\\u0000b"}', " " * (1 << 21)])
def test_broken_manifests(tmp_path, text):
    (tmp_path / "domain.json").write_text(text)
    with pytest.raises(CorruptCheckpointError):
        rc.load_domain(tmp_path)


def test_missing_things(tmp_path, copy):
    with pytest.raises(NotFoundError, match="portraits"):
        rc.load_domain(tmp_path / "nothing")
    rewrite(copy, encoder="other.safetensors")
    with pytest.raises(NotFoundError, match="encoder"):
        rc.load_domain(copy)
    rewrite(copy, encoder=None, rectifier=None)
    domain = rc.load_domain(copy)
    with pytest.raises(NotFoundError, match="no encoder and no rectifier"):
        domain.require("generator", "encoder", "rectifier")


def test_wrong_kind_names_the_part(copy):
    rewrite(copy, encoder="generator.safetensors")
    with pytest.raises(WrongKindError, match="encoder of the domain tiny"):
        rc.load_domain(copy)


def test_encoder_of_another_generator(copy, tmp_path, make_domain):
    other = make_domain(tmp_path / "other", seed=3, resolution=64)
    shutil.copy(other / "encoder.safetensors", copy / "encoder.safetensors")
    with pytest.raises(MismatchError, match="another generator"):
        rc.load_domain(copy)


def test_networks_of_another_training_are_a_warning_that_names_both(copy, tmp_path, make_domain):
    other = make_domain(tmp_path / "other", seed=3)
    shutil.copy(other / "encoder.safetensors", copy / "encoder.safetensors")
    trained = rc.load_domain(tmp_path / "other").encoder.fingerprint
    original = json.loads(json.dumps(rc.load_domain(other).rectifier.provenance))["fingerprints"]["encoder"]
    assert trained == original
    with pytest.warns(rc.ReganieWarning, match=f"encoder .*{trained}"):
        rc.load_domain(copy)


def test_the_manifest_alone_reads_no_network(copy):
    (copy / "generator.safetensors").write_bytes(b"broken")
    assert load_manifest(copy)[1]["name"] == "tiny"
