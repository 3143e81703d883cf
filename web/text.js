// What our own part of the page says, in the language of the page.
import { app } from "../../scripts/app.js";

const CHINESE = {
  "run while moving": "移动时运行",
  "Run the graph again while a slider moves, here or on Rectify. Only what depends on it is computed.":
    "滑块移动时（这里或 Rectify 上的）重新运行工作流。只计算受影响的部分。",
  "reset": "重置",
  "Set everything back to no change.": "全部恢复为不改变。",
  "as it is": "保持原样",
  "on": "有",
  "off": "无",
  "An absolute value. Click for a change.": "绝对值。点击改为变化量。",
  "A change. Click for an absolute value.": "变化量。点击改为绝对值。",
  "Run the graph: the two pictures appear here.": "运行工作流：两张图片会显示在这里。",
  "Show the next pair.": "显示下一对图片。",
  "The sliders show once a loader is connected to editor.": "将加载器连接到 editor 后显示滑块。",
  "DyStyle Edit: controls that do not exist": "DyStyle 编辑：不存在的控制项",
  "The editor in use has no {0}. It has: {1}. Remove them from edits, or choose the editor this graph was made for.":
    "当前编辑器没有 {0}。它有：{1}。请从 edits 中删除它们，或选择制作此工作流时使用的编辑器。",
  "ReGANIE: a node name is taken": "ReGANIE：节点名称被占用",
  "The node pack \"{0}\" also has a node named {1}, and ComfyUI uses that one. ReGANIE graphs with this node will not run until one of the two packs is disabled.":
    "节点包“{0}”也有名为 {1} 的节点，ComfyUI 使用的是它的节点。在停用两个节点包之一以前，含有此节点的 ReGANIE 工作流无法运行。",
  "The node pack \"{0}\" also has a node named {1}, and ComfyUI uses ReGANIE's. Graphs of the other pack with this node will not run until one of the two packs is disabled.":
    "节点包“{0}”也有名为 {1} 的节点，ComfyUI 使用的是 ReGANIE 的节点。在停用两个节点包之一以前，另一个节点包含有此节点的工作流无法运行。",
  "Read me": "说明",
  "yaw": "左右转头", "pitch": "抬头低头", "smile": "微笑", "age": "年龄", "glasses": "眼镜", "eye_openness": "睁眼程度",
  "beard": "胡须", "hair_length": "头发长度", "hair_lightness": "头发深浅", "skin_tone": "肤色", "light_azimuth": "光线方向",
  "light_elevation": "光线高度", "degrees": "度",
};

// English text -> the page's language; {0}, {1} are replaced by the values.
export function say(text, ...values) {
  const found = isChinese() ? (CHINESE[text] ?? text) : text;
  return values.reduce((sentence, value, i) => sentence.replaceAll(`{${i}}`, String(value)), found);
}

export function isChinese() {
  let locale = "";
  try {
    locale = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? app.ui?.settings?.getSettingValue?.("Comfy.Locale") ?? "";
  } catch { /* an older page without this setting is English */ }
  return String(locale).toLowerCase().startsWith("zh");
}
