"""After undo or a change of tab the node is new; what the page shows of it must be, too. tests/browser_history.py does
the same in a real page."""

from __future__ import annotations

from tests.page_scripts import drive, needs_node

pytestmark = needs_node


def test_the_new_nodes_element_takes_the_old_ones_place(tmp_path):
    found = drive(tmp_path, """
const { keepOnPage } = await import("./extensions/reganie/page.js");
const graphOf = () => ({ nodes: {}, getNodeById(id) { return this.nodes[id]; } });
const put = (graph, id) => (graph.nodes[id] = { id, graph });
const graph = app.canvas.graph = graphOf();
const [old, fresh, elsewhere] = ["div", "div", "div"].map((tag) => new Element(tag));
old.isConnected = true;
keepOnPage(put(graph, 7), "sliders", old);
await later(20);
keepOnPage(put(graphOf(), 7), "sliders", elsewhere);   // a node of a graph that is not shown
keepOnPage(put(graph, 7), "sliders", fresh);
await later(400);                                      // the removed node looks again meanwhile
found = [old.isConnected, fresh.isConnected, elsewhere.isConnected];
console.log(JSON.stringify(found)); process.exit(0);""")
    assert found == [False, True, False]


def test_before_and_after_shows_again_what_the_page_remembers(tmp_path):
    found = drive(tmp_path, """
await import("./extensions/reganie/compare.js");
class Node { size = [0, 0]; addDOMWidget(name, type, element, options) { this.options = options; return {}; } }
const told = { name: "ReGANIE_BeforeAfter", input: { required: { before: 1 } } };
page.extensions["reganie.compare"].beforeRegisterNodeDef(Node, told);
const file = (filename) => ({ filename, subfolder: "", type: "temp" });
app.graph = app.canvas.graph = { getNodeById: () => node };
app.nodeOutputs["7"] = { reganie_before: [file("a.png")], reganie_after: [file("b.png")] };
const node = Object.assign(new Node(), { id: 7, graph: app.graph });
node.onNodeCreated(); node.onConfigure();
await later(100);
found = [node.reganieCompare.left.src, node.reganieCompare.right.src, node.options.hideInPanel];
console.log(JSON.stringify(found)); process.exit(0);""")
    assert "a.png" in found[0] and "b.png" in found[1] and found[2] is True


def test_a_drag_is_one_entry_of_the_history_and_gives_the_keys_back(tmp_path):
    found = drive(tmp_path, """
const { giveKeysBack, oneEntry } = await import("./extensions/reganie/page.js");
const range = new Element("input"); range.type = "range";
giveKeysBack(range);
found = { moves: [] };
pointer("pointerdown");
for (let i = 0; i < 9; i++) { oneEntry(() => {}); found.moves.push(page.entries); }
pointer("pointerup"); pointer("pointerup", range);
await later(20);
found.drag = page.entries;
oneEntry(() => {});   // the keyboard, a button: an entry each
found.key = page.entries;
found.held = page.held;
found.blurred = range.blurred;""")
    assert found == {"moves": [0] * 9, "drag": 1, "key": 2, "held": 0, "blurred": 1}
