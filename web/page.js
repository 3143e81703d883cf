// What our elements on nodes need from the page: keys, one history entry for a drag, and a place after undo.
import { app } from "../../scripts/app.js";

// ---- one entry in the history for a drag, however many runs it makes
let pressed = false;
let held = false;

// Call before changing the graph; while a pointer is down all changes become one entry, which ends when it is let go.
export function oneEntry(change) {
  if (held) return change();
  app.canvas?.emitBeforeChange?.();
  held = true;
  try {
    return change();
  } finally {
    if (!pressed) letGo();
  }
}

function letGo() {
  if (!held) return;
  held = false;
  app.canvas?.emitAfterChange?.();
}

function up() {
  pressed = false;
  setTimeout(() => { if (!pressed) letGo(); }, 0); // after the last change that the release itself makes
}

window.addEventListener("pointerdown", () => { pressed = true; }, true);
for (const event of ["pointerup", "pointercancel"]) window.addEventListener(event, up, true);
window.addEventListener("blur", up); // of the window itself; those of elements do not come this way

// ---- Ctrl+Z and Delete belong to the graph again once the pointer is off a slider: an input with the focus swallows them
export function giveKeysBack(element) {
  const leave = (event) => {
    const part = event.target;
    if (part.type !== "number" && part.matches?.("input, select, button")) setTimeout(() => toGraph(part), 0);
  };
  element.addEventListener("pointerup", leave);
  element.addEventListener("change", (event) => { if (event.target.tagName === "SELECT" || event.target.type === "checkbox") leave(event); });
  element.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target.type === "number") toGraph(event.target); });
}

function toGraph(part) {
  part.blur();
  app.canvas?.canvas?.focus?.({ preventScroll: true }); // some keys are heard there only
}

// ---- after undo or a change of tab there is a new node with the old number
const LATER = [0, 60, 250, 1000, 3000]; // the page builds in steps, without saying when it is done
const shown = new Map(); // "number:widget" -> element

// Nodes 2.0 keeps the removed node's element on the page: put the new node's in its place.
export function keepOnPage(node, name, element, action) {
  const look = () => {
    if (node.graph && node.graph === app.canvas?.graph && node.graph.getNodeById(node.id) === node) {
      const key = `${node.id}:${name}`;
      const old = shown.get(key);
      if (old && old !== element && old.isConnected && !element.isConnected) old.replaceWith(element);
      if (element.isConnected || !old?.isConnected) shown.set(key, element);
    }
    action?.();
  };
  for (const delay of LATER) setTimeout(look, delay);
}

// The files that a node has put out, as the page remembers them.
export function outputOf(node) {
  const root = !node.graph || node.graph === (app.rootGraph ?? app.graph) || node.graph.isRootGraph;
  const key = root ? String(node.id) : `${node.graph.id}:${node.id}`;
  return app.nodeOutputs?.[key];
}

export function make(tag, properties = {}, style = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.style, style);
  return element;
}

export function after(type, name, action) {
  const before = type.prototype[name];
  type.prototype[name] = function (...values) {
    const result = before?.apply(this, values);
    action(this, ...values);
    return result;
  };
}

// Node ids carry the pack's name; graphs saved before that know them without it.
export const plain = (type) => String(type ?? "").replace(/^ReGANIE_/, "");
