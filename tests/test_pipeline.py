"""One call from picture to edit."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import reganie_core as rc
from reganie_core import images, metrics
from reganie_core.delta import paste
from reganie_core.errors import InputError, NotFoundError


@pytest.fixture(scope="module")
def domain(tiny_domain):
    return rc.load_domain(tiny_domain)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


pytestmark = pytest.mark.filterwarnings("ignore::reganie_core.errors.ReganieWarning")


def test_it_is_algorithm_1(domain):
    x0 = noise(3, 3, 32, 32)
    result = rc.edit(x0, {"yaw": 2.0, "glasses": True}, domain=domain)
    with torch.inference_mode():
        w = domain.encoder(x0)
        x_hat = domain.generator.synthesis(w).clamp(-1, 1)
        y_hat = domain.generator.synthesis(domain.directions.edit(w, {"yaw": 2.0, "glasses": 1.0})).clamp(-1, 1)
        y_r = domain.rectifier(y_hat, x0 - x_hat).clamp(-1, 1)
        x_r = domain.rectifier(x_hat, x0 - x_hat).clamp(-1, 1)
    for found, expected in [(result.inversion, x_hat), (result.edited, y_hat), (result.delta, x0 - x_hat),
                            (result.rectified, y_r), (result.reconstruction, x_r), (result.latent.ws, w)]:
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert result.latent.generator == domain.generator.fingerprint
    assert (y_hat - x_hat).abs().max() > 0.01 and (y_r - y_hat).abs().max() > 0.01


def test_every_kind_of_input_gives_the_same(domain, tmp_path):
    picture = images.from_uint8(images.to_uint8(noise(1, 3, 32, 32)))
    images.save_image(picture, tmp_path / "x.png")
    inputs = [picture, picture[0], tmp_path / "x.png", str(tmp_path / "x.png"), Image.open(tmp_path / "x.png"),
              [tmp_path / "x.png"]]
    results = [rc.edit(item, "age=+1", domain=domain).rectified for item in inputs]
    assert all(torch.equal(result, results[0]) for result in results)
    several = rc.edit([tmp_path / "x.png", picture], "age=+1", domain=domain)
    torch.testing.assert_close(several.rectified, results[0].repeat(2, 1, 1, 1), atol=1e-5, rtol=1e-4)


def test_chunks_and_values_per_image(domain):
    x0 = noise(5, 3, 32, 32)
    changes = torch.tensor([0.0, 1.0, 0.5, -1.0, 2.0])
    whole = rc.edit(x0, {"age": changes}, domain=domain)
    parts = rc.edit(x0, {"age": changes}, domain=domain, chunk=2)
    torch.testing.assert_close(parts.rectified, whole.rectified, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.edited[0], whole.inversion[0], atol=1e-5, rtol=1e-4)
    single = rc.edit(x0[4:], {"age": 2.0}, domain=domain)
    torch.testing.assert_close(whole.rectified[4:], single.rectified, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="5 pictures"):
        rc.edit(x0, {"age": torch.ones(2)}, domain=domain)


def test_ranges_sizes_and_strength(domain):
    result = rc.edit(noise(2, 3, 48, 48), {"yaw": 5.0}, domain=domain)
    for picture in (result.inversion, result.edited):
        assert picture.shape == (2, 3, 32, 32) and picture.abs().max() <= 1 and not picture.requires_grad
    for picture in (result.image, result.reconstruction, result.rectified, result.pasted):
        assert picture.shape == (2, 3, 48, 48) and picture.abs().max() <= 1, "the photo's own size"
    assert result.delta.shape == (2, 3, 48, 48) and result.delta.abs().max() <= 2
    for output in ("rectifier", "edited"):
        still = rc.edit(noise(2, 3, 48, 48), {"yaw": 5.0}, domain=domain, strength=0.0, output=output)
        assert torch.equal(still.rectified, still.edited)


def test_without_rectifying_and_without_edits(domain):
    result = rc.edit(noise(1, 3, 32, 32), "smile=-0.5", domain=domain, rectify=False)
    assert result.rectified is None and result.reconstruction is None and torch.equal(result.result, result.edited)
    result = rc.edit(noise(1, 3, 32, 32), domain=domain)
    assert torch.equal(result.rectified, result.reconstruction) and torch.equal(result.edited, result.inversion)


def test_refusals(domain):
    x0 = noise(1, 3, 32, 32)
    with pytest.raises(InputError, match="directions: yaw .-40..40 degrees"):
        rc.edit(x0, {"hat": 1.0}, domain=domain)
    with pytest.raises(InputError, match="only know changes"):
        rc.edit(x0, {"yaw": rc.Target(3.0)}, domain=domain)
    with pytest.raises(InputError, match="not square"):
        rc.edit(noise(1, 3, 32, 40), {}, domain=domain)
    assert rc.edit(noise(1, 3, 32, 40), {}, domain=domain, fit="pad").image.shape == (1, 3, 40, 40)
    for bad in ([], 7, [None]):
        with pytest.raises(InputError):
            rc.edit(bad, {}, domain=domain)
    bare = rc.Domain(generator=domain.generator, encoder=domain.encoder)
    with pytest.raises(NotFoundError, match="no rectifier"):
        rc.edit(x0, {}, domain=bare, rectifier="own")
    assert rc.edit(x0, {}, domain=bare).used == "carry (no network)"


def test_pictures_of_another_world_are_reported(domain):
    with pytest.warns(rc.ReganieWarning, match="hardly resembles"):
        black_and_white = torch.where(noise(1, 3, 32, 32) > 0, 1.0, -1.0)
        rc.edit(black_and_white, {}, domain=domain)


def test_metrics_in_closed_form():
    a, b = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    b[0] += 0.5
    b[1, :, :4] += 1.0
    torch.testing.assert_close(metrics.l2(a, b), torch.tensor([0.25, 0.5]))
    torch.testing.assert_close(metrics.psnr(a, b)[0], torch.tensor(16.0).log10() * 10)
    region = torch.zeros(2, 1, 8, 8)
    region[:, :, :4] = 1
    torch.testing.assert_close(metrics.masked_l2(a, b, region), torch.tensor([0.25, 1.0]))
    assert metrics.masked_l2(a, b, torch.zeros(2, 1, 8, 8)).isnan().all()
    assert metrics.changed_region(a, b, dilate=0)[1].sum() == 32 and metrics.changed_region(a, b)[1].sum() == 40


def test_paste_is_the_trivial_baseline(domain):
    result = rc.edit(noise(1, 3, 32, 32), {}, domain=domain)
    torch.testing.assert_close(paste(result.inversion, result.delta), result.image, atol=1e-5, rtol=0)
