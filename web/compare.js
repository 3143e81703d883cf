// Before and After: two pictures, one over the other; the pointer is the border between them.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { after, giveKeysBack, keepOnPage, make, outputOf, plain } from "./page.js";
import { say } from "./text.js";

const NODE = "BeforeAfter";
const HEIGHT = 360;

const address = (file) => api.apiURL(`/view?${new URLSearchParams(file)}`);

function layer() {
  const image = make("img", { draggable: false });
  image.addEventListener("error", () => { image.style.visibility = "hidden"; }); // a temporary file that is gone
  Object.assign(image.style, { position: "absolute", inset: "0", width: "100%", height: "100%", objectFit: "contain" });
  return image;
}

function setUp(node) {
  const element = document.createElement("div");
  element.className = "reganie-compare";
  Object.assign(element.style, { position: "relative", width: "100%", height: "100%", minHeight: `${HEIGHT - 20}px`, overflow: "hidden", fontSize: "12px" });
  const state = { pairs: [], index: 0, left: layer(), right: layer(), border: make("div"), bar: make("button"),
    hint: make("div", { textContent: say("Run the graph: the two pictures appear here.") }, { padding: "8px", opacity: "0.6" }) };
  Object.assign(state.border.style, { position: "absolute", top: "0", bottom: "0", width: "2px", background: "#fff", opacity: "0.7", pointerEvents: "none" });
  Object.assign(state.bar.style, { position: "absolute", left: "4px", bottom: "4px", font: "inherit", display: "none" });
  state.bar.type = "button";
  state.bar.title = say("Show the next pair.");
  element.append(state.left, state.right, state.border, state.bar, state.hint);
  const move = (share) => {
    const percent = Math.min(100, Math.max(0, 100 * share));
    state.right.style.clipPath = `inset(0 0 0 ${percent}%)`;
    state.border.style.left = `calc(${percent}% - 1px)`;
  };
  element.addEventListener("pointermove", (event) => {
    const box = element.getBoundingClientRect();
    if (box.width) move((event.clientX - box.left) / box.width);
  });
  state.bar.addEventListener("click", () => { state.index = (state.index + 1) % state.pairs.length; show(state); });
  move(0.5);
  for (const part of [state.left, state.right, state.border]) part.style.visibility = "hidden"; // nothing to compare yet
  const widget = node.addDOMWidget("compare", "reganie_compare", element, {
    serialize: false, hideOnZoom: false, hideInPanel: true, getMinHeight: () => HEIGHT, getValue: () => "", setValue: () => {},
  });
  widget.serialize = false;
  state.element = element;
  giveKeysBack(element);
  node.reganieCompare = state;
  node.setSize?.([Math.max(node.size[0], 300), Math.max(node.size[1], HEIGHT + 80)]);
}

function show(state) {
  const pair = state.pairs[state.index];
  if (!pair) return;
  [state.left.src, state.right.src] = pair.map(address);
  for (const part of [state.left, state.right, state.border]) part.style.visibility = "";
  state.hint.style.display = "none";
  state.bar.style.display = state.pairs.length > 1 ? "" : "none";
  state.bar.textContent = `${state.index + 1} / ${state.pairs.length}`;
}

function take(node, output) {
  const state = node.reganieCompare;
  const [before, after] = [output?.reganie_before ?? [], output?.reganie_after ?? []];
  if (!state || !before.length) return;
  state.pairs = before.map((file, i) => [file, after[i]]);
  state.index = Math.min(state.index, state.pairs.length - 1);
  show(state);
}

// Undo and a change of tab make the node anew; the page still knows what it has put out.
const remember = (node) => { if (node.reganieCompare && !node.reganieCompare.pairs.length) take(node, outputOf(node)); };

app.registerExtension({
  name: "reganie.compare",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (plain(nodeData?.name) !== NODE || !nodeData?.input?.required?.before) return;
    const back = (node) => node.reganieCompare && keepOnPage(node, "compare", node.reganieCompare.element, () => remember(node));
    after(nodeType, "onNodeCreated", setUp);
    after(nodeType, "onConfigure", back);
    after(nodeType, "onAdded", back);
    after(nodeType, "onDrawForeground", remember);
    after(nodeType, "onExecuted", take);
  },
});
