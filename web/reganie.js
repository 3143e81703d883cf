// Small services of the page: say when another node pack has one of our node names, show notices and errors of our nodes
// in full, and list our templates in their order. Everything is shown as plain text.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { plain } from "./page.js";
import { say } from "./text.js";
import { toast } from "./toast.js";

// This file is served as /extensions/<folder of the pack>/reganie.js, and ComfyUI calls our module custom_nodes.<folder>.
const FOLDER = decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1]?.split("/")[0] ?? "");
const ours = new Map(); // id of a node of ours -> its name on the page

async function tellConflicts() {
  const answer = await api.fetchApi("/reganie/conflicts");
  for (const { node, pack, used } of (await answer.json()).conflicts ?? []) {
    const text = used === "theirs"
      ? "The node pack \"{0}\" also has a node named {1}, and ComfyUI uses that one. ReGANIE graphs with this node will not run until one of the two packs is disabled."
      : "The node pack \"{0}\" also has a node named {1}, and ComfyUI uses ReGANIE's. Graphs of the other pack with this node will not run until one of the two packs is disabled.";
    toast("warn", say("ReGANIE: a node name is taken"), say(text, pack, node));
  }
}

// The page's own message says only that a run failed; the sentence that helps is what the node said.
function tellError(id, text) {
  if (text && ours.has(id)) toast("error", ours.get(id) || plain(id), text);
}

function tellRefused(problems) {
  for (const { class_type: id, errors } of Object.values(problems ?? {})) {
    for (const error of errors ?? []) {
      if (error.type === "custom_validation_failed") tellError(id, String(error.details ?? "").replace(/^[^ ]+ - /, ""));
    }
  }
}

app.registerExtension({
  name: "reganie.checks",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (FOLDER && nodeData?.python_module === `custom_nodes.${FOLDER}`) ours.set(nodeData.name, nodeData.display_name);
  },
  setup() {
    tellConflicts().catch(() => {});
    api.addEventListener("reganie.notice", (event) => {
      toast("warn", String(event.detail?.title ?? "ReGANIE").slice(0, 80), String(event.detail?.text ?? ""));
    });
    api.addEventListener("execution_error", ({ detail }) => tellError(detail?.node_type, detail?.exception_message));
    const { queuePrompt, getWorkflowTemplates } = api;
    if (queuePrompt) {
      api.queuePrompt = async function (...values) {
        try {
          const answer = await queuePrompt.apply(this, values);
          tellRefused(answer?.node_errors); // what does not hang on the refused node runs
          return answer;
        } catch (error) {
          tellRefused(error?.response?.node_errors);
          throw error;
        }
      };
    }
    if (getWorkflowTemplates) { // the server lists files as the disk has them; ours are numbered
      api.getWorkflowTemplates = async function (...values) {
        const found = await getWorkflowTemplates.apply(this, values);
        found?.[FOLDER]?.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
        return found;
      };
    }
  },
});
