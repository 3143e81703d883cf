// Which editor a node uses, and what controls the server says it has.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { plain } from "./page.js";

export const LOADERS = { LoadDyStyle: ["file", "name"], LoadDirections: ["file", "name"], LoadReGANIE: ["domain", "domain"] };
const answers = new Map(); // query -> promise of {controls, accepts_targets} or {error}

export const widgetOf = (node, name) => node?.widgets?.find((widget) => widget.name === name);
export const forget = () => answers.clear();

// The loader at the other end of the wire, else the name on the node; null: unknown.
export function editorOf(node, kind) {
  const slot = node.inputs?.findIndex((input) => input.name === "editor") ?? -1;
  if (slot < 0 || node.inputs[slot].link == null) return { kind, name: String(widgetOf(node, "editor_name")?.value ?? "") };
  let origin = originOf(node, slot);
  for (let i = 0; origin && !LOADERS[plain(origin.type)] && i < 50; i++) origin = origin.inputs?.length ? originOf(origin, 0) : null;
  if (!origin) return null;
  const [widget, key] = LOADERS[plain(origin.type)];
  return { kind, [key]: String(widgetOf(origin, widget)?.value ?? "") };
}

const linkOf = (graph, id) => graph?.links?.get?.(id) ?? graph?.links?.[id];

// The node that a wire comes from, through the walls of subgraphs.
function originOf(node, slot) {
  const graph = node.graph;
  const link = linkOf(graph, node.inputs?.[slot]?.link);
  if (!link) return null;
  if (graph.inputNode && link.origin_id === graph.inputNode.id) {
    const outer = allNodes(app.rootGraph ?? app.graph).find((item) => item.subgraph === graph);
    return outer ? originOf(outer, link.origin_slot) : null;
  }
  const origin = graph.getNodeById(link.origin_id);
  const inside = origin?.subgraph;
  if (!inside) return origin;
  const last = linkOf(inside, inside.outputs?.[link.origin_slot]?.linkIds?.[0]);
  return last ? inside.getNodeById(last.origin_id) : null;
}

export function allNodes(graph) {
  return (graph?._nodes ?? []).flatMap((node) => [node, ...(node.subgraph ? allNodes(node.subgraph) : [])]);
}

export async function ask(source) {
  const query = new URLSearchParams(source).toString();
  if (!answers.has(query)) {
    answers.set(query, api.fetchApi(`/reganie/controls?${query}`).then((answer) => answer.json()).catch((error) => {
      answers.delete(query);
      return { error: String(error) };
    }));
  }
  return answers.get(query);
}
