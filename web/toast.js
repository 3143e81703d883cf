// Short messages in a corner of the page, as plain text.
import { app } from "../../scripts/app.js";

export function toast(severity, summary, detail) {
  const show = app.extensionManager?.toast?.add;
  if (show) app.extensionManager.toast.add({ severity, summary, detail: String(detail).slice(0, 1000), life: 30000 });
  else console.warn(`${summary}: ${detail}`);
}
