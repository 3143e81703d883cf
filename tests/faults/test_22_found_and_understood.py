"""Nodes that are found, bypassed, told apart and read, in English and Chinese."""

from __future__ import annotations

import json
import re
import warnings

import pytest
import torch

from tests.host_stubs import ROOT, call, picture
from tests.page_scripts import drive, needs_node
from tests.schema_files import former
from tests.workflow_files import notes
from tests.workflow_graphs import GRAPHS

pytest_plugins = ["tests.nodes_fixtures"]
EDITORS = ("DyStyleEdit", "StyleCLIPEdit", "ReGANIE_DirectionEdit", "ReGANIE_EditSweep")


@pytest.mark.parametrize("name", EDITORS)
def test_a_bypassed_editor_passes_code_and_picture_on(pack, name):
    """ComfyUI gives an output of a bypassed node the first input of the same type; without one the wire is dead."""
    cls = pack.nodes[name]
    specs = {key: spec for group in cls.INPUT_TYPES().values() for key, spec in group.items()}
    for output, kind in zip(cls.RETURN_NAMES, cls.RETURN_TYPES, strict=True):
        first = next((key for key, spec in specs.items() if spec[0] == kind), None)
        if output in ("latent", "edited"):
            assert first == {"latent": "latent", "edited": "inversion"}[output]
    assert list(specs)[-1] == "inversion"  # inputs are only appended


def test_templates_wire_what_a_bypass_needs():
    for name in GRAPHS:
        api = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
        for node in api.values():
            if node["class_type"] in EDITORS:
                origin, slot = node["inputs"]["inversion"]
                before = api[node["inputs"]["latent"][0]]["class_type"]
                assert api[origin]["class_type"] == before and slot == 1, (name, node["class_type"])


@pytest.mark.parametrize(("words", "nodes"), [
    ("face edit", EDITORS), ("expression", EDITORS), ("head pose", EDITORS), ("hair", EDITORS), ("age", EDITORS),
    ("pti", ("ReGANIE_InvertImage",)), ("w+", ("ReGANIE_InvertImage",)),
])
def test_a_search_finds_them(pack, words, nodes):
    for name in nodes:
        assert words in pack.nodes[name].SEARCH_ALIASES, name


def test_every_kind_of_wire_has_a_colour(pack):
    kinds = {kind for cls in pack.nodes.values() for kind in cls.RETURN_TYPES if kind.startswith("REGANIE_")}
    text = (ROOT / "web" / "colours.js").read_text(encoding="utf-8")
    colours = dict(re.findall(r"^  (REGANIE_\w+): \"(#[0-9a-f]{6})\"", text, re.M))
    assert set(colours) == kinds and len(set(colours.values())) == len(kinds)


def test_templates_are_titled_and_in_order():
    titles = [told.title for told in GRAPHS.values()]
    assert titles == sorted(titles) and all(re.fullmatch(r"\d [A-Z][\w ,]+", title) for title in titles)
    assert titles[0].endswith("Quick edit") and titles[-1].endswith("Your own checkpoints")


@needs_node
def test_the_page_lists_templates_in_order_and_speaks_chinese(tmp_path):
    found = drive(tmp_path, """
page.locale = "zh";
api.getWorkflowTemplates = async () => ({ reganie: ["8 Own", "10 Last", "1 Quick"], other: ["b", "a"] });
for (const name of ["reganie", "colours", "notes"]) await import(`./extensions/reganie/${name}.js`);
app.canvas.default_connection_color_byType = {};
for (const name of ["reganie.checks", "reganie.colours"]) page.extensions[name].setup();
Object.assign(app.canvas.default_connection_color_byType, { REGANIE_LATENT: "", IMAGE: "#64b5f6" }); // a palette
const note = (value, replaces) => ({ widgets: [{ value }], properties: { reganie_note: { zh: "中文", replaces } } });
const [ours, changed] = [note("English", 7), note("English, changed", 7)];
for (const node of [ours, changed, { widgets: [] }]) page.extensions["reganie.notes"].loadedGraphNode(node);
const { say } = await import("./extensions/reganie/text.js");
found = [await api.getWorkflowTemplates(), app.canvas.default_connection_color_byType.REGANIE_LATENT,
  ours.widgets[0].value, changed.widgets[0].value, say("reset"), say("somebody's own control")];""")
    assert found == [{"reganie": ["1 Quick", "8 Own", "10 Last"], "other": ["b", "a"]}, "#d86fd8", "中文",
                     "English, changed", "重置", "somebody's own control"]


