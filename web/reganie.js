// Two small services of the page: say when another node pack has taken one of our node names, and show notices of nodes.
// Everything is shown as plain text.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const OURS = new Set([
  "LoadReGANIE", "LoadStyleGAN", "LoadE4E", "LoadDirections", "LoadRectifier", "PortraitExample",
  "E4EInvert", "DirectionEdit", "ComputeDelta", "Rectify", "SampleLatent", "Synthesize",
]);
// This file is served as /extensions/<folder of the pack>/reganie.js, and ComfyUI calls our module custom_nodes.<folder>.
const FOLDER = decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1]?.split("/")[0] ?? "");
const taken = new Map();

function toast(severity, summary, detail) {
  const show = app.extensionManager?.toast?.add;
  if (show) app.extensionManager.toast.add({ severity, summary, detail, life: 20000 });
  else console.warn(`${summary}: ${detail}`);
}

app.registerExtension({
  name: "reganie.checks",
  beforeRegisterNodeDef(nodeType, nodeData) {
    const module = nodeData?.python_module;
    if (FOLDER && OURS.has(nodeData?.name) && module && module !== `custom_nodes.${FOLDER}`) {
      taken.set(nodeData.name, String(module).replace(/^custom_nodes\./, ""));
    }
  },
  setup() {
    for (const [node, pack] of taken) {
      toast("warn", "ReGANIE: a node name is taken",
        `The node pack "${pack}" also has a node named ${node}, and ComfyUI uses that one. ` +
        "ReGANIE graphs with this node will not run until one of the two packs is disabled.");
    }
    api.addEventListener("reganie.notice", (event) => {
      toast("warn", String(event.detail?.title ?? "ReGANIE").slice(0, 80), String(event.detail?.text ?? "").slice(0, 600));
    });
  },
});
