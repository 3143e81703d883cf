// Direction Edit and Edit Sweep: choosing another control sets an amount that shows, in that control's own unit. One
// degree of yaw is nothing, one whole step of age is everything.
import { app } from "../../scripts/app.js";
import { ask, editorOf, widgetOf } from "./controls.js";
import { clearChange } from "./edits.js";
import { plain } from "./page.js";

const NODES = { // kind of node -> [the list of controls, kinds of editors in the order asked, amounts as shares of a clear change]
  DirectionEdit: ["direction", ["directions"], { strength: 1 }],
  EditSweep: ["control", ["dystyle", "directions"], { start: -1, stop: 1 }],
};

async function find(node, kinds, name) {
  for (const kind of kinds) {
    const source = editorOf(node, kind);
    const control = source && (await ask(source)).controls?.find((item) => item.name === name);
    if (control) return control;
  }
  return null;
}

app.registerExtension({
  name: "reganie.amounts",
  nodeCreated(node) {
    const [list, kinds, amounts] = NODES[plain(node.comfyClass)] ?? [];
    const widget = list && widgetOf(node, list);
    if (!widget) return;
    let last = widget.value;
    const { onConfigure } = node;
    node.onConfigure = function (...values) { // a saved graph keeps its amounts
      last = widget.value;
      return onConfigure?.apply(this, values);
    };
    const { callback } = widget;
    widget.callback = function (value, ...values) {
      const result = callback?.call(this, value, ...values);
      if (value !== last) {
        last = value;
        find(node, kinds, value).then((control) => {
          if (!control || widget.value !== value || widgetOf(node, "mode")?.value === "absolute") return;
          for (const [name, share] of Object.entries(amounts)) {
            const amount = widgetOf(node, name);
            if (!amount) continue;
            amount.value = share * clearChange(control);
            amount.callback?.(amount.value);
          }
          node.setDirtyCanvas?.(true, true);
        });
      }
      return result;
    };
  },
});
