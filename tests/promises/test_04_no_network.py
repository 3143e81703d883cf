"""Promise 4: no network, ever.

Importing, loading, editing, every node, training and evaluation open no connection and look up no name; what is
missing is asked for in a sentence, not downloaded. Not promised: processes that train together because ``torchrun``
started them talk to each other.
"""

from __future__ import annotations

import ast
import json
import socket
from pathlib import Path

import pytest

from tests.host_stubs import ROOT
from tests.promises.helpers import python, shipped_files

# Python calls its audit hooks from C before the system is asked: whatever library tries, this sees it.
GUARD = """
import sys
tried = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request",
                 "http.client.connect", "ftplib.connect", "smtplib.connect"):
        tried.append(event)
        raise AssertionError(f"the network was asked: {event} {arguments!r:.100}")
sys.addaudithook(watch)
"""
USE = GUARD + """
import json, pathlib, torch
torch.set_num_threads(1)
domain, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
import reganie_core as rc
from reganie_core.__main__ import main as command
from trainer import train
assert rc.edit(domain / "examples" / "one.png", {"yaw": 9.0}, domain=domain).rectified is not None
assert command(["edit", str(domain / "examples" / "one.png"), "-o", str(out / "o.png"), "--edit", "yaw=+9",
                "--domain", str(domain)]) == 0
tiny = ["resolution=16", "channels=8,8,8", "w_dim=8", "batch=4", "data_count=8", "total_kimg=0.008",
        f"data={out / 'data'}", "threads=1"]
assert train.main(["generator", "--out", str(out / "run"), *tiny]) == 0
from tests.host_stubs import host_modules, load_pack, picture
from tests.promises.helpers import chain
from types import SimpleNamespace
host = host_modules(out / "comfy")
module = load_pack(host)
import importlib
core = importlib.import_module(module.__name__ + ".reganie_core")
core.domains.PACKAGED["portraits"] = domain
pack = SimpleNamespace(module=module, nodes=module.NODE_CLASS_MAPPINGS, rc=core, host=host)
for node in pack.nodes.values():
    node.INPUT_TYPES()
chain(pack, picture())
try:
    rc.load_editor("no-such-model")
except rc.ReganieError as error:
    assert "no-such-model" in str(error)
print(json.dumps(tried))
"""


def test_using_all_of_it_opens_no_connection(tiny_domain: Path, tmp_path: Path) -> None:
    run = python("-c", USE, tiny_domain, tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads(run.stdout.splitlines()[-1]) == []
    assert (tmp_path / "o.png").is_file() and (tmp_path / "run" / "generator.safetensors").is_file()


def test_the_guard_notices_an_attempt() -> None:
    run = python("-c", GUARD + "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')")
    assert run.returncode != 0 and "the network was asked" in run.stderr


def test_tests_are_guarded_too() -> None:
    with pytest.raises(AssertionError, match="tried to connect"):
        socket.socket().connect(("192.0.2.1", 9))


def test_no_shipped_file_knows_how_to_download() -> None:
    """Not even by a library: nothing imports a client, nothing names a hub."""
    clients = {"urllib", "requests", "http", "httpx", "aiohttp", "ftplib", "huggingface_hub", "gdown", "wget", "socket"}
    allowed = {("nodes/_host.py", "aiohttp"),        # answers ComfyUI's own page
               ("trainer/loop/distributed.py", "socket")}  # processes that train together
    found = set()
    for path in shipped_files():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {(name, m.split(".")[0]) for m in modules if m.split(".")[0] in clients}
        for word in ("load_state_dict_from_url", "torch.hub", "snapshot_download", "hf_hub_download"):
            assert word not in text, (name, word)
    assert found - allowed == set()
