// Two small services of the page: say when another node pack has taken one of our node names, and show notices of nodes.
// Everything is shown as plain text.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { toast } from "./toast.js";

// SaveLatent and LoadLatent are ComfyUI's own; ours have names that nobody else uses.
const OURS = new Set([
  "LoadReGANIE", "LoadStyleGAN", "LoadE4E", "LoadDyStyle", "LoadStyleCLIP", "LoadDirections", "LoadRectifier",
  "PortraitExample", "PhotoExample", "E4EInvert", "InvertImage", "DyStyleEdit", "StyleCLIPEdit", "DirectionEdit", "EditSweep", "PictureSheet",
  "AlignFace", "PasteFace", "ComputeDelta", "Rectify", "BeforeAfter", "SampleLatent", "Synthesize", "BlendLatents", "ReGANIE_SaveLatent", "ReGANIE_LoadLatent",
  "SmoothLatents", "MeasureFlicker",
]);
// This file is served as /extensions/<folder of the pack>/reganie.js, and ComfyUI calls our module custom_nodes.<folder>.
const FOLDER = decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1]?.split("/")[0] ?? "");
const taken = new Map();

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
