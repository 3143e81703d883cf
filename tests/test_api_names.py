"""The frozen names, and an import that costs and changes nothing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import reganie_core as rc

ROOT = Path(__file__).resolve().parents[1]


def run_python(code: str) -> dict:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", [
    "load_generator", "load_encoder", "load_rectifier", "load_editor", "inspect", "convert", "load_domain", "edit",
    "Target", "ReganieError", "Domain", "EditResult",
])
def test_frozen_names(name):
    assert callable(getattr(rc, name)) and name in dir(rc) and name in rc.__all__


def test_frozen_signatures(tiny_domain):
    assert {"image", "edits", "domain", "rectify"} <= set(inspect.signature(rc.edit).parameters)
    for loader in (rc.load_generator, rc.load_encoder, rc.load_rectifier, rc.load_editor):
        assert list(inspect.signature(loader).parameters)[:2] == ["path", "device"]
    g = rc.load_generator(tiny_domain / "generator.safetensors", device="cpu")
    ws = g.mapping(torch.zeros(2, g.z_dim), truncation_psi=1.0)
    assert ws.shape == (2, g.num_ws, g.w_dim) and g.w_avg.shape[-1] == g.w_dim
    assert g.synthesis(ws, noise="const").shape == (2, 3, g.resolution, g.resolution)
    e = rc.load_encoder(tiny_domain / "encoder.safetensors")
    assert e(torch.zeros(1, 3, 50, 50)).shape == (1, g.num_ws, g.w_dim) and e.input_resolution
    r = rc.load_rectifier(tiny_domain / "rectifier.safetensors")
    image = torch.zeros(1, 3, r.resolution, r.resolution)
    assert r(image, image, strength=1.0).shape == image.shape


def test_portraits_names():
    p = rc.portraits.sample(2, 0, items=(), style="default")
    assert {"hat", "earrings", "paint", "hand", "pattern"} <= set(rc.portraits.ITEMS)
    image, masks = rc.portraits.render(rc.portraits.edit(p, {"yaw": 15.0}), 16, masks=True)
    assert image.shape == (2, 3, 16, 16) and all(mask.shape == (2, 1, 16, 16) for mask in masks.values())
    assert rc.portraits.attributes(p)["yaw"].shape == (2,)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing_like_this"):
        rc.nothing_like_this  # noqa: B018


def test_every_error_derives_from_the_base():
    from reganie_core import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) > 8
    assert all(issubclass(c, (rc.ReganieError, rc.ReganieWarning)) for c in classes)


def test_import_is_light():
    loaded = run_python("import sys, json; before = set(sys.modules); import reganie_core;"
                        "print(json.dumps(sorted(set(sys.modules) - before)))")
    assert "torch" not in loaded and "PIL" not in loaded and "numpy" not in loaded


def test_import_changes_no_global_state():
    state = run_python("""
import json, os, sys, random, warnings
import numpy, torch, PIL.Image, safetensors, einops
def state():
    b = torch.backends
    return repr([os.getcwd(), sys.path, dict(os.environ), torch.get_default_dtype(), torch.get_num_threads(),
        torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        b.cudnn.benchmark, b.cudnn.deterministic, b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32, b.mkldnn.is_available(),
        torch.random.get_rng_state().sum().item(), numpy.random.get_state()[1].sum().item(), hash(random.getstate()),
        PIL.Image.MAX_IMAGE_PIXELS, warnings.filters])
before = state()
import importlib, pkgutil, reganie_core
for module in pkgutil.walk_packages(reganie_core.__path__, "reganie_core."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(json.dumps([before == state(), [m for m in ("comfy", "folder_paths", "trainer", "nodes") if m in sys.modules]]))
""")
    assert state == [True, []]
