"""A node that was just placed does something that is seen, whatever control is chosen."""

from __future__ import annotations

from tests.page_scripts import drive, needs_node

pytest_plugins = ["tests.nodes_fixtures"]


def test_the_first_amounts_are_clear_turns(pack):
    strength = pack.nodes["DirectionEdit"].INPUT_TYPES()["required"]
    sweep = pack.nodes["EditSweep"].INPUT_TYPES()["required"]
    assert strength["direction"][1]["default"] == sweep["control"][1]["default"] == "yaw"
    assert strength["strength"][1]["default"] == sweep["stop"][1]["default"] == -sweep["start"][1]["default"] == 20.0


@needs_node
def test_choosing_another_control_sets_its_own_amount(tmp_path):
    found = drive(tmp_path, """
page.answers["/reganie/controls"] = { controls: [
  { name: "yaw", kind: "numeric", minimum: -40, maximum: 40 },
  { name: "smile", kind: "numeric", minimum: -1, maximum: 1 },
  { name: "beard", kind: "numeric", minimum: 0, maximum: 1 },
  { name: "glasses", kind: "binary", minimum: 0, maximum: 1 }] };
await import("./extensions/reganie/amounts.js");
const set = page.extensions["reganie.amounts"].nodeCreated;
const widgets = (values) => Object.entries(values).map(([name, value]) => ({ name, value }));
async function choose(type, list, values, name) {
  const node = { comfyClass: type, widgets: widgets({ [list]: "yaw", ...values, editor_name: "packaged" }) };
  set(node); node.onConfigure();
  const widget = node.widgets[0];
  widget.value = name; widget.callback(name);
  await later(10);
  return node.widgets.slice(1, -1).map((item) => item.value);
}
found = {
  smile: await choose("ReGANIE_DirectionEdit", "direction", { strength: 20 }, "smile"),
  same: await choose("ReGANIE_DirectionEdit", "direction", { strength: 7 }, "yaw"),
  glasses: await choose("DirectionEdit", "direction", { strength: 20 }, "glasses"),
  unknown: await choose("DirectionEdit", "direction", { strength: 20 }, "wings"),
  sweep: await choose("ReGANIE_EditSweep", "control", { start: -20, stop: 20, mode: "change" }, "beard"),
  absolute: await choose("ReGANIE_EditSweep", "control", { start: -20, stop: 20, mode: "absolute" }, "smile"),
};""")
    assert found == {"smile": [0.5], "same": [7], "glasses": [1], "unknown": [20], "sweep": [-0.5, 0.5, "change"],
                     "absolute": [-20, 20, "absolute"]}
