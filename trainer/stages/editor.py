"""The editor stage: DyStyle (Li, Cai et al., arXiv 2109.10737) for a frozen generator and a frozen attribute network.

From the paper: attribute losses of the edited pictures (regression and cross-entropy), the other attributes stay,
identity, norm of the change, dynamic multi-attribute contrast, and a schedule from easy to hard. Ours: how edits are
drawn (`editor_requests.py`); a light L1 on pixels and features, which favours changing few things; cycle consistency,
where the opposite edit must find the first code again (it costs no picture and keeps what identifies a person without
holding back any edit); codes come from the mapping, mixed ones among them, and from the encoder, as at inference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint
from reganie_core.editing import Control
from reganie_core.editing.dystyle import DyStyleEditor
from reganie_core.errors import InputError
from reganie_core.images import area_downsample
from reganie_core.networks import describe
from reganie_core.networks.dystyle import DyStyle, DyStyleConfig

from ..attribute_ensemble import Reading, layer_distance, read
from ..data.crops import shifted
from ..data.image_set import ImageSet
from ..data.pictures import Pictures
from ..data.renderer import known_controls
from ..data.sources import first
from ..data.training import HeldOutConfig, PicturesConfig, training_pictures
from ..frozen import load_attributes, load_identity, load_more_attributes
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from
from ..loop.randomness import generator_at
from . import editor_report
from .editor_losses import Contrastor, preservation_loss, reader_loss, target_loss
from .editor_requests import ENCODED, Ranges, Request, draw_request, goals, measured_ranges

PROBES = 1024        # generated pictures that give the spread of codes and the ranges
SHIFT = 2            # largest translation of pictures before they are read, in pixels of an attribute network
#: Weights of the loss's terms, besides `attribute_weight`.
WEIGHTS = {"preserve": 1.0, "identity": 0.5, "perceptual": 0.1, "pixel": 0.1, "norm": 0.02, "cycle": 0.1,
           "contrast": 0.05, "reader": 1.0}


@dataclass
class EditorStageConfig(PicturesConfig, HeldOutConfig):
    lr: float = 0.002
    beta1: float = 0.9
    lr_decay_from: float = 0.5
    batch: int = 64
    total_kimg: float = 600.0
    images: str = option("", "your pictures, to encode; empty: generated ones")
    held_out_count: int = 200
    generator: str = option("runs/generator/generator.safetensors", "the frozen generator: ours, .pkl or .pt")
    encoder: str = option("runs/encoder/encoder.safetensors", "the frozen encoder; empty: codes of the mapping only")
    attributes: str = option("runs/attributes/attributes.safetensors", "network whose attributes are edited")
    more_attributes: tuple[str, ...] = option((), "further such networks: what all read on average is hard to deceive")
    identity: str = option("", "network of the identity loss; empty: none")
    controls: tuple[str, ...] = option((), "attributes to edit; empty: all that the attribute network reads")
    attribute_weight: float = option(1.0, "weight of the attributes that are asked for")
    control_weights: dict[str, float] = option({}, "control -> share of that weight; 1 where not named")

    def validate(self) -> None:
        super().validate()
        if self.batch % 2:
            raise InputError(f"batch must be even, because its halves share targets; found {self.batch}.")


@dataclass
class Unedited:
    """Codes and what they show; no gradients."""

    codes: Tensor
    pictures: Tensor
    reading: Reading
    current: Tensor      # [B,K] what the editor's head reads from the codes


class EditorStage:
    config_class = EditorStageConfig
    config: EditorStageConfig
    kind = "dystyle"

    def __init__(self, config: EditorStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        dtype, device = dtype_of(config), config.device
        self.weights = self.loss_weights()
        self.G = load_generator(config.generator, device).to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype, len(self.G.config.channels))
        self.E = load_encoder(config.encoder, device).to(memory_format=torch.channels_last) if config.encoder else None
        if hasattr(self.E, "compute_dtype"):
            self.E.compute_dtype = dtype
        self.teacher = load_attributes(config.attributes, device, dtype)
        self.teachers = [self.teacher.net,
                         *load_more_attributes(self.teacher, config.more_attributes, device, dtype)]
        self.identity = load_identity(config.identity, device, dtype) if config.identity else None
        self.data = self.pictures_to_encode() if self.E is not None else None
        self.net = self.make_network().to(device)
        init_from(self.net, config.init_from, "dystyle")
        self.average = make_average(self.net)
        embedding = self.teacher.net.fc.weight.shape[0]
        self.contrastor = Contrastor(len(self.names), embedding, self.G.num_ws * self.G.w_dim).to(device)
        self.modules = {"net": self.net, "average": self.average, "contrastor": self.contrastor,
                        "ranges": self.ranges}
        self.optimizers = {"net": adam(nn.ModuleList([self.net, self.contrastor]), config)}

    def loss_weights(self) -> dict[str, float]:
        """Term -> weight."""
        return {**WEIGHTS, "attribute": self.config.attribute_weight}

    def pictures_to_encode(self) -> Pictures | ImageSet | None:
        """Pictures whose codes are edited; none: generated pictures are encoded."""
        return training_pictures(self.config, self.G.resolution) if self.config.images else None

    def make_network(self) -> DyStyle:
        """The editor for what the attribute network reads, standardised by what the generator makes."""
        config, reads = self.config, self.teacher.net.config
        order = (*reads.numeric, *reads.binary)
        known = [name for name in known_controls() if name in order]
        self.names = config.controls or (*known, *(name for name in order if name not in known))
        if unknown := sorted({*self.names, *config.control_weights} - set(order)):
            raise InputError(f"The attribute network does not read {', '.join(unknown)}; it reads {', '.join(order)}.")
        kinds = tuple("binary" if name in reads.binary else "numeric" for name in self.names)
        scale = dict(zip(reads.numeric, zip(reads.mean, reads.std, strict=True), strict=True))
        mean, std = zip(*(scale.get(name, (0.0, 1.0)) for name in self.names), strict=True)
        device = config.device
        self.columns = torch.tensor([order.index(name) for name in self.names], device=device)
        self.control_weights = torch.tensor([config.control_weights.get(name, 1.0) for name in self.names],
                                            device=device)
        self.reads_binary = torch.tensor([name in reads.binary for name in order], device=device)
        net = DyStyle(DyStyleConfig(self.G.num_ws, self.G.w_dim, self.names, kinds, mean, std))
        with torch.no_grad():
            z = torch.randn(PROBES, self.G.z_dim, generator=generator_at(config.seed, 0, "probes"))
            w = self.G.mapping.w(z.to(device))
            net.center.copy_(self.G.w_avg)
            net.spread.fill_(float(w.var(dim=0).mean().sqrt()))
            logits = [self.teacher.net.logits(self.synthesize(part[:, None].expand(-1, self.G.num_ws, -1)))
                      for part in w.split(64)]
        self.ranges = Ranges(measured_ranges(torch.cat(logits)[:, self.columns].cpu(), net))
        self.ranges.to(device)
        return net

    # One step ------------------------------------------------------------------------------------------------

    def progress(self, seen: int) -> float:
        """The schedule from easy (0: single attributes, small changes) to hard (1), over the first 30 % of a run. A
        trained editor starts hard."""
        return 1.0 if self.config.init_from else min(1.0, seen / max(1.0, 0.3 * self.config.total_kimg * 1000))

    def draw(self, seen: int) -> Request:
        """The random numbers of the whole batch."""
        size = len(self.data) if self.data is not None else 1
        return draw_request(generator_at(self.config.seed, seen), self.config.batch, len(self.names), self.G, size,
                            self.progress(seen))

    def synthesize(self, codes: Tensor) -> Tensor:
        return self.G.synthesis(codes).float().clamp(-1, 1)

    def encoded(self, rows: Tensor) -> Tensor:
        """Which rows of the batch are encoded: bool, the same for both halves."""
        half = self.config.batch // 2
        return rows % half < (round(half * ENCODED) if self.E is not None else 0)

    def codes(self, draw: Request) -> tuple[Tensor, Tensor]:
        """Codes of the batch, and its rows in the order of the codes."""
        device, rows = self.config.device, torch.arange(self.config.batch)
        encoded = self.encoded(rows)
        mapped, rows_e = rows[~encoded], rows[encoded]
        pictures = self.data.batch(draw.indices[rows_e], draw.mirror[rows_e]).to(device) if self.data is not None \
            else None
        # Without pictures to encode, generated ones are, so every row needs a code of the mapping.
        rows = torch.cat([mapped, rows_e])
        made = mapped if pictures is not None else rows
        first_w, second_w = self.G.mapping.w(draw.z[:, made].flatten(0, 1).to(device))[:, None].chunk(2)
        layer = torch.arange(self.G.num_ws)[None, :, None] >= draw.crossing[made][:, None, None]
        ws = torch.where(layer.to(device), second_w, first_w)
        if not len(rows_e):
            return ws, rows
        if pictures is None:
            ws, pictures = ws[:len(mapped)], self.synthesize(ws[len(mapped):])
        return torch.cat([ws, self.E(pictures).to(ws.dtype)]), rows

    def unedited(self, draw: Request, seen: int) -> tuple[Unedited, Tensor]:
        """The unedited side of the batch, and the order of its rows."""
        with torch.no_grad():
            codes, rows = self.codes(draw)
            pictures = self.synthesize(codes)
            return Unedited(codes, pictures, self.read(pictures, seen), self.net.read(codes)), rows

    def read(self, pictures: Tensor, seen: int) -> Reading:
        """What the attribute networks read. They see the batch at the largest size that one of them takes, translated a
        little, the same before and after the edit: no pixel grid to please them with."""
        size = max(net.config.resolution for net in self.teachers)
        small = area_downsample(pictures, min(size, pictures.shape[-1]))
        return read(self.teachers, shifted(small, SHIFT, generator_at(self.config.seed, seen, "shift")))

    def step(self, seen: int) -> dict[str, Tensor]:
        config = self.config
        loss, terms = self.loss(self.draw(seen), seen)
        gradient = descend(self, "net", loss)
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        return {**{name: value.detach() for name, value in terms.items()}, "gradient": gradient}

    def loss(self, draw: Request, seen: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its terms."""
        net, device = self.net, self.config.device
        before, rows = self.unedited(draw, seen)
        active, target, absolute = (t[rows].to(device) for t in (draw.active, draw.target, draw.absolute))
        shown = before.reading.logits[:, self.columns]
        change, goal = goals(net, self.ranges, shown, before.current, active, target, absolute, self.progress(seen))
        edited = net(before.codes, change, active, before.current)
        offset = (edited - before.codes) / net.spread
        terms = {"norm": offset.square().mean(), "cycle": self.cycle_loss(before, edited, change, active),
                 **self.further_terms(draw, rows, before, offset, goal, active)}
        logits = None
        if self.weights["attribute"] > 0:
            logits, of_pictures = self.picture_terms(edited, before, goal, active, seen)
            terms |= of_pictures
        terms["reader"] = self.head_loss(before, edited, logits)
        return sum(self.weights[name] * value for name, value in terms.items()), terms

    def further_terms(self, draw: Request, rows: Tensor, before: Unedited, offset: Tensor, goal: Tensor,
                      active: Tensor) -> dict[str, Tensor]:
        """What a subclass compares besides. offset [B,num_ws,w_dim]: the codes' change, in units of their spread."""
        return {}

    def picture_terms(self, edited: Tensor, before: Unedited, goal: Tensor, active: Tensor,
                      seen: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What is read from pictures of the edited codes [B,K], and the terms that need these pictures."""
        net = self.net
        pictures = self.synthesize(edited)
        reading = self.read(pictures, seen)
        others = torch.ones_like(reading.logits, dtype=torch.bool)
        others[:, self.columns] = ~active
        logits = reading.logits[:, self.columns]
        aimed = self.ranges.share(torch.where(net.binary, goal, goal * net.std + net.mean))
        terms = {
            "attribute": target_loss(logits, goal, net.binary, active, self.control_weights),
            "preserve": preservation_loss(reading.logits, before.reading.logits, self.reads_binary, others),
            "perceptual": layer_distance(reading.layers, before.reading.layers).mean(),
            "pixel": (pictures - before.pictures).abs().mean(),
            "contrast": self.contrastor(reading.embedding, net.standardised(edited).flatten(1), aimed, active),
        }
        if self.identity is not None:
            with torch.no_grad():
                person = self.identity(before.pictures)
            terms["identity"] = 1 - (person * self.identity(pictures)).sum(dim=1).mean()
        return logits, terms

    def cycle_loss(self, before: Unedited, edited: Tensor, change: Tensor, active: Tensor) -> Tensor:
        """Squared distance, in units of the codes' spread, after the opposite edit."""
        net = self.net
        was_on = (before.reading.logits[:, self.columns] > 0).to(change.dtype) * 2 - 1
        opposite = torch.where(net.binary, was_on, -change)
        with torch.no_grad():
            current = net.read(edited)
        found = net(edited, opposite, active, current)
        return ((found - before.codes) / net.spread).square().mean()

    def head_loss(self, before: Unedited, edited: Tensor, logits: Tensor | None) -> Tensor:
        """The head's loss on codes before and, where pictures of them were read, after; it does not reach the
        experts."""
        codes, shown = [before.codes], [before.reading.logits[:, self.columns]]
        if logits is not None:
            codes.append(edited.detach())
            shown.append(logits.detach())
        return reader_loss(self.net.logits(torch.cat(codes)), torch.cat(shown), self.net.binary)

    # Measuring and saving ------------------------------------------------------------------------------------

    def controls(self) -> list[Control]:
        """Controls of the trained attributes; units and texts where the domain has them."""
        known, out = known_controls(), []
        ends = [[round(v, 6) for v in pair] for pair in self.ranges.ends.tolist()]
        for name, kind, (low, high) in zip(self.names, self.net.config.kinds, ends, strict=True):
            about = known.get(name)
            default = min(max(about.default, low), high) if about else (0.0 if kind == "binary" else (low + high) / 2)
            out.append(Control(name, kind, low, high, about.unit if about else "", default,
                               about.description if about else ""))
        return out

    def editor(self) -> DyStyleEditor:
        """The averaged network behind the protocol, as people will use it."""
        return DyStyleEditor(self.average, self.controls()).to(self.config.device)

    def held_out_pictures(self, count: int) -> Tensor | None:
        """Pictures [count,3,R,R] to encode for the metrics; none: generated ones."""
        return self.data.batch(first(self.data, count)) if self.data is not None else None

    def held_out_codes(self, count: int) -> Tensor:
        """[N,num_ws,w_dim]: of the mapping and, with an encoder, as many encoded ones."""
        device = self.config.device
        z = torch.randn(count, self.G.z_dim, generator=generator_at(1, 0, "validate")).to(device)
        codes = [self.G.mapping(z)]
        if self.E is not None:
            pictures = self.held_out_pictures(count)
            parts = codes[0].split(editor_report.CHUNK) if pictures is None else pictures.split(editor_report.CHUNK)
            codes += [self.E(self.synthesize(part) if pictures is None else part.to(device)).float() for part in parts]
        return torch.cat(codes)

    def trained(self) -> editor_report.TrainedEditor:
        return editor_report.TrainedEditor(self.average, self.editor(), self.ranges.ends.cpu(), self.synthesize,
                                           self.teacher.read)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """See `editor_report.measure`."""
        return editor_report.measure(self.trained(), self.held_out_codes(self.config.held_out_count))

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        codes = self.held_out_codes(editor_report.PEOPLE)[-editor_report.PEOPLE:]
        editor_report.sheet(self.trained(), codes).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        marks = {"generator": self.G.fingerprint, "attributes": self.teacher.fingerprint}
        for name, network in (("encoder", self.E), ("identity", self.identity)):
            if network is not None:
                marks[name] = network.fingerprint
        config = {**describe(self.average), "controls": [asdict(c) for c in self.controls()]}
        save_checkpoint(path, "dystyle", config, dict(self.average.state_dict()),
                        {**provenance, "fingerprints": marks}, dtype=torch.float16)
