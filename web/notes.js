// The notes of our templates in Chinese where the page is Chinese. A note that somebody has changed is left alone.
import { app } from "../../scripts/app.js";
import { isChinese, say } from "./text.js";

app.registerExtension({
  name: "reganie.notes",
  loadedGraphNode(node) {
    const other = node?.properties?.reganie_note;
    const widget = node?.widgets?.[0];
    if (!other || !widget || !isChinese() || String(widget.value).length !== other.replaces) return;
    if (node.title === "Read me") node.title = say("Read me");
    widget.value = String(other.zh);
    widget.callback?.(widget.value);
  },
});
