"""Memory and time of many frames through the whole chain, one after the other.

    python -m benchmarks.frames [--networks portraits|full|narrow] [--frames 300] [--stride 10] [--json OUT.json]

Frames of a rendered clip (a head that turns, earrings that swing; every tenth frame has no face and is left alone) are
cut out steadily, inverted, edited, rectified and put back by :func:`reganie_core.faces.edit_frames`. ``portraits`` is
the packaged domain. ``full`` has random weights of the published sizes: a generator of config-f and an e4e encoder with
256-px input, a rectifier of widths A, all at 512 px (``--resolution 1024`` for the generator of FFHQ). ``narrow`` has
the same pictures through a sixteenth of the generator's and rectifier's channels and the small encoder, where computing
power is short. With random weights a few frames are rendered and come again and again. Resident memory is read after
every ``--stride`` frames; it is *flat* when nothing after the first ten frames exceeds what was resident then by more
than ``--allowed`` MiB. Exit status 1 when something does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import reganie_core as rc
from reganie_core.faces import Face, edit_frames, track_faces
from reganie_core.portraits.clips import clip_scenes, points_of, turning_head

from .memory import status

FIRST_SEED = 600_050_000  # of the seeds for development
SETTLED = 10  # frames after which memory may not grow
REPEATED = 6  # rendered frames where computing power is short
NO_FACE = 10  # every so many frames have none


def random_domain(resolution: int, narrow: bool, seed: int = 0) -> rc.Domain:
    """Networks of the published sizes (or thin ones) with random weights, and one direction."""
    from reganie_core.networks.encoders import Encoder4Editing, StyleEncoderConfig
    from reganie_core.networks.light_encoder import LightEncoder, LightEncoderConfig
    from reganie_core.networks.rectifier import Rectifier, RectifierConfig
    from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

    part = 16 if narrow else 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = tuple(max(4, c // part) for c in GeneratorConfig.config_f_channels(resolution))
        generator = Generator(GeneratorConfig(resolution, channels))
        num_ws, w_dim = generator.num_ws, generator.w_dim
        encoder = (LightEncoder(LightEncoderConfig(num_ws=num_ws, w_dim=w_dim)) if narrow
                   else Encoder4Editing(StyleEncoderConfig(num_ws=num_ws, w_dim=w_dim)))
        thin = {name: tuple(max(4, c // part) for c in getattr(RectifierConfig(), name))
                for name in ("encoder_channels", "decoder_channels", "gl_channels")}
        thin |= {name: max(4, getattr(RectifierConfig(), name) // part)
                 for name in ("body_channels", "sp_channels", "gl_dim")}
        rectifier = Rectifier(RectifierConfig(**thin))
        directions = rc.editing.DirectionEditor({"yaw": torch.randn(num_ws, w_dim) * 0.1})
    for network in (generator, encoder, rectifier):
        network.eval().requires_grad_(False)
    return rc.Domain(generator=generator, encoder=encoder, directions=directions, rectifier=rectifier, name="random")


def clip(count: int, side: float, distinct: int) -> tuple[Iterator[Tensor], list[Face | None]]:
    """Frames made when they are asked for (``distinct`` are rendered, then repeated), and the face of each."""
    scenes = clip_scenes(turning_head(min(count, distinct), FIRST_SEED, turns=max(1.0, distinct / 100)),
                         round(1.8 * side), round(1.35 * side), side=side, drift=0.1 * side)
    known: dict[int, Tensor] = {}

    def frame(t: int) -> Tensor:
        if distinct >= count:
            return scenes[t].render()[0]
        if t not in known:
            known[t] = scenes[t].render()[0]
        return known[t].clone()

    scenes *= 1 + count // len(scenes)
    scenes = scenes[:count]
    points = [None if t % NO_FACE == NO_FACE - 1 else own for t, own in enumerate(points_of(scenes))]
    size = (scenes[0].width, scenes[0].height)
    track = track_faces(points, size, max(32, round(side)), sigma=2.0, missing="skip", framing="portraits")
    return (frame(t % distinct) for t in range(count)), list(track.faces)


def measure(domain: rc.Domain, frames: int, stride: int, chunk: int, minutes: float,
            distinct: int) -> dict[str, object]:
    """Resident MiB and seconds after every ``stride`` frames, until all are done or the time is over."""
    size = domain.generator.resolution
    pictures, faces = clip(frames, float(min(size, 512)), distinct)
    faces = [None if face is None else face.resized(size) for face in faces]
    edits = {"yaw": 10.0 if domain.name == "portraits" else 1.0}
    untouched = []

    def change(crops: Tensor) -> tuple[Tensor, Tensor]:
        result = rc.edit(crops, edits, domain=domain, output="edited")
        return result.result, result.inversion if result.reconstruction is None else result.reconstruction

    marks, start, done = [], time.perf_counter(), 0
    with torch.inference_mode():
        for frame in edit_frames(pictures, faces, change, chunk=chunk):
            untouched.append(faces[done] is None)
            done += 1
            assert bool(torch.isfinite(frame).all())
            if done % stride == 0 or done == frames or done == SETTLED:
                seconds = time.perf_counter() - start
                marks.append({"frames": done, "mib": round(status("VmRSS") / 2**20, 1), "seconds": round(seconds, 1)})
                print(f"{done:4d} frames  {marks[-1]['mib']:8.1f} MiB  {seconds / done:6.2f} s/frame", file=sys.stderr,
                      flush=True)
                if seconds > 60 * minutes:
                    break
    before = next((mark for mark in marks if mark["frames"] == SETTLED), marks[-1])["mib"]
    after = [mark["mib"] for mark in marks if mark["frames"] > SETTLED] or [before]
    return {"frames": done, "skipped": sum(untouched), "seconds_per_frame": marks[-1]["seconds"] / done,
            "mib_after_ten": before, "mib_most_later": max(after), "mib_last": after[-1], "marks": marks}


def parameters(domain: rc.Domain) -> dict[str, float]:
    """Millions of parameters of each network."""
    parts = {name: getattr(domain, name) for name in ("generator", "encoder", "rectifier")}
    return {name: round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for name, part in parts.items()}


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", choices=("portraits", "full", "narrow"), default="portraits")
    parser.add_argument("--resolution", type=int, default=512, help="of the generator with random weights")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--stride", type=int, default=10)
    parser.add_argument("--chunk", type=int, default=4, help="frames at a time")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--allowed", type=float, default=64.0, help="MiB above the first ten frames' mark")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.networks == "portraits":
        domain, distinct = rc.load_domain("portraits"), args.frames
    else:
        warnings.simplefilter("ignore", rc.ReganieWarning)  # random networks invert nothing
        domain, distinct = random_domain(args.resolution, args.networks == "narrow"), REPEATED
    found = measure(domain, args.frames, args.stride, args.chunk, args.minutes, distinct)
    flat = found["mib_most_later"] <= found["mib_after_ten"] + args.allowed
    config = {"networks": args.networks, "resolution": domain.generator.resolution, "million_parameters":
              parameters(domain), "chunk": args.chunk, "threads": args.threads, "torch": torch.__version__}
    report = {**config, **found, "flat": flat}
    if dataclasses.is_dataclass(domain.rectifier.config):
        report["rectifier"] = dataclasses.asdict(domain.rectifier.config)
    print(f"{found['frames']} frames, {found['skipped']} of them without a face and left alone: "
          f"{found['mib_after_ten']} MiB after the first ten, at most {found['mib_most_later']} later, "
          f"{found['mib_last']} at the end: {'flat' if flat else 'NOT flat'}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1))
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
