// DyStyle Edit: one slider for each attribute of the editor in use. The server names the attributes with their ranges;
// the values live in the node's one "edits" text, so that saved graphs need nothing of this file.
// Names and descriptions come from files and are only ever shown as text.
import { app } from "../../scripts/app.js";
import { LOADERS, ask, editorOf, forget, widgetOf } from "./controls.js";
import { formatEdits, parseEdits, sliderOf } from "./edits.js";
import { requestRun } from "./live.js";
import { after, giveKeysBack, keepOnPage, make, oneEntry, plain } from "./page.js";
import { say } from "./text.js";
import { toast } from "./toast.js";

const NODE = "DyStyleEdit";
const ROW = 24;
const states = new Map(); // node -> {element, widget, key, controls, told}

async function refresh(node) {
  const state = states.get(node);
  if (!state) return;
  const source = editorOf(node, "dystyle");
  const key = source && new URLSearchParams(source).toString();
  if (key !== state.key || !state.controls) {
    state.key = key;
    const answer = key ? await ask(source) : { error: say("The sliders show once a loader is connected to editor.") };
    if (state.key !== key || !states.has(node)) return; // another editor was chosen meanwhile
    state.controls = Array.isArray(answer.controls) ? answer.controls : [];
    state.absolute = Boolean(answer.accepts_targets);
    state.message = answer.error ? String(answer.error) : "";
    build(node, state);
  }
  sync(node, state);
}

function build(node, state) {
  state.rows = new Map();
  const live = make("input", { type: "checkbox", checked: Boolean(node.properties?.reganie_live) });
  live.addEventListener("change", () => oneEntry(() => { node.properties.reganie_live = live.checked; }));
  const label = make("label",
    { title: say("Run the graph again while a slider moves, here or on Rectify. Only what depends on it is computed.") },
    { display: "flex", gap: "4px", alignItems: "center", flex: "1" });
  label.append(live, make("span", { textContent: say("run while moving") }));
  const reset = make("button", { type: "button", textContent: say("reset"), title: say("Set everything back to no change.") }, { font: "inherit" });
  reset.addEventListener("click", () => write(node, new Map()));
  const head = line();
  head.append(label, reset);
  state.element.replaceChildren(head);
  if (state.message) state.element.append(make("div", { textContent: state.message.slice(0, 300) }, { padding: "4px 0" }));
  for (const control of state.controls) state.element.append(control.kind === "binary" ? choice(node, state, control) : slider(node, state, control));
  const count = state.controls.length + (state.message ? 3 : 1);
  state.height = count * ROW + 28;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width, 340), Math.max(node.size[1], height)]);
  node.setDirtyCanvas?.(true, true);
}

function line(control) {
  const row = make("div", {}, { display: "flex", alignItems: "center", gap: "6px", height: `${ROW}px` });
  if (control) {
    const unit = control.unit ? ` ${say(control.unit)}` : "";
    row.title = `${control.description || control.name} (${control.minimum} to ${control.maximum}${unit})`;
    row.append(make("span", { textContent: say(control.name) }, { width: "84px", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }));
  }
  return row;
}

function slider(node, state, control) {
  const row = line(control);
  const range = make("input", { type: "range" }, { flex: "1", minWidth: "60px" });
  range.dataset.control = control.name;
  const number = make("input", { type: "number", step: "any" }, { width: "56px", font: "inherit" });
  const mode = make("button", { type: "button" }, { width: "22px", font: "inherit", padding: "0" });
  const show = (edit) => {
    const absolute = edit?.mode === "absolute";
    const form = sliderOf(control, absolute);
    Object.assign(range, { min: form.min, max: form.max, step: form.step });
    const value = edit && edit.mode !== "switch" ? edit.value : absolute ? control.default : 0;
    range.value = value;
    number.value = Number(value.toFixed(6));
    mode.textContent = absolute ? "=" : "\u0394";
    mode.title = say(absolute ? "An absolute value. Click for a change." : "A change. Click for an absolute value.");
    mode.style.display = state.absolute ? "" : "none";
    row.absolute = absolute;
  };
  const set = (value) => put(node, control.name, { mode: row.absolute ? "absolute" : "change", value });
  range.addEventListener("input", () => set(Number(range.value)));
  number.addEventListener("change", () => Number.isFinite(number.valueAsNumber) && set(number.valueAsNumber));
  range.addEventListener("dblclick", () => put(node, control.name, null));
  mode.addEventListener("click", () => put(node, control.name, row.absolute ? null : { mode: "absolute", value: control.default }));
  row.append(range, number, make("span", { textContent: control.unit === "degrees" ? "\u00b0" : control.unit.slice(0, 4) }, { width: "20px" }), mode);
  state.rows.set(control.name, show);
  return row;
}

