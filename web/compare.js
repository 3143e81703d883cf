// Before and After: two pictures, one over the other; the pointer is the border between them.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const NODE = "BeforeAfter";
const HEIGHT = 360;

const address = (file) => api.apiURL(`/view?${new URLSearchParams(file)}`);

function layer() {
  const image = document.createElement("img");
  image.draggable = false;
  Object.assign(image.style, { position: "absolute", inset: "0", width: "100%", height: "100%", objectFit: "contain" });
  return image;
}

function setUp(node) {
  const element = document.createElement("div");
  element.className = "reganie-compare";
  Object.assign(element.style, { position: "relative", width: "100%", height: "100%", minHeight: `${HEIGHT - 20}px`, overflow: "hidden", fontSize: "12px" });
  const state = { pairs: [], index: 0, left: layer(), right: layer(), border: document.createElement("div"), bar: document.createElement("button") };
  Object.assign(state.border.style, { position: "absolute", top: "0", bottom: "0", width: "2px", background: "#fff", opacity: "0.7", pointerEvents: "none" });
  Object.assign(state.bar.style, { position: "absolute", left: "4px", bottom: "4px", font: "inherit", display: "none" });
  state.bar.type = "button";
  state.bar.title = "Show the next pair.";
  element.append(state.left, state.right, state.border, state.bar);
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
    serialize: false, hideOnZoom: false, getMinHeight: () => HEIGHT, getValue: () => "", setValue: () => {},
  });
  widget.serialize = false;
  node.reganieCompare = state;
  node.setSize?.([Math.max(node.size[0], 300), Math.max(node.size[1], HEIGHT + 80)]);
}

function show(state) {
  const pair = state.pairs[state.index];
  if (!pair) return;
  [state.left.src, state.right.src] = pair.map(address);
  for (const part of [state.left, state.right, state.border]) part.style.visibility = "";
  state.bar.style.display = state.pairs.length > 1 ? "" : "none";
  state.bar.textContent = `${state.index + 1} / ${state.pairs.length}`;
}

app.registerExtension({
  name: "reganie.compare",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData?.name !== NODE || !nodeData?.input?.required?.before) return;
    const { onNodeCreated, onExecuted } = nodeType.prototype;
    nodeType.prototype.onNodeCreated = function (...values) {
      const result = onNodeCreated?.apply(this, values);
      setUp(this);
      return result;
    };
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const state = this.reganieCompare;
      const [before, after] = [output?.reganie_before ?? [], output?.reganie_after ?? []];
      if (!state || !before.length) return;
      state.pairs = before.map((file, i) => [file, after[i]]);
      state.index = Math.min(state.index, state.pairs.length - 1);
      show(state);
    };
  },
});
