"""Every node, called as ComfyUI calls it: inside inference mode, on batches, with pictures of every sort."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.host_stubs import Interrupted, call, picture

pytest_plugins = ["tests.nodes_fixtures"]

PACKAGED = "portraits (packaged)"


@pytest.fixture
def wires(pack: SimpleNamespace) -> SimpleNamespace:
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain=PACKAGED), strict=True)))


def _phase_one(pack: SimpleNamespace, wires: SimpleNamespace, image: torch.Tensor, **more: object) -> tuple:
    latent, inversion, prepared = call(
        pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder, **more
    )
    delta, preview = call(pack, "ComputeDelta", image=prepared, inversion=inversion)
    return latent, inversion, prepared, delta, preview


def _nothing_lost(pack, size=32):
    return pack.rc.Delta(torch.zeros(1, 3, size, size), torch.zeros(1, 3, size, size))


def test_the_whole_graph_gives_what_the_library_gives(pack, wires, tiny_domain):
    image = picture(5)
    latent, inversion, prepared, delta, preview = _phase_one(pack, wires, image)
    edited_latent, edited = call(
        pack,
        "DirectionEdit",
        generator=wires.generator,
        latent=latent,
        direction="yaw",
        strength=15.0,
        layers="all",
        editor=wires.directions,
    )
    result, doubt = call(
        pack, "Rectify", edited=edited, delta=delta, strength=1.0, output="rectifier", rectifier=wires.rectifier
    )
    assert doubt.shape == (5, 32, 32) and 0 <= doubt.min() and doubt.max() <= 1
    expected = pack.rc.edit(image.permute(0, 3, 1, 2) * 2 - 1, {"yaw": 15.0}, domain=tiny_domain)
    for found, wanted in (
        (inversion, expected.inversion),
        (edited, expected.edited),
        (prepared, expected.image),
        (result, expected.rectified),
    ):
        assert found.shape == (5, 32, 32, 3) and found.dtype == torch.float32
        torch.testing.assert_close(found, (wanted.permute(0, 2, 3, 1) + 1) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(delta.pixels, expected.delta, atol=1e-5, rtol=0)
    torch.testing.assert_close(preview, (expected.delta.permute(0, 2, 3, 1) / 2 + 1) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(edited_latent.ws, expected.edited_latent.ws, atol=1e-5, rtol=1e-5)
    assert (result - edited).abs().max() > 1e-3, "the rectifier of the tiny domain must do something"


def test_models_chosen_by_name_are_the_connected_ones(pack, wires):
    image = picture(2)
    by_wire = call(pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder)
    by_name = call(
        pack, "E4EInvert", generator=call(pack, "LoadStyleGAN", file=PACKAGED)[0], image=image, encoder_name=PACKAGED
    )
    assert torch.equal(by_wire[1], by_name[1])
    edit = {"generator": wires.generator, "latent": by_wire[0], "direction": "age", "strength": 0.5, "layers": "0-3"}
    edited = call(pack, "DirectionEdit", **edit, editor=call(pack, "LoadDirections", file=PACKAGED)[0])[1]
    assert torch.equal(edited, call(pack, "DirectionEdit", **edit, editor_name=PACKAGED)[1])
    delta = call(pack, "ComputeDelta", image=by_wire[2], inversion=by_wire[1])[0]
    rest = {"edited": edited, "delta": delta, "strength": 0.7, "output": "edited"}
    assert torch.equal(
        call(pack, "Rectify", **rest, rectifier=call(pack, "LoadRectifier", file=PACKAGED)[0])[0],
        call(pack, "Rectify", **rest, rectifier_name=PACKAGED)[0],
    )


def test_nothing_is_loaded_twice_and_a_replaced_file_is_loaded_again(pack, wires, tmp_path, monkeypatch, tiny_domain):
    again = call(pack, "LoadReGANIE", domain=PACKAGED)
    assert again[0] is wires.generator and again[5] is wires.rectifier
    assert call(pack, "LoadStyleGAN", file=PACKAGED)[0] is wires.generator
    folder = Path(shutil.copytree(tiny_domain, tmp_path / "copy"))
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", folder)
    node = pack.nodes["LoadStyleGAN"]
    before, state = call(pack, "LoadStyleGAN", file=PACKAGED)[0], node.IS_CHANGED(file=PACKAGED)
    file = folder / "generator.safetensors"
    file.touch()
    assert node.IS_CHANGED(file=PACKAGED) != state
    assert call(pack, "LoadStyleGAN", file=PACKAGED)[0] is not before


def test_a_network_loaded_by_name_lives_as_long_as_its_node(pack, wires, tiny_domain, tmp_path):
    node, delta = pack.nodes["Rectify"](), _nothing_lost(pack)
    with torch.inference_mode():
        for seed in range(2):
            node.rectify(edited=picture(seed=seed), delta=delta, rectifier_name=PACKAGED)
            assert node.model is wires.rectifier
    path = shutil.copy(tiny_domain / "encoder.safetensors", tmp_path / "encoder.safetensors")
    model = pack.sub("_models").load("encoder", path, "a copy")
    network = weakref.ref(model.value)
    del model
    gc.collect()
    assert network() is None, "an unused network must not stay in memory"


def test_networks_are_built_so_that_another_node_may_optimise_through_them(pack, wires):
    network = wires.generator.value
    assert not any(parameter.is_inference() for parameter in network.parameters())
    with torch.inference_mode():
        latent = call(pack, "SampleLatent", generator=wires.generator, seed=1)[0]
        with torch.inference_mode(False), torch.enable_grad():
            ws = latent.ws.clone().requires_grad_()
            network.synthesis(ws).square().mean().backward()
    assert ws.grad.abs().sum() > 0


def test_models_join_the_hosts_memory_management(pack, wires):
    image = picture(1)
    latent, _, _, delta, _ = _phase_one(pack, wires, image)
    loaded = {id(model) for models in pack.host.state.loads for model in models}
    assert {id(wires.generator.value), id(wires.encoder.value)} <= loaded
    call(pack, "Rectify", edited=image, delta=delta, rectifier=wires.rectifier)
    assert pack.host.state.loads[-1] == [wires.rectifier.value]


@pytest.mark.parametrize("output", ["rectifier", "edited"])
def test_strength_zero_is_the_edited_picture_bit_for_bit(pack, wires, output):
    latent, inversion, _, delta, _ = _phase_one(pack, wires, picture(3))
    edited = call(
        pack,
        "DirectionEdit",
        generator=wires.generator,
        latent=latent,
        direction="yaw",
        strength=9.0,
        layers="all",
        editor=wires.directions,
    )[1]
    found = call(pack, "Rectify", edited=edited, delta=delta, strength=0.0, output=output, rectifier=wires.rectifier)[0]
    # An IMAGE counts from 0, the library from -1: the same picture through both conversions, and nothing else.
    assert torch.equal(found, pack.rc.images.to_comfy(pack.rc.images.from_comfy(edited)))
    assert torch.equal((found * 255).round(), (edited * 255).round())
    unedited = call(
        pack,
        "DirectionEdit",
        generator=wires.generator,
        latent=latent,
        direction="yaw",
        strength=0.0,
        layers="all",
        editor=wires.directions,
    )
    assert torch.equal(unedited[0].ws, latent.ws) and torch.equal(unedited[1], inversion)


def test_one_difference_serves_several_edits(pack, wires, monkeypatch):
    latent, _, _, delta, _ = _phase_one(pack, wires, picture(2))
    sweep = [
        call(
            pack,
            "DirectionEdit",
            generator=wires.generator,
            latent=latent,
            direction="yaw",
            strength=s,
            layers="all",
            editor=wires.directions,
        )[1]
        for s in (-9.0, 0.0, 9.0)
    ]
    edited = torch.stack(sweep, 1).flatten(0, 1)  # image-major
    found = call(pack, "Rectify", edited=edited, delta=delta, rectifier=wires.rectifier)[0]
    for i, part in enumerate(sweep):
        alone = call(pack, "Rectify", edited=part, delta=delta, rectifier=wires.rectifier)[0]
        torch.testing.assert_close(found[i::3], alone, atol=1e-5, rtol=0)
    monkeypatch.setattr(
        pack.sub("_host"), "chunk_size", lambda resolution: 4
    )  # one difference at a time, in two passes
    codes = []
    encode = type(wires.rectifier.value).encode_delta
    monkeypatch.setattr(
        type(wires.rectifier.value), "encode_delta", lambda self, delta: codes.append(len(delta)) or encode(self, delta)
    )
    twice = edited.repeat_interleave(2, 0)  # six pictures for each difference
    chunked = call(pack, "Rectify", edited=twice, delta=delta, rectifier=wires.rectifier)[0]
    torch.testing.assert_close(chunked, found.repeat_interleave(2, 0), atol=1e-5, rtol=0)
    assert codes == [1, 1], "E_d runs once for each difference"
    assert (pack.host.state.bars[-1].total, pack.host.state.bars[-1].current) == (12, 12)
    with pytest.raises(pack.rc.ReganieError, match="K times"):
        call(pack, "Rectify", edited=edited[:3], delta=delta, rectifier=wires.rectifier)


@pytest.mark.parametrize("count", [1, 33])
def test_batches_of_any_size_go_through_in_chunks(pack, wires, count, monkeypatch):
    monkeypatch.setattr(pack.sub("_host"), "chunk_size", lambda resolution: 4)
    image = picture(count)
    latent, inversion, prepared, delta, _ = _phase_one(pack, wires, image)
    assert latent.batch == len(inversion) == len(prepared) == len(delta) == count
    edited = call(
        pack,
        "DirectionEdit",
        generator=wires.generator,
        latent=latent,
        direction="smile",
        strength=1.0,
        layers="all",
        editor=wires.directions,
    )[1]
    result = call(pack, "Rectify", edited=edited, delta=delta, rectifier=wires.rectifier)[0]
    assert result.shape == (count, 32, 32, 3)
    bars = pack.host.state.bars
    assert [(bar.total, bar.current) for bar in bars] == [(count, count)] * 3
    monkeypatch.undo()
    torch.testing.assert_close(_phase_one(pack, wires, image)[1], inversion, atol=1e-5, rtol=0)


def test_cancel_stops_between_chunks(pack, wires):
    latent, _, _, delta, _ = _phase_one(pack, wires, picture(2))
    pack.host.state.cancel = True
    with pytest.raises(Interrupted):
        call(pack, "E4EInvert", generator=wires.generator, image=picture(2), encoder=wires.encoder)
    with pytest.raises(Interrupted):
        call(pack, "Rectify", edited=picture(2), delta=delta, rectifier=wires.rectifier)
    with pytest.raises(Interrupted):
        call(pack, "Synthesize", generator=wires.generator, latent=latent)


@pytest.mark.parametrize("kind", ["generator", "encoder", "rectifier"])
def test_cancel_ends_a_pass_between_two_layers(pack, wires, kind):
    """One pass of a large network takes many seconds on a CPU, and Cancel must answer within one."""
    latent, _, _, delta, _ = _phase_one(pack, wires, picture(1))
    network, begun = getattr(wires, kind).value, []

    def press(module, inputs):
        begun.append(module)
        pack.host.state.cancel = len(begun) >= 3

    handles = [part.register_forward_pre_hook(press, prepend=True) for part in network.modules()]
    try:
        with pytest.raises(Interrupted):
            if kind == "generator":
                call(pack, "Synthesize", generator=wires.generator, latent=latent)
            elif kind == "encoder":
                call(pack, "E4EInvert", generator=wires.generator, image=picture(1), encoder=wires.encoder)
            else:
                call(pack, "Rectify", edited=picture(1), delta=delta, rectifier=wires.rectifier)
    finally:
        for handle in handles:
            handle.remove()
    assert len(begun) == 3 and len(list(network.modules())) > 6


def test_out_of_memory_halves_the_chunk(pack, wires, monkeypatch):
    image, sizes = picture(8), []
    monkeypatch.setattr(pack.sub("_host"), "chunk_size", lambda resolution: 16)  # as on a GPU
    whole = _phase_one(pack, wires, image)[1]
    real = pack.rc.inversion.invert

    def short_of_memory(network, encoder, images, **more):
        sizes.append(more["chunk"])
        if more["chunk"] > 2:
            raise torch.OutOfMemoryError("no memory")
        return real(network, encoder, images, **more)

    monkeypatch.setattr(pack.rc.inversion, "invert", short_of_memory)
    torch.testing.assert_close(_phase_one(pack, wires, image)[1], whole, atol=1e-5, rtol=0)
    assert sizes == [16, 8, 4, 2]  # the eight pictures were one chunk
    sizes.clear()
    _phase_one(pack, wires, picture(17))
    assert sizes == [16, 8, 4, 2, 2]  # the next chunk starts from what went through
    monkeypatch.setattr(
        pack.rc.inversion, "invert", lambda *a, **k: (_ for _ in ()).throw(torch.OutOfMemoryError("none"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        call(pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder)


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(32, 32, 4), (32, 32, 1), (200, 200, 3), (16, 16, 3), (1500, 1500, 3)]
)
def test_pictures_that_work(pack, wires, height, width, channels):
    _, inversion, prepared, delta, _ = _phase_one(pack, wires, picture(1, height, width, channels))
    side = max(32, height)
    assert inversion.shape == (1, 32, 32, 3) and prepared.shape == (1, side, side, 3)
    assert delta.pixels.shape == (1, 3, side, side) and delta.pixels.abs().max() <= 2


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_pictures_that_are_not_square(pack, wires, fit):
    image = picture(2, 48, 64)
    with pytest.raises(pack.rc.ReganieError, match="64x48, not square.*crop or pad"):
        call(pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder)
    prepared = _phase_one(pack, wires, image, fit=fit)[2]
    assert prepared.shape == ((2, 48, 48, 3) if fit == "crop" else (2, 64, 64, 3))


def test_pictures_that_are_refused_in_one_sentence(pack, wires):
    for image, words in (
        (picture(1, 4, 4), "between 16 and"),
        (picture() * 255, "0,1"),
        (picture()[0], "IMAGE"),
        (torch.full((1, 32, 32, 3), torch.nan), "NaN"),
    ):
        with pytest.raises(pack.rc.ReganieError, match=words):
            call(pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder)
    delta = _nothing_lost(pack)
    with pytest.raises(pack.rc.ReganieError, match="16 pixels, the rectifier works at 32"):
        call(pack, "Rectify", edited=picture(1, 16, 16), delta=delta, rectifier=wires.rectifier)


def test_larger_edits_meet_a_smaller_rectifier(pack, wires):
    image = picture(1, 64, 64)
    delta = _nothing_lost(pack, 64)
    small = call(pack, "Rectify", edited=image, delta=delta, output="rectifier", rectifier=wires.rectifier)[0]
    large = call(pack, "Rectify", edited=image, delta=delta, output="edited", rectifier=wires.rectifier)[0]
    assert small.shape == (1, 32, 32, 3) and large.shape == (1, 64, 64, 3)


def test_a_foreign_difference_is_reported(pack):
    call(pack, "ComputeDelta", image=picture(), inversion=picture())
    assert pack.host.state.notices == []
    call(pack, "ComputeDelta", image=torch.ones(1, 32, 32, 3), inversion=torch.zeros(1, 32, 32, 3))
    ((event, notice),) = pack.host.state.notices
    assert event == "reganie.notice" and "not the same picture" in notice["text"]
    with pytest.raises(pack.rc.ReganieError, match="give one for each"):
        call(pack, "ComputeDelta", image=picture(2), inversion=picture(1))


def test_unknown_controls_and_layers_name_what_there_is(pack, wires):
    latent = call(pack, "SampleLatent", generator=wires.generator, seed=0)[0]
    rest = {"generator": wires.generator, "latent": latent, "strength": 1.0, "editor": wires.directions}
    with pytest.raises(pack.rc.ReganieError, match=r"There is no control 'moustache'.*yaw \(-40..40 degrees\)"):
        call(pack, "DirectionEdit", direction="moustache", layers="all", **rest)
    with pytest.raises(pack.rc.ReganieError, match="Layers must lie in 0..7"):
        call(pack, "DirectionEdit", direction="yaw", layers="0-40", **rest)
    with pytest.raises(pack.rc.ReganieError, match="finite"):
        call(pack, "DirectionEdit", direction="yaw", layers="all", **(rest | {"strength": float("nan")}))


def test_a_latent_of_another_generator_is_refused(pack, wires, tmp_path, monkeypatch):
    from tests.conftest import write_tiny_domain

    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", write_tiny_domain(tmp_path / "other", seed=5))
    other = call(pack, "LoadStyleGAN", file=PACKAGED)[0]
    latent = call(pack, "SampleLatent", generator=wires.generator, seed=0)[0]
    with pytest.raises(pack.rc.ReganieError, match="belongs to generator"):
        call(pack, "Synthesize", generator=other, latent=latent)


def test_sampling_is_the_seeds_and_batch_independent(pack, wires):
    sample = {"generator": wires.generator, "truncation_psi": 0.7}
    three = call(pack, "SampleLatent", seed=7, count=3, **sample)[0]
    torch.testing.assert_close(call(pack, "SampleLatent", seed=7, count=1, **sample)[0].ws, three.ws[:1])
    assert not torch.equal(call(pack, "SampleLatent", seed=8, count=1, **sample)[0].ws, three.ws[:1])
    average = call(pack, "SampleLatent", seed=7, count=2, generator=wires.generator, truncation_psi=0.0)[0]
    torch.testing.assert_close(average.ws, wires.generator.value.w_avg.expand_as(average.ws))
    state = torch.random.get_rng_state()
    call(pack, "SampleLatent", seed=2**64 - 1, **sample)
    assert torch.equal(state, torch.random.get_rng_state())
    image = call(pack, "Synthesize", generator=wires.generator, latent=three, noise="none")[0]
    assert image.shape == (3, 32, 32, 3) and 0 <= image.min() and image.max() <= 1


def test_what_a_domain_lacks_is_an_error_only_where_it_is_used(pack, tiny_domain, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(tiny_domain, tmp_path / "bare"))
    manifest = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "rectifier"}))
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", folder)
    generator, encoder, dystyle, styleclip, directions, rectifier = call(pack, "LoadReGANIE", domain=PACKAGED)
    call(pack, "E4EInvert", generator=generator, image=picture(), encoder=encoder)
    with pytest.raises(pack.rc.errors.NotFoundError, match="'tiny' has no rectifier.*Load Rectifier"):
        call(pack, "Rectify", edited=picture(), delta=torch.zeros(1, 3, 32, 32), rectifier=rectifier)
    with pytest.raises(pack.rc.errors.NotFoundError, match="has no dystyle"):
        call(pack, "DirectionEdit", generator=generator, latent=None, direction="yaw", strength=1.0, editor=dystyle)
    with pytest.raises(pack.rc.errors.MismatchError, match="takes one generator; found encoder"):
        call(pack, "Synthesize", generator=encoder, latent=None)


def test_a_rectifier_of_other_networks_is_named(pack, tiny_domain, tmp_path, monkeypatch):
    from tests.conftest import write_tiny_domain

    folder = write_tiny_domain(tmp_path / "mixed", seed=9)
    shutil.copy(tiny_domain / "rectifier.safetensors", folder / "rectifier.safetensors")
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", folder)
    call(pack, "LoadReGANIE", domain=PACKAGED)
    texts = [notice["text"] for _, notice in pack.host.state.notices]
    assert len(texts) == 2 and all("was trained with" in text for text in texts)


def test_the_packaged_example(pack, tiny_domain):
    node = pack.nodes["PortraitExample"]
    options = node.INPUT_TYPES()["required"]["example"][1]["options"]
    assert options == ["one.png"] and node.VALIDATE_INPUTS(example="one.png") is True
    image = call(pack, "PortraitExample", example="one.png")[0]
    expected = pack.rc.images.load_image(tiny_domain / "examples" / "one.png")
    torch.testing.assert_close(image, (expected.permute(0, 2, 3, 1) + 1) / 2)
    assert "There are: one.png" in node.VALIDATE_INPUTS(example="../one.png")
