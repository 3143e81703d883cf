"""The editor stage: DyStyle (Li, Cai et al., arXiv 2109.10737) for a frozen generator and a frozen attribute network.

From the paper: attribute losses of the edited pictures (regression and cross-entropy), the other attributes stay,
identity, norm of the change, dynamic multi-attribute contrast, and a schedule from easy to hard. Ours: targets are
drawn evenly over each attribute's range, independently of each other and of the code (correlations of the data would
leak otherwise); half of them are asked as changes and half as absolute values; a light L1 on pixels and features,
which favours changing few things; the way back, where the opposite edit must find the first code again (it costs no
picture and keeps what identifies a person without holding back any edit); codes come from the mapping, mixed ones
among them, and from the encoder, as at inference; and, for rendered portraits only, the exact change of the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core import portraits
from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint
from reganie_core.editing import Control
from reganie_core.editing.dystyle import DyStyleEditor
from reganie_core.errors import InputError
from reganie_core.images import area_downsample
from reganie_core.networks import describe
from reganie_core.networks.dystyle import DyStyle, DyStyleConfig

from ..frozen import load_attributes, load_identity, load_more_attributes
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from, shares
from ..loop.randomness import generator_at
from ..portraits.attributes import noisy, shifted
from ..portraits.editor_answers import Answers, answer_loss
from ..portraits.renderer import rendered_pictures as portraits_set
from . import editor_report
from .editor_losses import Contrastor, Look, asked_loss, kept_loss, layer_distance, look_of, reading_loss
from .editor_options import EditorStageConfig

#: Terms that need a picture of every edited code. With all their weights 0, codes alone are compared, several times as
#: fast; that takes `answer_weight`.
OF_PICTURES = ("attribute", "preserve", "perceptual", "pixel", "contrast", "identity")


@dataclass
class Draw:
    """Everything random of one batch, for all of its rows."""

    z: Tensor            # [2,B,z_dim]
    crossing: Tensor     # [B] first layer of the second style
    indices: Tensor      # [B] of the portraits
    mirror: Tensor       # [B]
    active: Tensor       # [B,K]
    target: Tensor       # [B,K] in 0..1 of the range
    absolute: Tensor     # [B,K]


@dataclass
class Before:
    """Codes and what they show, unedited; no gradients."""

    codes: Tensor
    pictures: Tensor
    view: Look
    current: Tensor      # [B,K] what the editor's head reads from the codes


class EditorStage:
    config_class = EditorStageConfig
    kind = "dystyle"

    def __init__(self, config: EditorStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        dtype, device = dtype_of(config), config.device
        self.G = load_generator(config.generator, device).to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype, len(self.G.config.channels))
        self.E = load_encoder(config.encoder, device).to(memory_format=torch.channels_last) if config.encoder else None
        if hasattr(self.E, "compute_dtype"):
            self.E.compute_dtype = dtype
        self.teacher = load_attributes(config.attributes, device, dtype)
        self.teachers = [self.teacher.net,
                         *load_more_attributes(self.teacher, config.more_attributes, device, dtype)]
        self.judge = load_attributes(config.judge, device, dtype) if config.judge else self.teacher
        self.identity = load_identity(config.identity, device, dtype) if config.identity else None
        without = () if self.identity is not None else ("identity",)
        self.looks = any(getattr(config, f"{name}_weight") > 0 for name in OF_PICTURES if name not in without)
        if not self.looks and config.answer_weight <= 0:
            raise InputError("Nothing says what an edit should be: attribute_weight and answer_weight are both 0.")
        self.data = portraits_set(config.data, config.data_count, self.G.resolution, config.data_seed, device) \
            if self.E is not None and config.data else None
        self.net = self.make_network().to(device)
        init_from(self.net, config.init_from, "dystyle")
        self.average = make_average(self.net)
        self.answers = Answers(self.G, self.names, config.data_count, config.data_seed) \
            if config.answer_weight > 0 else None
        embedding = self.teacher.net.fc.weight.shape[0]
        self.contrastor = Contrastor(len(self.names), embedding, self.G.num_ws * self.G.w_dim).to(device)
        self.modules = {"net": self.net, "average": self.average, "contrastor": self.contrastor,
                        "ranges": self.ranges}
        self.optimizers = {"net": adam(nn.ModuleList([self.net, self.contrastor]), config)}

    def make_network(self) -> DyStyle:
        """The editor for what the attribute network reads, standardised by what the generator makes."""
        config, reads = self.config, self.teacher.net.config
        order = (*reads.numeric, *reads.binary)
        known = [c.name for c in portraits.CONTROLS if c.name in order]
        self.names = config.controls or (*known, *(name for name in order if name not in known))
        unknown = sorted({*self.names, *config.ranges, *config.control_weights, *config.answer_without} - set(order))
        if unknown:
            raise InputError(f"The attribute network does not read {', '.join(unknown)}; it reads {', '.join(order)}.")
        kinds = tuple("binary" if name in reads.binary else "numeric" for name in self.names)
        scale = dict(zip(reads.numeric, zip(reads.mean, reads.std, strict=True), strict=True))
        mean, std = zip(*(scale.get(name, (0.0, 1.0)) for name in self.names), strict=True)
        device = config.device
        self.columns = torch.tensor([order.index(name) for name in self.names], device=device)
        weights = [config.control_weights.get(name, 1.0) for name in self.names]
        self.control_weights = torch.tensor(weights, device=device)
        self.reads_binary = torch.tensor([name in reads.binary for name in order], device=device)
        net = DyStyle(DyStyleConfig(self.G.num_ws, self.G.w_dim, self.names, kinds, mean, std, config.reader,
                                    config.trunk, config.expert, config.bank, config.attention))
        with torch.no_grad():
            z = torch.randn(config.probes, self.G.z_dim, generator=generator_at(config.seed, 0, "probes"))
            w = self.G.mapping.w(z.to(device))
            net.center.copy_(self.G.w_avg)
            net.spread.fill_(float(w.var(dim=0).mean().sqrt()))
            made = [self.seen(self.synthesize(part[:, None].expand(-1, self.G.num_ws, -1))) for part in w.split(64)]
        self.ranges = Ranges(self.measured(torch.cat(made).cpu(), net))
        self.ranges.to(device)
        return net

    def seen(self, pictures: Tensor) -> Tensor:
        """The attribute network's logits of the controls [B,K]."""
        return self.teacher.net.logits(pictures)[:, self.columns]

    def measured(self, logits: Tensor, net: DyStyle) -> Tensor:
        """Trained ranges [K,2] in units: as configured, else quantiles of what generated pictures show."""
        tail = self.config.range_tail
        values = (logits * net.std.cpu() + net.mean.cpu()).quantile(torch.tensor([tail, 1 - tail]), dim=0).t()
        known, rows = {c.name: c for c in portraits.CONTROLS}, []
        for name, kind, std, ends in zip(self.names, net.config.kinds, net.config.std, values.tolist(), strict=True):
            if kind == "binary":
                ends = [0.0, 1.0]
            elif name in self.config.ranges:
                ends = self.config.ranges[name]
            elif name in known:
                ends = [max(ends[0], known[name].minimum), min(ends[1], known[name].maximum)]
            step = 10.0 ** torch.tensor(std).log10().floor().item() / 10
            rows.append([round(end / step) * step for end in ends])
        return torch.tensor(rows)

    # One step ------------------------------------------------------------------------------------------------

    def draw(self, seen: int) -> Draw:
        """The random numbers of the whole batch; the second half asks for the first half's targets."""
        config, random, count = self.config, generator_at(self.config.seed, seen), len(self.names)
        half, batch = config.batch // 2, config.batch
        z = torch.randn(2, batch, self.G.z_dim, generator=random)
        numbers = torch.rand(batch, 5 + 3 * count, generator=random)
        plain, (order, target, absolute) = numbers[:, :5], numbers[:, 5:].split(count, dim=1)
        crossing = torch.where(plain[:, 0] < config.mixing, 1 + plain[:, 1] * (self.G.num_ws - 1), self.G.num_ws).int()
        many = 1 + (config.edits_per_sample - 1) * self.progress(seen)
        edits = (plain[:, 2] * many).floor()
        active = order.argsort(dim=1).argsort(dim=1) <= edits[:, None]
        active[half:], target[half:] = active[:half].clone(), target[:half].clone()
        size = len(self.data) if self.data is not None else 1
        return Draw(z, crossing, (plain[:, 3] * size).long().clamp_max(size - 1), plain[:, 4] < 0.5, active, target,
                    absolute < config.absolute)

    def progress(self, seen: int) -> float:
        """The schedule from easy (0: single attributes, small changes) to hard (1)."""
        return min(1.0, seen / max(1.0, self.config.easy_share * self.config.total_kimg * 1000))

    def synthesize(self, codes: Tensor) -> Tensor:
        return self.G.synthesis(codes).float().clamp(-1, 1)

    def encoded(self, rows: Tensor) -> Tensor:
        """Which of those rows of the batch are encoded: bool, the same for both halves."""
        half = self.config.batch // 2
        return rows % half < (round(half * self.config.encoded) if self.E is not None else 0)

    def codes(self, draw: Draw, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of those rows of the batch, and the rows in the order of the codes."""
        device, encoded = self.config.device, self.encoded(rows)
        mapped, rows_e = rows[~encoded], rows[encoded]
        pictures = self.data.batch(draw.indices[rows_e], draw.mirror[rows_e]).to(device) if self.data is not None \
            else None
        # Without pictures to encode, generated ones are, so every row needs a code of the mapping.
        rows = torch.cat([mapped, rows_e])
        made = mapped if pictures is not None else rows
        first, second = self.G.mapping.w(draw.z[:, made].flatten(0, 1).to(device))[:, None].chunk(2)
        layer = torch.arange(self.G.num_ws)[None, :, None] >= draw.crossing[made][:, None, None]
        ws = torch.where(layer.to(device), second, first)
        if not len(rows_e):
            return ws, rows
        if pictures is None:
            ws, pictures = ws[:len(mapped)], self.synthesize(ws[len(mapped):])
        return torch.cat([ws, self.E(pictures).to(ws.dtype)]), rows

    def before(self, draw: Draw, rows: Tensor, seen: int) -> tuple[Before, Tensor]:
        """The unedited side of those rows, and their order."""
        with torch.no_grad():
            codes, rows = self.codes(draw, rows)
            pictures = self.synthesize(codes)
            view = look_of(self.teachers, self.moved(pictures, seen))
            return Before(codes, pictures, view, self.net.read(codes)), rows

    def moved(self, pictures: Tensor, seen: int) -> Tensor:
        """The batch at the largest size that a teacher reads, translated a little and under noise, the same before and
        after: no pixel grid, and nothing too faint to be seen, to please a teacher with."""
        size = max(net.config.resolution for net in self.teachers)
        small = area_downsample(pictures, min(size, pictures.shape[-1]))
        small = shifted(small, self.config.shift, generator_at(self.config.seed, seen, "shift"))
        return noisy(small, self.config.noise, generator_at(self.config.seed, seen, "noise"))

    def request(self, draw: Draw, rows: Tensor, before: Before, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        """Changes for the network [B,K], goals for the loss [B,K] (standardised; binary 0 or 1), active [B,K]."""
        net, device = self.net, self.config.device
        active, target, absolute = (t[rows].to(device) for t in (draw.active, draw.target, draw.absolute))
        low, high = self.ranges.ends.unbind(1)
        seen_now = before.view.logits[:, self.columns] * net.std + net.mean
        reach = self.config.first_reach + (1 - self.config.first_reach) * self.progress(seen)
        goal = seen_now + reach * (low + target * (high - low) - seen_now)
        change = goal - torch.where(absolute, before.current, seen_now)
        on = (target > 0.5).to(goal.dtype)
        change = torch.where(net.binary, 2 * on - 1, change) * active
        return change, torch.where(net.binary, on, (goal - net.mean) / net.std), active

    def step(self, seen: int) -> dict[str, Tensor]:
        config, terms = self.config, {}
        draw = self.draw(seen)

        def losses() -> Iterator[Tensor]:
            for rows in shares(config, group=2):
                loss, found = self.loss(draw, rows, seen)
                for name, value in found.items():
                    terms[name] = terms.get(name, 0.0) + value.detach() / config.accumulate
                yield loss

        terms["gradient"] = descend(self, "net", losses())
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        return terms

    def loss(self, draw: Draw, rows: Tensor, seen: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its terms for some rows of the batch."""
        config, net = self.config, self.net
        before, rows = self.before(draw, rows, seen)
        change, goal, active = self.request(draw, rows, before, seen)
        edited = net(before.codes, change, active, before.current)
        offset = (edited - before.codes) / net.spread
        terms = {"norm": offset.square().mean(), "cycle": self.way_back(before, edited, change, active)}
        if self.answers is not None:
            known = self.exact_change(draw, rows, before, goal, active)
            terms["answer"] = answer_loss(offset, *known, net.spread)
        logits = None
        if self.looks:
            logits, of_pictures = self.look_at(edited, before, goal, active, seen)
            terms |= of_pictures
        terms["reader"] = self.reading(before, edited, logits)
        return sum(getattr(config, f"{name}_weight") * value for name, value in terms.items()), terms

    def look_at(self, edited: Tensor, before: Before, goal: Tensor, active: Tensor,
                seen: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What the attribute network reads from pictures of the edited codes [B,K], and the terms OF_PICTURES."""
        config, net = self.config, self.net
        pictures = self.synthesize(edited)
        view = look_of(self.teachers, self.moved(pictures, seen))
        kept = torch.ones_like(view.logits, dtype=torch.bool)
        kept[:, self.columns] = ~active
        logits = view.logits[:, self.columns]
        terms = {
            "attribute": asked_loss(logits, goal, net.binary, active, self.control_weights),
            "preserve": kept_loss(view.logits, before.view.logits, self.reads_binary, kept),
            "perceptual": layer_distance(view.layers, before.view.layers).mean(),
            "pixel": (pictures - before.pictures).abs().mean(),
        }
        if config.contrast_weight > 0:
            aimed = self.ranges.share(torch.where(net.binary, goal, goal * net.std + net.mean))
            codes = net.standardised(edited).flatten(1)
            terms["contrast"] = self.contrastor(view.embedding, codes, aimed, active)
        if self.identity is not None:
            with torch.no_grad():
                person = self.identity(before.pictures)
            terms["identity"] = 1 - (person * self.identity(pictures)).sum(dim=1).mean()
        return logits, terms

    def exact_change(self, draw: Draw, rows: Tensor, before: Before, goal: Tensor,
                     active: Tensor) -> tuple[Tensor, Tensor]:
        """What `Answers` says of these rows: changes [B,num_ws,w_dim], those of both styles where codes are mixed, and
        which of them are answers [B]."""
        net, device = self.net, self.config.device
        view = before.view.logits[:, self.columns]
        now = torch.where(net.binary, torch.sigmoid(view), view * net.std + net.mean).cpu()
        wanted = torch.where(net.binary, goal, goal * net.std + net.mean).cpu()
        portrait = self.encoded(rows) if self.data is not None else torch.zeros_like(rows, dtype=torch.bool)
        changes = []
        for z in draw.z[:, rows]:
            scores = self.answers.scores(z)
            scores[portrait] = self.answers.codes.of(draw.indices[rows[portrait]], draw.mirror[rows[portrait]])
            change, answered = self.answers.change(scores, z, now, wanted, active.cpu())
            changes.append(change[:, None])
        trusted = torch.tensor([name not in self.config.answer_without for name in self.names])
        answered &= ~(active.cpu() & ~trusted).any(dim=1)
        second = (torch.arange(self.G.num_ws) >= draw.crossing[rows][:, None]) & ~portrait[:, None]
        return torch.where(second[:, :, None].to(device), changes[1], changes[0]), answered.to(device)

    def way_back(self, before: Before, edited: Tensor, change: Tensor, active: Tensor) -> Tensor:
        """Squared distance, in units of the codes' spread, after the opposite edit."""
        net = self.net
        was_on = (before.view.logits[:, self.columns] > 0).to(change.dtype) * 2 - 1
        back = torch.where(net.binary, was_on, -change)
        with torch.no_grad():
            current = net.read(edited)
        found = net(edited, back, active, current)
        return ((found - before.codes) / net.spread).square().mean()

    def reading(self, before: Before, edited: Tensor, logits: Tensor | None) -> Tensor:
        """The head's loss on codes before and, where pictures of them were read, after; it does not reach the
        experts."""
        codes, seen = [before.codes], [before.view.logits[:, self.columns]]
        if logits is not None:
            codes.append(edited.detach())
            seen.append(logits.detach())
        return reading_loss(self.net.logits(torch.cat(codes)), torch.cat(seen), self.net.binary)

    # Looking at it -------------------------------------------------------------------------------------------

    def controls(self) -> list[Control]:
        """Controls of the trained attributes; units and texts where the domain has them."""
        known, out = {c.name: c for c in portraits.CONTROLS}, []
        ends = [[round(v, 6) for v in pair] for pair in self.ranges.ends.tolist()]
        for name, kind, (low, high) in zip(self.names, self.net.config.kinds, ends, strict=True):
            told = known.get(name)
            default = min(max(told.default, low), high) if told else (0.0 if kind == "binary" else (low + high) / 2)
            out.append(Control(name, kind, low, high, told.unit if told else "", default,
                               told.description if told else ""))
        return out

    def editor(self) -> DyStyleEditor:
        """The averaged network behind the protocol, as people will use it."""
        return DyStyleEditor(self.average, self.controls()).to(self.config.device)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """See `editor_report.measure`."""
        return editor_report.measure(self)

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        editor_report.sheet(self).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        marks = {"generator": self.G.fingerprint, "attributes": self.teacher.fingerprint}
        if self.E is not None:
            marks["encoder"] = self.E.fingerprint
        if self.identity is not None:
            marks["identity"] = self.identity.fingerprint
        config = {**describe(self.average), "controls": [asdict(c) for c in self.controls()]}
        save_checkpoint(path, "dystyle", config, dict(self.average.state_dict()),
                        {**provenance, "fingerprints": marks}, dtype=torch.float16)


class Ranges(nn.Module):
    """Trained range of each control [K,2] in its unit; saved with a run, so that resuming does not measure anew."""

    def __init__(self, ends: Tensor) -> None:
        super().__init__()
        self.register_buffer("ends", ends)

    def share(self, values: Tensor) -> Tensor:
        """[B,K] in units -> position in the range, 0..1 inside."""
        low, high = self.ends.unbind(1)
        return (values - low) / (high - low)

