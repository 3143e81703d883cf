"""Promise 5: the host environment is left alone.

The requirements have lower bounds only and no torch, so that installing the pack replaces nothing. Importing it and
running a graph change no torch flag, thread count, random state, folder, environment variable, warning filter or
import path, and every module of ours lives below the pack's own name. Not promised: what the dependencies
themselves do when they are imported.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.host_stubs import ROOT
from tests.promises.helpers import python

# The state of a process that others share with us, before the pack is there, after its import, and after a graph.
LOOK = """
import json, os, random, sys, warnings, logging, signal, pathlib
import numpy, torch, PIL.Image, safetensors.torch, einops, kornia
torch.set_num_threads(1)
def state():
    b = torch.backends
    return {"folder": os.getcwd(), "path": list(sys.path), "environment": dict(os.environ),
            "dtype": str(torch.get_default_dtype()), "device": str(torch.get_default_device()),
            "threads": torch.get_num_threads(), "grad": torch.is_grad_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "precision": torch.get_float32_matmul_precision(),
            "cudnn": [b.cudnn.enabled, b.cudnn.benchmark, b.cudnn.deterministic, b.cudnn.allow_tf32],
            "tf32": b.cuda.matmul.allow_tf32, "denormal": (torch.tensor([1e-30]) * 1e-10).item(),
            "torch random": torch.random.get_rng_state().tolist(), "numpy random": repr(numpy.random.get_state()),
            "random": hash(random.getstate()), "filters": repr(warnings.filters), "hook": repr(sys.excepthook),
            "pixels": PIL.Image.MAX_IMAGE_PIXELS, "handlers": repr(logging.getLogger().handlers),
            "level": logging.getLogger().level, "signals": repr(signal.getsignal(signal.SIGINT)),
            "openers": sorted(PIL.Image.OPEN)}
domain, base = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
from types import SimpleNamespace
from tests.host_stubs import call, host_modules, load_pack, picture
from tests.promises.helpers import chain
host, image = host_modules(base), picture(2)
PIL.Image.init()
modules, before = set(sys.modules), state()
module = load_pack(host)
imported, name = state(), module.__name__
import importlib
core = importlib.import_module(name + ".reganie_core")
core.domains.PACKAGED["portraits"] = domain
pack = SimpleNamespace(module=module, nodes=module.NODE_CLASS_MAPPINGS, rc=core, host=host)
chain(pack, image)
call(pack, "SampleLatent", generator=call(pack, "LoadStyleGAN", file="portraits (packaged)")[0], seed=3)
after = state()
new = sorted(set(sys.modules) - modules)
ours = [m for m in new if not m.startswith(name)]
print(json.dumps({"import": [k for k in before if before[k] != imported[k]],
                  "graph": [k for k in before if before[k] != after[k]], "modules": ours}))
"""


def test_importing_and_running_leave_no_trace(tiny_domain: Path, tmp_path: Path) -> None:
    run = python("-c", LOOK, tiny_domain, tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["import"] == [] and found["graph"] == []
    top = {name.split(".")[0] for name in found["modules"]}
    assert not top & {"reganie_core", "nodes", "trainer", "web", "comfy", "folder_paths"}, "a name a host may need"
    assert not top & {"torchvision", "cv2", "transformers", "tensorboard", "matplotlib", "scipy", "pandas"}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_replace_nothing(name: str) -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9_-]+>=[0-9.]+", line), f"{line}: only lower bounds, no options, no addresses"
        assert not re.match(r"(torch|torchvision|torchaudio|xformers|nvidia|triton|opencv)", line), line


def test_there_is_no_install_script() -> None:
    """ComfyUI's manager runs install.py; there is nothing to run, and nothing installs at run time."""
    assert not list(ROOT.glob("install*.py")) + list(ROOT.glob("prestartup*.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nodes").rglob("*.py"))
    assert "subprocess" not in text and "pip install" not in text
