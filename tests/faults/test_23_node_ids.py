"""Other packs use some of our ids, and ComfyUI silently takes whichever pack comes last."""

from __future__ import annotations

import sys

from tests.host_stubs import ROOT, host_modules, installed, load_pack
from tests.page_scripts import drive, needs_node

CARD = {"LoadStyleGAN", "E4EInvert", "DyStyleEdit", "StyleCLIPEdit", "ComputeDelta", "Rectify"}


class Foreign:
    """Somebody else's node."""

    RELATIVE_PYTHON_MODULE = "custom_nodes.other"


def _load(tmp_path, registered):
    """The pack in a host that has these nodes already; the pack, and what the host has then."""
    from tests.host_stubs import _module

    host = host_modules(tmp_path)
    host.modules["nodes"] = _module("nodes", NODE_CLASS_MAPPINGS=registered, __file__="/somewhere/nodes.py")
    pack = load_pack(host, suffix=f"_{tmp_path.name}")
    return host, pack


def _conflicts(host, pack):
    registered = host.modules["nodes"].NODE_CLASS_MAPPINGS
    with installed({"nodes": host.modules["nodes"]}):
        ids = sys.modules[f"{pack.__name__}.nodes"].IDS
        return ids.conflicts(registered)


def test_only_the_cards_ids_are_bare(tmp_path):
    _, pack = _load(tmp_path, {})
    live = {name for name, node in pack.NODE_CLASS_MAPPINGS.items() if not getattr(node, "DEPRECATED", False)}
    assert {name for name in live if not name.startswith("ReGANIE_")} == CARD | {"LoadReGANIE"}
    for name, node in pack.NODE_CLASS_MAPPINGS.items():
        if name not in live:  # a former id: runs the same, and is not found twice by a search
            assert issubclass(node, pack.NODE_CLASS_MAPPINGS[f"ReGANIE_{name}"])


def test_a_former_id_is_taken_only_where_it_is_free(tmp_path):
    registered = {"AlignFace": Foreign, "SaveLatent": Foreign}
    host, pack = _load(tmp_path, registered)
    assert not {"AlignFace", "SaveLatent"} & set(pack.NODE_CLASS_MAPPINGS)
    assert {"SampleLatent", "ReGANIE_AlignFace", "ReGANIE_SaveLatent"} <= set(pack.NODE_CLASS_MAPPINGS)
    registered |= pack.NODE_CLASS_MAPPINGS
    assert _conflicts(host, pack) == []


def test_a_conflict_is_known_whichever_pack_comes_first(tmp_path):
    (tmp_path / "first").mkdir(), (tmp_path / "last").mkdir()
    host, pack = _load(tmp_path / "last", before := {"LoadStyleGAN": Foreign})
    before |= pack.NODE_CLASS_MAPPINGS
    assert _conflicts(host, pack) == [{"node": "LoadStyleGAN", "pack": "other", "used": "ours"}]
    host, pack = _load(tmp_path / "first", after := {})
    after |= pack.NODE_CLASS_MAPPINGS | {"LoadStyleGAN": Foreign}
    assert _conflicts(host, pack) == [{"node": "LoadStyleGAN", "pack": "other", "used": "theirs"}]


def test_our_own_graphs_use_ids_that_nobody_else_has():
    for path in (ROOT / "workflows").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        for name in ("AlignFace", "SampleLatent", "BlendLatents", "BeforeAfter", "LoadE4E", "DirectionEdit"):
            assert f'"type": "{name}"' not in text and f'"class_type": "{name}"' not in text, (path.name, name)


@needs_node
def test_the_page_says_it(tmp_path):
    found = drive(tmp_path, """
page.answers["/reganie/conflicts"] = { conflicts: [{ node: "LoadStyleGAN", pack: "other", used: "theirs" },
                                                   { node: "Rectify", pack: "third", used: "ours" }] };
await import("./extensions/reganie/reganie.js");
page.extensions["reganie.checks"].setup();
await later(10);
found = page.toasts.map((message) => message.detail);""")
    assert len(found) == 2 and '"other" also has a node named LoadStyleGAN, and ComfyUI uses that one' in found[0]
    assert '"third" also has a node named Rectify, and ComfyUI uses ReGANIE\'s' in found[1]
