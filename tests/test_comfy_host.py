"""The pack in a real ComfyUI, when one is given: COMFYUI_PATH (a checkout) and COMFYUI_PYTHON (its interpreter)."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.host_stubs import ROOT
from tests.schema_files import HOSTS_OWN
from tests.workflow_graphs import GRAPHS

pytestmark = pytest.mark.skipif(
    not (os.environ.get("COMFYUI_PATH") and os.environ.get("COMFYUI_PYTHON")),
    reason="needs a ComfyUI: set COMFYUI_PATH to a checkout and COMFYUI_PYTHON to an interpreter with its requirements",
)
PACK = "reganie under test"  # a folder name with blanks must work as well
SKIPPED = shutil.ignore_patterns(".git", ".venv", "runs", "out", "__pycache__", ".*_cache")
START_SECONDS, RUN_SECONDS = 180, 300
open_local = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def _get(url: str, data: Any = None) -> Any:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with open_local(request, timeout=60) as answer:
        content = answer.read()
    return json.loads(content) if content else None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A running ComfyUI with a copy of this pack; the domain folder it uses."""
    base = tmp_path_factory.mktemp("host")
    pack = base / "custom_nodes" / PACK
    shutil.copytree(ROOT, pack, ignore=SKIPPED)
    weights = pack / "reganie_core" / "portraits" / "weights"
    for name in ("models", "input", "output", "temp", "user"):
        (base / name).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = base / "log.txt"
    command = [
        os.environ["COMFYUI_PYTHON"],
        "main.py",
        "--cpu",
        "--listen",
        "127.0.0.1",
        "--port",
        str(port),
        "--base-directory",
        str(base),
        "--database-url",
        f"sqlite:///{base}/user/comfyui.db",
        "--disable-auto-launch",
        "--disable-api-nodes",
        "--log-stdout",
    ]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command,
            cwd=os.environ["COMFYUI_PATH"],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    try:
        running = SimpleNamespace(url=f"http://127.0.0.1:{port}", base=base, log=log, weights=weights)
        _wait(running, process)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(running: SimpleNamespace, process: subprocess.Popen) -> None:
    end = time.time() + START_SECONDS
    while True:
        try:
            return _get(running.url + "/system_stats")
        except OSError:
            assert process.poll() is None and time.time() < end, running.log.read_text(errors="replace")[-3000:]
            time.sleep(0.3)


def _run(host: SimpleNamespace, prompt: dict[str, Any]) -> dict[str, np.ndarray]:
    """Run an API graph; pictures by the title of their PreviewImage node, and Before and After's two."""
    number = _get(host.url + "/prompt", {"prompt": prompt})["prompt_id"]
    end = time.time() + RUN_SECONDS
    while not (history := _get(f"{host.url}/history/{number}")):
        assert time.time() < end, host.log.read_text(errors="replace")[-3000:]
        time.sleep(0.2)
    history = history[number]
    assert history["status"]["status_str"] == "success", history["status"]["messages"]
    shown = {}
    for key, output in history["outputs"].items():
        files = {prompt[key]["_meta"]["title"]: output.get("images"), "Before": output.get("reganie_before"),
                 "After": output.get("reganie_after")}
        for title, (file, *_) in ((title, found) for title, found in files.items() if found):
            query = urllib.parse.urlencode({name: file[name] for name in ("filename", "subfolder", "type")})
            with open_local(f"{host.url}/view?{query}", timeout=60) as answer:
                shown[title] = np.asarray(Image.open(BytesIO(answer.read())).convert("RGB"), float)
    return shown