def test_what_the_page_says_is_translated():
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "web").glob("*.js") if path.stem != "text")
    known = (ROOT / "web" / "text.js").read_text(encoding="utf-8")
    for text in re.findall(r'say\(("(?:[^"\\]|\\.)*")', said):
        assert f"{text}:" in known, text
    assert notes("en").keys() == notes("zh").keys() == GRAPHS.keys() | {"own"}
    for path in (ROOT / "workflows").glob("*.json"):
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
            if node["type"] == "MarkdownNote":
                assert node["properties"]["reganie_note"]["replaces"] == len(node["widgets_values"][0])


def test_every_help_page_is_there_in_chinese(pack):
    docs = ROOT / "web" / "docs"
    for name in set(pack.nodes) - former(pack.nodes):
        english, chinese = ((docs / part).read_text(encoding="utf-8") for part in (f"{name}.md", f"{name}/zh.md"))
        assert len(re.findall(r"[\u4e00-\u9fff]", chinese)) > 80, name
        assert re.findall(r"^## (.+)$", chinese, re.M) == ["输入", "输出", "典型连接", "可能出现的问题"], name
        for word in re.findall(r"^- ((?:\*\*\w+\*\*(?:, )?)+)", english, re.M):
            for key in re.findall(r"\w+", word):
                assert f"**{key}**" in chinese, f"{name}: {key}"
        for shown in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", chinese):
            assert (docs / shown).is_file(), (name, shown)  # the page looks beside the English pages


def test_a_comparison_is_a_sheet_of_columns(pack):
    batches = [picture(2, seed=seed) for seed in range(3)]
    cls = pack.sub("sweep")
    rows, columns = cls._side_by_side(batches)
    assert columns == 3
    assert (rows - torch.stack([batch[i] for i in range(2) for batch in batches])).abs().max() < 1e-6
    with pytest.raises(pack.rc.ReganieError, match="as many and of one size"):
        call(pack, "PictureSheet", images=batches[0], images_2=picture(3))


@pytest.fixture(scope="module")
def encoder():
    """The packaged domain's."""
    from reganie_core.domains import load_manifest
    from reganie_core.text import load_text_encoder

    return load_text_encoder(load_manifest("portraits")[0] / "text.safetensors")


@pytest.mark.parametrize(("text", "same", "named"), [
    ("a man in a hat", "a man", ["hat"]),
    ("a man in", "a man", ["in"]),
    ("a man in a big hat with glasses", "a man with glasses", ["hat"]),
    ("remove the glasses", "without glasses", []),
    ("take off his glasses", "without glasses", []),
    ("put on glasses", "with glasses", []),
    ("make him older", "old", []),
    ("a man in glasses", "a man in glasses", []),
])
def test_texts_are_understood_or_their_words_named(encoder, text, same, named):
    from reganie_core import ReganieWarning
    from reganie_core.text import text_embedding

    assert encoder.unknown_words(text) == named
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReganieWarning)
        assert torch.equal(text_embedding(encoder, text), text_embedding(encoder, same))


@pytest.mark.parametrize("text", ["remove the hat", "the", "a zebra", "in"])
def test_a_text_that_says_nothing_is_refused(encoder, text):
    from reganie_core import ReganieError
    from reganie_core.text import text_embedding

    with pytest.raises(ReganieError, match="describes nothing that this text encoder knows"):
        text_embedding(encoder, text)
