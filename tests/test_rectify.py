"""dX and Algorithm 1's inference: the rules of the wires."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reganie_core.algorithm1 import algorithm1
from reganie_core.delta import Delta, difference, misfit, paste
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.rectifier_encoders import DeltaCode
from reganie_core.rectification import encode_differences, rectify


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Adder(nn.Module):
    """A rectifier in closed form: Y^ + dX / 2, with a record of how often E_d ran."""

    resolution, needs_inversion = 16, False

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode_delta(self, delta: Tensor) -> DeltaCode:
        self.encoded += delta.shape[0]
        return DeltaCode(delta, None)

    def render(self, edited: Tensor, code: DeltaCode, strength: float, flow: Tensor | None = None) -> Tensor:
        assert edited.shape == code.sp.shape and edited.shape[-1] == self.resolution
        return edited + 0.5 * strength * code.sp


def test_difference_clamps_and_is_not_rescaled():
    image, inversion = noise(2, 3, 8, 8) * 1.3, noise(2, 3, 8, 8, seed=1)
    torch.testing.assert_close(difference(image, inversion), image.clamp(-1, 1) - inversion)
    extreme = difference(torch.ones(1, 3, 8, 8), -torch.ones(1, 3, 8, 8))
    assert extreme.min() == 2


def test_difference_brings_the_image_to_the_inversion():
    image, inversion = noise(1, 3, 32, 32), noise(1, 3, 16, 16, seed=1)
    blocks = image.reshape(1, 3, 16, 2, 16, 2).mean((3, 5))
    torch.testing.assert_close(difference(image, inversion), blocks - inversion)
    with pytest.raises(MismatchError, match="another shape"):
        difference(noise(1, 3, 32, 20), inversion)
    with pytest.raises(MismatchError, match="2 images and 1"):
        difference(noise(2, 3, 16, 16), inversion)


def test_a_photo_in_place_of_its_crop_is_noticed():
    assert misfit(noise(1, 3, 64, 64), noise(1, 3, 64, 64, seed=1)) is None
    assert "not the same" in misfit(torch.ones(1, 3, 64, 64), -torch.ones(1, 3, 64, 64))
    assert misfit(torch.zeros(1, 3, 160, 160), torch.zeros(1, 3, 16, 16)) is None  # a large photo is no misfit


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("output", ["rectifier", "edited"])
def test_strength_zero_is_the_edited_picture_bit_for_bit(size, output):
    edited, delta = noise(2, 3, size, size), noise(2, 3, size, size, seed=1)
    result = rectify(Adder(), edited, delta, 0.0, output)
    side = size if output == "edited" else 16
    expected = edited.reshape(2, 3, side, size // side, side, size // side).mean((3, 5)) if side < size else edited
    assert torch.equal(result, expected) if side == size else torch.allclose(result, expected, atol=1e-6)


def test_strength_interpolates_between_edited_and_network():
    edited, delta = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    network = (edited + 0.5 * delta).clamp(-1, 1)
    assert torch.equal(rectify(Adder(), edited, delta, 1.0), network)
    for strength in (0.25, 0.5, 0.9):
        torch.testing.assert_close(rectify(Adder(), edited, delta, strength), torch.lerp(edited, network, strength))
    assert rectify(Adder(), edited, delta, 2.0).abs().max() <= 1


def test_output_edited_adds_the_enlarged_change():
    edited, delta = noise(1, 3, 64, 64) * 0.3, torch.full((1, 3, 32, 32), 0.4)
    torch.testing.assert_close(rectify(Adder(), edited, delta, 0.5, "edited"), edited + 0.1, atol=1e-5, rtol=0)
    assert rectify(Adder(), edited, delta, output="rectifier").shape == (1, 3, 16, 16)
    assert rectify(Adder(), edited, delta).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("chunk", [1, 2, 3, 8, 100])
def test_batches_are_image_major_and_e_d_runs_once(chunk):
    edited, delta = noise(6, 3, 16, 16) * 0.2, noise(2, 3, 16, 16, seed=1) * 0.2
    network = Adder()
    code = encode_differences(network, delta)
    result = rectify(network, edited, delta, chunk=chunk, code=code)
    torch.testing.assert_close(result, edited + 0.5 * delta.repeat_interleave(3, 0))
    assert network.encoded == 2


def test_refusals():
    good = noise(2, 3, 16, 16)
    with pytest.raises(MismatchError, match="5 edited pictures for 2"):
        rectify(Adder(), noise(5, 3, 16, 16), good)
    with pytest.raises(MismatchError, match="8 pixels"):
        rectify(Adder(), noise(2, 3, 8, 8), good)
    with pytest.raises(MismatchError, match="difference has 8"):
        rectify(Adder(), good, noise(2, 3, 8, 8))
    with pytest.raises(MismatchError, match="square"):
        rectify(Adder(), noise(2, 3, 16, 32), good)
    for strength in (-0.1, 2.5, float("nan"), "1"):
        with pytest.raises(InputError, match="strength"):
            rectify(Adder(), good, good, strength)
    with pytest.raises(InputError, match="output"):
        rectify(Adder(), good, good, output="poster")
    with pytest.raises(InputError, match="difference"):
        rectify(Adder(), good, good * 100)


class Codec(nn.Module):
    """Encoder and generator in closed form: the code is the mean colour, the picture a flat one."""

    num_ws, w_dim, resolution = 2, 3, 16

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))[:, None].expand(-1, 2, -1)

    def synthesis(self, ws: Tensor, noise: str = "const") -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return ws[:, 0, :, None, None].expand(-1, -1, 16, 16)


class Shift:
    controls: tuple = ()
    accepts_targets = False

    def edit(self, ws: Tensor, edits: dict) -> Tensor:
        return ws + edits["shift"]


def test_algorithm_1_in_closed_form():
    x0 = noise(3, 3, 16, 16) * 0.3
    codec, network = Codec(), Adder()
    out = algorithm1(codec, codec, Shift(), network, x0, {"shift": 0.2})
    x_hat = x0.mean((2, 3), keepdim=True).expand_as(x0)
    delta = x0 - x_hat
    for found, expected in [(out.inversion, x_hat), (out.edited, x_hat + 0.2), (out.delta.pixels, delta),
                            (out.reconstruction, x_hat + delta / 2), (out.rectified, x_hat + 0.2 + delta / 2)]:
        torch.testing.assert_close(found, expected)
    assert codec.calls == 1 and network.encoded == 3  # one batch for both pictures, E_d once per difference


def test_algorithm_1_without_edit_or_rectifier():
    x0 = noise(2, 3, 16, 16) * 0.3
    out = algorithm1(Codec(), Codec(), None, Adder(), x0, {})
    assert torch.equal(out.edited, out.inversion) and torch.equal(out.rectified, out.reconstruction)
    out = algorithm1(Codec(), Codec(), Shift(), None, x0, {"shift": 0.1})
    assert out.rectified is None and out.reconstruction is None


def test_a_delta_knows_its_pictures_and_its_networks():
    image, inversion = noise(3, 3, 32, 32), noise(3, 3, 16, 16, seed=1)
    delta = Delta(image, inversion, "g", "e")
    torch.testing.assert_close(delta.at(16), difference(image, inversion))
    assert delta.pixels.shape == (3, 3, 32, 32) and len(delta) == 3
    joined = Delta.cat([delta[:1], delta[1:]])
    assert torch.equal(joined.image, image) and joined.generator == "g" and torch.equal(joined[[2]].image, image[2:])
    with pytest.raises(MismatchError, match="several generators"):
        Delta.cat([delta, Delta(image, inversion, "other", "e")])
    with pytest.raises(MismatchError, match="another shape"):
        Delta(noise(1, 3, 32, 20), inversion[:1])


def test_a_rectifier_of_another_generator_is_refused_by_name():
    network = Adder()
    network.provenance = {"fingerprints": {"generator": "aaaa"}}
    own, foreign = (Delta(noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=1), g) for g in ("aaaa", "bbbb"))
    assert rectify(network, noise(1, 3, 16, 16), own).shape == (1, 3, 16, 16)
    with pytest.raises(MismatchError, match="'aaaa'.*'bbbb'"):
        rectify(network, noise(1, 3, 16, 16), foreign)


def test_pasting_is_exact_without_an_edit():
    x0, x_hat = noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=3)
    torch.testing.assert_close(paste(x_hat, difference(x0, x_hat)), x0)


def test_the_real_network_follows_the_same_rules(tiny_networks):
    network = tiny_networks.rectifier
    edited, delta = noise(4, 3, 32, 32), noise(2, 3, 32, 32, seed=1)
    with torch.inference_mode():
        expected = network(edited, delta).clamp(-1, 1)
        result = rectify(network, edited, delta)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
        assert (result - edited).abs().max() > 0.01
        torch.testing.assert_close(rectify(network, edited, delta, chunk=1), expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(rectify(network, edited, delta, 0.0), edited)