function choice(node, state, control) {
  const row = line(control);
  const select = make("select", {}, { flex: "1", font: "inherit" });
  select.dataset.control = control.name;
  for (const [value, text] of [["", "as it is"], ["on", "on"], ["off", "off"]]) select.append(make("option", { value, textContent: say(text) }));
  select.addEventListener("change", () => put(node, control.name, select.value ? { mode: "switch", value: select.value === "on" } : null));
  row.append(select);
  state.rows.set(control.name, (edit) => {
    const on = edit?.mode === "switch" ? edit.value : edit && edit.value > 0;
    select.value = !edit || edit.value === 0 ? "" : on ? "on" : "off";
  });
  return row;
}

function put(node, name, edit) {
  const edits = parseEdits(widgetOf(node, "edits")?.value) ?? new Map();
  if (!edit || (edit.mode === "change" && edit.value === 0)) edits.delete(name);
  else edits.set(name, edit);
  write(node, edits);
}

function write(node, edits) {
  const widget = widgetOf(node, "edits");
  if (!widget) return;
  oneEntry(() => {
    widget.value = formatEdits(edits);
    widget.callback?.(widget.value); // also tells the newer page, and comes back to sync()
    node.setDirtyCanvas?.(true, true);
    node.graph?.change?.();
  });
  if (node.properties?.reganie_live) requestRun();
}

// Bring the sliders to what the text says; a text that cannot be read is left for the server to explain.
function sync(node, state) {
  const edits = parseEdits(widgetOf(node, "edits")?.value);
  if (!edits || !state.rows) return;
  const linked = node.inputs?.some((input) => input.widget?.name === "edits" && input.link != null);
  for (const part of state.element.querySelectorAll("input, select, button")) part.disabled = linked && part.type !== "checkbox";
  for (const [name, show] of state.rows) show(edits.get(name));
  const unknown = state.controls.length ? [...edits.keys()].filter((name) => !state.rows.has(name)) : [];
  const told = `${state.key} ${unknown}`;
  if (unknown.length && state.told !== told) {
    state.told = told;
    toast("warn", say("DyStyle Edit: controls that do not exist"),
      say("The editor in use has no {0}. It has: {1}. Remove them from edits, or choose the editor this graph was made for.",
        unknown.join(", "), [...state.rows.keys()].join(", ")));
  }
}

function setUp(node) {
  const element = make("div", { className: "reganie-sliders" }, { fontSize: "12px", color: "var(--input-text, #ddd)", overflow: "hidden" });
  for (const event of ["pointerdown", "dblclick"]) element.addEventListener(event, (e) => e.target !== element && e.stopPropagation());
  const state = { element, height: ROW, key: undefined, controls: null, told: "" };
  states.set(node, state);
  giveKeysBack(element);
  const height = () => state.height;
  const widget = node.addDOMWidget("sliders", "reganie_sliders", element, {
    serialize: false, hideOnZoom: false, hideInPanel: true, getMinHeight: height, getMaxHeight: height, getValue: () => "", setValue: () => {},
  });
  widget.serialize = false; // neither in saved graphs nor in what is queued
  for (const name of ["edits", "editor_name"]) {
    const own = widgetOf(node, name);
    if (!own) continue;
    const before = own.callback;
    own.callback = function (...values) {
      const result = before?.apply(this, values);
      queueMicrotask(() => refresh(node));
      return result;
    };
  }
}

const refreshAll = () => { for (const node of states.keys()) refresh(node); };
const soon = () => setTimeout(refreshAll, 0);

app.registerExtension({
  name: "reganie.sliders",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData?.name === NODE && nodeData?.input?.required?.edits) {
      const back = (node) => states.has(node) && keepOnPage(node, "sliders", states.get(node).element);
      after(nodeType, "onNodeCreated", (node) => { setUp(node); soon(); });
      after(nodeType, "onConfigure", (node) => { back(node); soon(); });
      after(nodeType, "onAdded", back);
      after(nodeType, "onConnectionsChange", soon);
      after(nodeType, "onRemoved", (node) => states.delete(node));
    } else if (LOADERS[plain(nodeData?.name)]) {
      after(nodeType, "onNodeCreated", (node) => {
        const widget = widgetOf(node, LOADERS[plain(nodeData.name)][0]);
        if (widget) {
          const before = widget.callback;
          widget.callback = function (...values) {
            soon();
            return before?.apply(this, values);
          };
        }
      });
    }
  },
  afterConfigureGraph: soon,
  refreshComboInNodes() { // "R": files may have been replaced
    forget();
    for (const state of states.values()) state.key = undefined;
    soon();
  },
});
