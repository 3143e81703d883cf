"""What went wrong is said where people look: once, on the input it is about, and in full."""

from __future__ import annotations

import inspect

import pytest

from tests.page_scripts import drive, needs_node

pytest_plugins = ["tests.nodes_fixtures"]


def test_types_of_errors_have_short_names(pack):
    for name in pack.rc.errors.__all__:
        kind = getattr(pack.rc.errors, name)
        assert f"{kind.__module__}.{kind.__qualname__}" == f"reganie_core.errors.{name}"  # ComfyUI shows this


def test_a_sentence_comes_once(pack):
    """ComfyUI gives VALIDATE_INPUTS's one answer to every input that the function names."""
    for name, cls in pack.nodes.items():
        if hasattr(cls, "VALIDATE_INPUTS"):
            asked = inspect.getfullargspec(cls.VALIDATE_INPUTS)
            assert len(asked.args) == 2 and asked.varkw is None, name  # cls and one input


def test_lists_take_names_that_are_not_on_them(pack):
    """An unused name in a saved graph stops nothing; a name that leaves its folder stops before anything runs."""
    options = pack.nodes["DyStyleEdit"].INPUT_TYPES()["optional"]["editor_name"][1]["options"]
    assert "somebody/elses.safetensors" in options and list(options)[0] in options
    for name in ("../../secret.pt", "/etc/passwd", "", None, 3, "x" * 2000):
        assert name not in options


@pytest.mark.parametrize("text", ["头发", "眼镜=戴上"])
def test_chinese_is_readable(pack, text):
    with pytest.raises(pack.rc.ReganieError) as told:
        pack.rc.parse_edits(f"{text}\u202e")  # direction marks and the like stay escaped
    assert "头发" in str(told.value) or "眼镜" in str(told.value)
    assert "\u202e" not in str(told.value)


@needs_node
def test_the_page_shows_the_whole_sentence(tmp_path):
    found = drive(tmp_path, """
const errors = [{ type: "custom_validation_failed", details: "edits - Cannot read the edit 'x'." }];
const response = { node_errors: { 5: { class_type: "DyStyleEdit", errors } } };
globalThis.api.queuePrompt = async () => {
  if (page.partly) return { prompt_id: "1", ...response };
  throw Object.assign(new Error("refused"), { response });
};
await import("./extensions/reganie/reganie.js");
const checks = page.extensions["reganie.checks"];
const met = (name, display_name, pack) =>
  checks.beforeRegisterNodeDef({}, { name, display_name, python_module: `custom_nodes.${pack}` });
met("DyStyleEdit", "DyStyle Edit", "reganie");
met("Foreign", "Foreign", "other");
checks.setup();
emit("execution_error", { node_type: "DyStyleEdit", exception_message: "The latent has 14 style vectors." });
emit("execution_error", { node_type: "Foreign", exception_message: "not ours" });
const refused = await api.queuePrompt().catch((error) => error.message);
page.partly = true;   // another output of the graph runs, so the server takes it and names the rest
await api.queuePrompt();
found = { refused, toasts: page.toasts.map(({ severity, summary, detail }) => [severity, summary, detail]) };""")
    assert found["refused"] == "refused", "the page must still learn of it"
    assert found["toasts"] == [["error", "DyStyle Edit", "The latent has 14 style vectors."],
                               *[["error", "DyStyle Edit", "Cannot read the edit 'x'."]] * 2]
