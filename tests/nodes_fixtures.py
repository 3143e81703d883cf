"""Fixtures of the node tests: the pack loaded against stand-ins, with the tiny domain as the packaged one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.host_stubs import host_modules, load_pack


@pytest.fixture(scope="session")
def loaded_pack(tmp_path_factory: pytest.TempPathFactory, tiny_domain: Path) -> SimpleNamespace:
    """.nodes (the mapping), .rc (the pack's own copy of the core), .host, .sub(name) (a file of nodes/)."""
    base = tmp_path_factory.mktemp("comfy")
    host = host_modules(base)
    module = load_pack(host)
    rc = importlib.import_module(module.__name__ + ".reganie_core")
    rc.domains.PACKAGED["portraits"] = tiny_domain
    return SimpleNamespace(
        module=module,
        nodes=module.NODE_CLASS_MAPPINGS,
        rc=rc,
        host=host,
        base=base,
        sub=lambda name: importlib.import_module(f"{module.__name__}.nodes.{name}"),
    )


@pytest.fixture
def pack(loaded_pack: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The loaded pack with a clean record of what the host saw."""
    state = loaded_pack.host.state
    state.loads.clear(), state.bars.clear(), state.notices.clear()
    state.cancel = False
    yield loaded_pack
    state.cancel = False
