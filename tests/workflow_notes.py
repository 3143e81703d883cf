"""The notes in the graphs of workflows/: English, Chinese."""

from __future__ import annotations

OWN = ("For a picture of your own, put **Load Image** in place of *Portrait Example*. The packaged networks know the drawn "
       "portraits only; for photos of people choose networks for faces in the name lists (template 8).")
OWN_ZH = ("要用自己的图片，请用 **加载图像（Load Image）** 代替 *Portrait Example*。随附的网络只认识绘制的人像；要处理真人照片，请在"
          "名称列表中选择人脸网络（模板 8）。")

NOTES: dict[str, tuple[str, str]] = {
    "quick_edit": (
        "## ReGANIE: quick edit\n\nA picture the generator cannot express, turned without losing what makes it "
        "special.\n\n1. Press **Run**.\n2. Move the sliders of **DyStyle Edit** and run again, or tick *run while "
        "moving*.\n3. Move the pointer over **Before and After**.\n\n" + OWN,
        "## ReGANIE：快速编辑\n\n生成器无法表达的图片，转头后也不丢失它的特点。\n\n1. 点击 **运行（Run）**。\n2. 移动 **DyStyle "
        "Edit** 的滑块并再次运行，或勾选 *移动时运行*。\n3. 将指针移到 **Before and After** 上。\n\n" + OWN_ZH),
    "text_edit": (
        "## ReGANIE: edit by text\n\nDescribe what the picture should show; the hat stays.\n\n1. Press **Run**.\n2. Write "
        "another **target**. Words the editor does not know are named in a message.\n3. Raise **threshold** when too "
        "much changes.\n\n" + OWN,
        "## ReGANIE：用文字编辑\n\n描述图片应有的样子；帽子会保留。\n\n1. 点击 **运行（Run）**。\n2. 填写另一个 **target**"
        "（英文）。编辑器不认识的词会在消息中指出。\n3. 改变过多时，提高 **threshold**。\n\n" + OWN_ZH),
    "full_phase_1_and_2": (
        "## ReGANIE: Phase I and Phase II\n\n**Phase I** finds the picture's latent code and edits it. The hat, the hand "
        "or the earrings are gone: the generator cannot express them.\n\n**Phase II** takes the difference between the "
        "picture and its inversion, and paints it back where it belongs *after* the edit.\n\nThe second Rectify does the "
        "same without an edit: the rectified reconstruction.\n\nEvery network has its own loader here. *Load ReGANIE* "
        "replaces all four for one domain.",
        "## ReGANIE：第一阶段与第二阶段\n\n**第一阶段** 求出图片的潜码并编辑它。帽子、手或耳环消失了：生成器无法表达它们。\n\n"
        "**第二阶段** 取图片与其反演之差，并把它画回 *编辑之后* 应在的位置。\n\n第二个 Rectify 在没有编辑的情况下做同样的事：得到"
        "修正后的重建。\n\n这里每个网络都有自己的加载器。*Load ReGANIE* 可代替同一领域的全部四个。"),
    "edit_sweep": (
        "## ReGANIE: edit sweep\n\nOne control over a range, each step rectified with the one difference of the "
        "picture.\n\n1. Press **Run**.\n2. Choose another **control**; its ends follow (degrees for yaw, -1 to 1 for "
        "smile and age).",
        "## ReGANIE：编辑扫描\n\n让一个控制项走过一段范围，每一步都用这张图片的差值修正。\n\n1. 点击 **运行（Run）**。\n2. 选择"
        "另一个 **control**；两端的值会随之改变（yaw 为度，smile 和 age 为 -1 到 1）。"),
    "compare_methods": (
        "## ReGANIE: compare methods\n\nThree ways to invert one picture. The upper sheet: how close they come. The "
        "lower one: what is left of that after an edit.\n\nOptimisation (w+, pti) takes a while.",
        "## ReGANIE：比较反演方法\n\n用三种方法反演同一张图片。上图：它们有多接近。下图：编辑之后还剩下多少。\n\n优化方法"
        "（w+、pti）需要一些时间。"),
    "photo_align_and_paste": (
        "## ReGANIE: photo, align and paste\n\nEvery face is cut out as the generator's training pictures were, edited, "
        "rectified and put back. Pixels outside stay as they are.\n\nFor a photo of your own: **Load Image** in place of "
        "*Photo Example*, find = **detector** with YuNet's weights in models/reganie, framing = **ffhq**, and networks "
        "for faces (template 8).",
        "## ReGANIE：照片，对齐与贴回\n\n每张脸都按生成器训练图片的方式裁出、编辑、修正并放回原处。框外的像素保持不变。\n\n要用"
        "自己的照片：用 **加载图像（Load Image）** 代替 *Photo Example*，find = **detector**（YuNet 的权重放在 "
        "models/reganie），framing = **ffhq**，并使用人脸网络（模板 8）。"),
    "clip": (
        "## ReGANIE: clip\n\nThe frames of a clip are a batch. **smooth** of Align Face keeps the squares from "
        "jittering, Smooth Latents the codes; the sheet says how much the clip flickers before and after.\n\nFor a clip "
        "of your own: any node that loads frames in place of *Photo Example*.",
        "## ReGANIE：视频片段\n\n片段的各帧是一个批次。Align Face 的 **smooth** 防止裁剪框抖动，Smooth Latents 防止潜码抖动；"
        "拼图标题给出编辑前后的闪烁程度。\n\n要用自己的片段：用任何能加载帧的节点代替 *Photo Example*。"),
    "own_checkpoints": (
        "## ReGANIE: your own checkpoints\n\nFor your own StyleGAN: choose your files in the four loaders.\n\n- "
        "**generator** (`.pkl`, `.pt`, `.safetensors`): models/stylegan\n- **encoder, directions, rectifier**: "
        "models/reganie\n\nThen put **Load Image** with an aligned square crop in place of *Portrait Example* (for "
        "faces, Align Face makes one). docs/checkpoints.md lists public files; a rectifier is trained with `python "
        "trainer/train.py`, see docs/training.md.\n\nAs it is, the graph runs with the packaged portraits.",
        "## ReGANIE：自己的模型文件\n\n用于自己的 StyleGAN：在四个加载器中选择你的文件。\n\n- **生成器**（`.pkl`、`.pt`、"
        "`.safetensors`）：models/stylegan\n- **编码器、方向、修正网络**：models/reganie\n\n然后用 **加载图像（Load Image）** 和"
        "一张对齐的正方形裁图代替 *Portrait Example*（人脸可由 Align Face 裁出）。docs/checkpoints.md 列出公开的文件；修正网络用 "
        "`python trainer/train.py` 训练，见 docs/training.md。\n\n未作修改时，此工作流使用随附的人像网络运行。"),
}
