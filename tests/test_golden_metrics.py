"""LPIPS and face recognition in real files against outputs of the original networks; others by their keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reganie_core import metrics
from reganie_core.errors import CheckpointError, InputError, MismatchError, NotFoundError, WrongKindError
from reganie_core.networks.arcface import CURRICULARFACE, FaceRecognizer
from reganie_core.networks.dex import DexAge, DexAgeConfig
from reganie_core.networks.hopenet import HopeNet, HopeNetConfig
from tests import checkpoint_files as files


def check(found: Tensor, name: str, of: str) -> None:
    assert files.error_over_scale(found, files.golden(of), name) <= 1.0


def image(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(files.fill.make_image(name, shape))


# --- LPIPS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lpips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual files: torchvision's trunks (with their classifier) and the heads of the reference."""
    folder = tmp_path_factory.mktemp("lpips")
    for net, trunk in (("vgg", "vgg16-397923af.pth"), ("alex", "alexnet-owt-7be5be79.pth")):
        tensors = files.weights(f"lpips_{net}")
        features = {k: v for k, v in tensors.items() if k.startswith("features.")}
        torch.save({**features, "classifier.6.bias": torch.zeros(1000)}, folder / trunk)
        torch.save({k: v for k, v in tensors.items() if k.startswith("lin")}, folder / f"lpips_{net}.pth")
        torch.save(tensors, folder / f"{net}_whole.pth")
        torch.save({k.replace("lin", "").replace(".model", ""): v for k, v in tensors.items() if k.startswith("lin")},
                   folder / f"{net}_renamed.pth")
    return folder


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_equals_the_original(lpips_folder: Path, net: str) -> None:
    network = metrics.load_lpips(lpips_folder, net)
    x, y = image("lp_x", 2, 3, 64, 64), image("lp_y", 2, 3, 64, 64)
    found = network.layers(x, y)
    check(found, "per_layer", f"lpips_{net}")
    check(network(x, y), "per_sample", f"lpips_{net}")
    assert float(network(x, y).mean()) == pytest.approx(float(files.golden(f"lpips_{net}")["e4e_style_scalar"]), 1e-4)
    assert not network(x, x).any() and network.config.net == net


def test_lpips_reads_every_layout(lpips_folder: Path) -> None:
    x, y = image("lp_x", 2, 3, 64, 64), image("lp_y", 2, 3, 64, 64)
    expected = metrics.load_lpips(lpips_folder, "alex")(x, y)
    trunk = lpips_folder / "alexnet-owt-7be5be79.pth"
    for network in (metrics.load_lpips(lpips_folder / "alex_whole.pth"),
                    metrics.load_lpips(trunk, heads=lpips_folder / "alex_renamed.pth")):
        assert torch.equal(network(x, y), expected)
    x.requires_grad_(True)
    network(x, y).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_missing_files_are_named_with_their_origin(lpips_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="vgg16-397923af.pth, from torchvision.*lpips_vgg.pth, from richzhang"):
        metrics.load_lpips(tmp_path)
    with pytest.raises(NotFoundError, match="heads"):
        metrics.load_lpips(lpips_folder / "vgg16-397923af.pth")
    for loader, origin in ((metrics.load_arcface, "InsightFace_Pytorch"), (metrics.load_dex, "SAM"),
                           (metrics.load_curricularface, "HuangYG123"), (metrics.load_hopenet, "deep-head-pose")):
        with pytest.raises(NotFoundError, match=origin):
            loader(tmp_path)
        with pytest.raises(NotFoundError, match="Nothing is downloaded"):
            loader(tmp_path / "missing.pth")


def test_wrong_files_are_refused(lpips_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongKindError, match="trunk alex"):
        metrics.load_lpips(lpips_folder / "alex_whole.pth", "vgg")
    with pytest.raises(WrongKindError, match="no HopeNet"):
        metrics.load_hopenet(lpips_folder / "lpips_alex.pth")
    tensors = files.weights("lpips_alex")
    del tensors["features.3.bias"]
    torch.save(tensors, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match="features.3.bias"):
        metrics.load_lpips(tmp_path / "short.pth")
    network = metrics.load_lpips(lpips_folder, "vgg")
    with pytest.raises(MismatchError):
        network(torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64))
    with pytest.raises(InputError, match="16 px"):
        network(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


# --- faces ------------------------------------------------------------------------------------------------------------


def test_arcface_equals_the_original(tmp_path: Path) -> None:
    torch.save(files.weights("arcface_ir_se50"), tmp_path / "model_ir_se50.pth")
    network = metrics.load_arcface(tmp_path)
    with torch.inference_mode():
        faces = network(image("arc_x", 2, 3, 112, 112))
        crops = network(image("arc_x256", 2, 3, 256, 256))
    check(faces, "embedding_112", "arcface_ir_se50")
    check(crops, "embedding_from_256_crop", "arcface_ir_se50")
    assert faces.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    with pytest.raises(MismatchError, match="256"):
        network(torch.zeros(1, 3, 128, 128))


def test_curricularface_equals_the_original(tmp_path: Path) -> None:
    torch.save(files.weights("curricularface_ir101"), tmp_path / "CurricularFace_backbone.pth")
    with torch.inference_mode():
        found = metrics.load_curricularface(tmp_path)(image("arc_x", 2, 3, 112, 112))
    check(found, "embedding_112", "curricularface_ir101")


@pytest.mark.parametrize(("name", "make"), [
    ("hopenet", lambda: HopeNet(HopeNetConfig())), ("dex_vgg", lambda: DexAge(DexAgeConfig())),
    ("curricularface_ir101", lambda: FaceRecognizer(CURRICULARFACE))])
def test_keys_are_those_of_the_original_classes(name: str, make) -> None:  # noqa: ANN001
    with torch.device("meta"):
        network: nn.Module = make()
    found = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert found == {key: shape for key, (shape, _) in files.manifest(name).items()}


def test_angles_and_ages_are_expectations() -> None:
    """With zero weights and one large bias, the answer is that bin."""
    hopenet = HopeNet(HopeNetConfig()).eval()
    for parameter in hopenet.parameters():
        parameter.data.zero_()
    for bin_, name in enumerate(("yaw", "pitch", "roll")):
        getattr(hopenet, f"fc_{name}").bias.data[30 + bin_] = 100.0
    with torch.inference_mode():
        found = hopenet(torch.zeros(1, 3, 300, 256))
    assert [float(found[n]) for n in ("yaw", "pitch", "roll")] == pytest.approx([-9.0, -6.0, -3.0], abs=1e-3)
    with torch.device("meta"):
        dex = DexAge(DexAgeConfig())
    dex.logits = lambda images: torch.log(torch.eye(101)[[20, 40]].mean(0, keepdim=True) + 1e-30)  # type: ignore
    assert float(dex(torch.zeros(1, 3, 64, 64))) == pytest.approx(30.0)