def _api(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_pack_imports_quickly_and_shows_all_its_nodes(host):
    log = host.log.read_text(errors="replace")
    (seconds,) = re.findall(rf"([\d.]+) seconds:? .*{PACK}", log)
    assert float(seconds) < 1.0
    failed = re.findall(r"IMPORT FAILED\)?:? *(.*)", log)       # of the host's own some may, for want of torchaudio
    assert not [name for name in failed if PACK in name]
    info = _get(host.url + "/object_info")
    golden = json.loads((ROOT / "tests" / "golden_schema.json").read_text())
    for name in golden.keys() - HOSTS_OWN:
        assert info[name]["python_module"] == f"custom_nodes.{PACK}" and info[name]["description"]
    listed = _get(host.url + "/api/workflow_templates")[PACK]
    assert {told.title for told in GRAPHS.values()} == set(listed)


def test_the_page_can_ask_for_the_controls_of_an_editor(host):
    found = _get(host.url + "/api/reganie/controls?" + urllib.parse.urlencode({"kind": "directions"}))
    assert {"yaw", "smile", "age"} <= {control["name"] for control in found["controls"]}
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get(host.url + "/api/reganie/controls?" + urllib.parse.urlencode({"name": "../../secret.pkl"}))
    assert refused.value.code == 404 and b"leaves its folder" in refused.value.read()


def _domain(host: SimpleNamespace, prompt: dict[str, Any], folder: Path) -> Path:
    """The packaged domain; for graphs with linear directions without the DyStyle editor, which would be asked first."""
    if all("DirectionEdit" not in node["class_type"] for node in prompt.values()):
        return host.weights
    plain = Path(shutil.copytree(host.weights, folder / "plain"))
    manifest = json.loads((plain / "domain.json").read_text())
    manifest.pop("dystyle", None)
    (plain / "domain.json").write_text(json.dumps(manifest))
    return plain


@pytest.mark.parametrize("name", ["quick_edit", "full_phase_1_and_2"])
def test_a_graph_gives_the_picture_of_the_command_line(host, name, tmp_path):
    prompt = _api(name)
    shown = _run(host, prompt)
    example = next(node["inputs"]["example"] for node in prompt.values() if "example" in node["inputs"])
    command = [
        sys.executable,
        "-m",
        "reganie_core",
        "edit",
        str(next(host.weights.rglob(example))),
        "-o",
        str(tmp_path / "out.png"),
        "--domain",
        str(_domain(host, prompt, tmp_path)),
    ]
    for node in prompt.values():
        if node["class_type"] == "ReGANIE_DirectionEdit":
            command += ["--edit", f"{node['inputs']['direction']}={node['inputs']['strength']:+g}"]
        if node["class_type"] == "DyStyleEdit":
            command += [word for edit in node["inputs"]["edits"].split(", ") for word in ("--edit", edit)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=RUN_SECONDS)
    expected = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"), float)
    found = shown["After"]
    assert found.shape == expected.shape and np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("node", "key", "value", "words"),
    [
        ("LoadStyleGAN", "file", "../../secret.pkl", "leaves its folder"),
        ("LoadStyleGAN", "file", "missing.pkl", "stylegan"),
        ("E4EInvert", "encoder_name", "/etc/passwd", "absolute"),
    ],
)
def test_names_are_refused_before_anything_runs(host, node, key, value, words):
    prompt = _api("quick_edit")
    for item in prompt.values():
        if item["class_type"] == node:
            item["inputs"][key] = value
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get(host.url + "/prompt", {"prompt": prompt})
    assert refused.value.code == 400 and words in refused.value.read().decode()


def test_a_node_of_the_hosts_own_feeds_the_graph(host):
    prompt = _api("quick_edit")
    size = Image.open(next(host.weights.rglob("*.png"))).size
    picture = Image.open(next(host.weights.rglob("*.png"))).convert("RGBA").resize((size[0] * 3, size[1] * 2))
    picture.save(host.base / "input" / "mine.png")
    for item in prompt.values():
        if item["class_type"] == "ReGANIE_PortraitExample":
            item |= {"class_type": "LoadImage", "inputs": {"image": "mine.png"}}
        if item["class_type"] == "E4EInvert":
            item["inputs"]["fit"] = "crop"
    assert _run(host, prompt)["After"].shape[2] == 3
