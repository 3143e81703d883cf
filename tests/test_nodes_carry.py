"""Rectify chooses by itself, says what it used, and notices pictures and rectifiers that do not belong."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from tests.host_stubs import call, picture

pytest_plugins = ["tests.nodes_fixtures"]


@pytest.fixture
def wires(pack):
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain="portraits (packaged)"), strict=True)))


@pytest.fixture
def phase_one(pack, wires):
    """(Y^, the difference) of two pictures of 48 px, with a generator of 32 px."""
    latent, inversion, prepared = call(pack, "E4EInvert", generator=wires.generator, image=picture(2, 48, 48),
                                       encoder=wires.encoder)
    edited = call(pack, "DirectionEdit", generator=wires.generator, latent=latent, direction="yaw", strength=10.0,
                  editor=wires.directions)[1]
    return edited, call(pack, "ComputeDelta", image=prepared, inversion=inversion)[0]


def test_auto_comes_first_and_is_the_default(pack):
    options = pack.nodes["Rectify"].INPUT_TYPES()["optional"]["rectifier_name"][1]
    assert options["options"][:2] == ["auto", "carry"] and options["default"] == "auto"
    assert pack.nodes["Rectify"].INPUT_TYPES()["required"]["output"][1]["default"] == "photo"


def test_auto_takes_the_rectifier_that_was_trained_for_this_generator(pack, wires, phase_one, monkeypatch):
    edited, delta = phase_one
    said = []
    monkeypatch.setattr(pack.sub("_host"), "show_text", lambda node, text: said.append((node, text)))
    own = call(pack, "Rectify", edited=edited, delta=delta, unique_id="7")
    assert own[0].shape == (2, 48, 48, 3) and own[1].shape == (2, 48, 48), "the photo's own size, and a mask"
    carried = call(pack, "Rectify", edited=edited, delta=delta, rectifier_name="carry", unique_id="7")
    assert said[1] == ("7", "used: carry (no network)") and said[0] != said[1]
    assert (own[0] - carried[0]).abs().max() > 1e-3


def test_auto_carries_for_a_generator_that_nobody_trained_one_for(pack, phase_one, monkeypatch):
    edited, delta = phase_one
    foreign = pack.rc.Delta(delta.image, delta.inversion, generator="0123456789abcdef")
    found = call(pack, "Rectify", edited=edited, delta=foreign)[0]
    assert torch.equal(found, call(pack, "Rectify", edited=edited, delta=foreign, rectifier_name="carry")[0])
    unknown = pack.rc.Delta(delta.image, delta.inversion)
    assert torch.equal(found, call(pack, "Rectify", edited=edited, delta=unknown)[0])


def test_another_generators_rectifier_is_refused_in_one_sentence(pack, wires, phase_one):
    edited, delta = phase_one
    foreign = pack.rc.Delta(delta.image, delta.inversion, generator="0123456789abcdef")
    own = wires.generator.value.fingerprint
    with pytest.raises(pack.rc.ReganieError, match=rf"'{own}'.*'0123456789abcdef'.*choose auto or carry"):
        call(pack, "Rectify", edited=edited, delta=foreign, rectifier=wires.rectifier)


def test_a_difference_tells_where_it_came_from(pack, wires, phase_one):
    _, delta = phase_one
    assert delta.generator == wires.generator.value.fingerprint and delta.encoder == wires.encoder.value.fingerprint


def test_another_picture_than_was_inverted_is_named(pack, wires):
    _, inversion, prepared = call(pack, "E4EInvert", generator=wires.generator, image=picture(1, 48, 48),
                                  encoder=wires.encoder)
    call(pack, "ComputeDelta", image=prepared.clone(), inversion=inversion)
    assert pack.host.state.notices == [], "a copy shows the same"
    call(pack, "ComputeDelta", image=1 - prepared, inversion=inversion)
    ((_, notice),) = pack.host.state.notices
    assert "not the picture that this inversion was made of" in notice["text"]


def test_a_picture_unlike_the_domains_own_gives_one_notice(pack, wires, tiny_domain, tmp_path):
    folder = shutil.copytree(tiny_domain, tmp_path / "domain")
    manifest = json.loads((folder / "domain.json").read_text())
    manifest["inversion_error"] = {"pictures": "drawn things", "count": 9, "p50": 0.01, "p90": 0.02, "p99": 0.03}
    (folder / "domain.json").write_text(json.dumps(manifest))
    encoder = pack.sub("_models").load("encoder", folder / "encoder.safetensors", "own")
    call(pack, "E4EInvert", generator=wires.generator, image=picture(2), encoder=encoder)
    ((_, notice),) = pack.host.state.notices
    assert "know drawn things only; 2 of 2 pictures are unlike them" in notice["text"]


def test_the_packaged_domain_knows_its_own_pictures():
    import reganie_core as rc

    domain = rc.load_domain("portraits")
    usual = domain.usual_error
    assert usual is not None and usual.pictures == "drawn portraits" and 0 < usual.p50 < usual.p90 < usual.p99 < 1
    portrait = rc.portraits.render(rc.portraits.sample(1, 940_000_000, items=("hat",)), 128)
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for image, unlike in ((portrait, False), (noise, True)):
        with torch.inference_mode():
            found = rc.inversion.invert(domain.generator, domain.encoder, image)
        assert (usual.notice(rc.inversion.inversion_error(found.image, found.inversion)) is not None) == unlike
