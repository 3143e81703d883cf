"""From photos to aligned crops, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _inputs, _models, _notices
from ._sockets import FACE, check_wire

CATEGORY = "ReGANIE/6 Photos"
WAYS = ("detector", "points", "aligned")
FRAMINGS = ("ffhq", "portraits", "faces")


@dataclass(frozen=True)
class Cut:
    """On the wire: the photos and which squares were cut out of them."""

    photos: Tensor
    faces: tuple[Any, ...]
    kind: str = "face"
    label: str = "from Align Face"


class AlignFace:
    CATEGORY = CATEGORY
    FUNCTION = "align"
    DESCRIPTION = (
        "Cut faces out of photos the way the generator's training pictures were cut. Forgetting this is the usual "
        "reason for awful inversions. Paste Face puts the edited crop back."
    )
    SEARCH_ALIASES = ["face crop", "ffhq align", "face detection", "landmarks", "yunet", "crop face", "reganie"]
    RETURN_TYPES = ("IMAGE", FACE, "MASK")
    RETURN_NAMES = ("aligned", "face", "found")
    OUTPUT_TOOLTIPS = (
        "One square crop for each face, for the invert nodes.",
        "The photos and where the crops belong, for Paste Face.",
        "White for photos with a face, black for those that were skipped.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "photo": ("IMAGE", {"tooltip": "One photo or a batch of frames, of any size."}),
                "size": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 4096,
                        "step": 8,
                        "tooltip": "Side of the crops in pixels. 0 keeps the photo's own resolution (64 to 2048 "
                        "pixels): E4E Invert makes them smaller by itself, and the result keeps the photo's detail.",
                    },
                ),
                "find": (
                    "COMBO",
                    {
                        "options": list(WAYS),
                        "default": "detector",
                        "tooltip": "detector: find the faces. points: they are written "
                        "below. aligned: the picture is a crop already and is only made square.",
                    },
                ),
                "points": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "For points: one face a line, as pairs x,y in pixels: the eye on the left, the eye "
                        "on the right, the mouth corner on the left, the one on the right. A batch takes "
                        "one line for each photo.",
                    },
                ),
                **_choice(),
            },
            "optional": {
                "detector_name": (
                    "COMBO",
                    {
                        "options": _inputs.Names(_choices.detectors()),
                        "default": _choices.FIRST_DETECTOR,
                        "tooltip": "For detector: a file in models/reganie, such as YuNet's; where there is none, the "
                        "packaged detector.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, find: str = "detector", detector_name: str = "", **_: Any) -> str:
        try:
            return _models.state(_choices.detector_path(detector_name)) if find == "detector" else ""
        except (rc.ReganieError, OSError):
            return "no file"

    def align(
        self,
        photo: Tensor,
        size: int = 0,
        find: str = "detector",
        points: str = "",
        which: str = "largest",
        framing: str = "ffhq",
        smooth: float = 0.0,
        missing: str = "error",
        detector_name: str = _choices.FIRST_DETECTOR,
    ) -> tuple[Tensor, Cut, Tensor]:
        _inputs.check_text(which, "The choice of faces", 200)
        pictures = rc.images.from_comfy(photo, "photo")
        options: dict[str, Any] = {"which": which, "framing": framing, "missing": missing, "aligned": find == "aligned"}
        known = _points(points, len(pictures)) if find == "points" else None
        if find == "detector":
            self.model = _models.load("detector", _choices.detector_path(detector_name), detector_name)
            options["detector"] = self.model.value
        progress, crops, faces, found, reasons = _host.Progress(len(pictures)), [], [], [], []
        for index in range(len(pictures)):
            if known is not None:
                options["points"] = known[index]
            with _notices.show_warnings("Align Face"):
                one = rc.faces.align_photos(
                    pictures[index : index + 1], int(size) or None, names=[f"photo {index}"], **options
                )
            if one.faces:
                crops.append(rc.images.to_comfy(one.crops))
            faces += rc.faces.align.with_index(one.faces, index)
            found.append(bool(one.found[0]))
            reasons.append(one.reasons[0])
            progress.step()
        side = max((face.size for face in faces), default=0)  # of several photos the largest, for one batch
        if smooth > 0.0 and len(faces) > 1:
            faces = _steadied(faces, len(pictures), side, framing, float(smooth))
        if smooth > 0.0 and len(faces) > 1 or any(face.size != side for face in faces):
            faces = [replace(face, size=side) for face in faces]
            crops = [rc.images.to_comfy(rc.faces.align_faces(pictures, face)) for face in faces]
        if not faces:
            why = next(filter(None, reasons), "none was found")
            raise rc.errors.NotFoundError(f"No photo has a usable face: {why}.")
        _tell(found, reasons)
        height, width = photo.shape[1:3]
        mask = torch.tensor(found, dtype=torch.float32)[:, None, None].repeat(1, height, width)
        where = _host.results_device()
        return torch.cat(crops).to(where), Cut(photo, tuple(faces)), mask.to(where)


def _choice() -> dict[str, Any]:
    """Which faces, cut how, and what happens when there is none."""
    return {
        "which": (
            "STRING",
            {
                "default": "largest",
                "tooltip": f"Which of several faces: {', '.join(rc.faces.CHOICES)}, numbers such as 0 or 0,2 "
                "from the left, or @x,y for the one nearest to a pixel.",
            },
        ),
        "framing": (
            "COMBO",
            {
                "options": list(FRAMINGS),
                "default": "ffhq",
                "tooltip": "How the training pictures were cut: ffhq for generators trained on FFHQ, portraits "
                "and faces for the packaged domains of these names.",
            },
        ),
        "smooth": (
            "FLOAT",
            {
                "default": 0.0,
                "min": 0.0,
                "max": 30.0,
                "step": 0.5,
                "tooltip": "For frames of one person: smooth the squares over about this many frames, so that nothing "
                "jitters. 0 takes each picture by itself.",
            },
        ),
        "missing": (
            "COMBO",
            {
                "options": ["error", "skip"],
                "default": "error",
                "tooltip": "A photo without a usable face: error stops and names it, skip leaves it as it is.",
            },
        ),
    }


def _points(text: str, count: int) -> list[Any]:
    """Points for each photo: all of them for one, one line each for a batch."""
    found = rc.faces.parse_points(text)
    if count == 1:
        return [found]
    if len(found) != count:
        raise rc.errors.MismatchError(f"Points of {len(found)} faces for {count} photos; write one line for each.")
    return [[face] for face in found]


def _steadied(faces: list[Any], count: int, size: int, framing: str, sigma: float) -> list[Any]:
    """The same faces with squares that move smoothly from frame to frame."""
    by_frame = {face.index: face for face in faces}
    if len(by_frame) < len(faces) or any(face.points is None for face in faces):
        raise rc.errors.InputError("Smoothing follows one face with points through the frames; choose one in each.")
    points = [torch.tensor(by_frame[i].points) if i in by_frame else None for i in range(count)]
    track = rc.faces.track_faces(points, faces[0].photo_size, size, sigma=sigma, framing=framing)
    return [face for face in track.faces if face is not None]


def _tell(found: list[bool], reasons: list[str | None]) -> None:
    skipped = [f"{index} ({reasons[index] or 'no face'})" for index, has in enumerate(found) if not has]
    if skipped:
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        _host.notice("Align Face", f"Skipped photos: {', '.join(skipped[:3])}{more}.")


class PasteFace:
    CATEGORY = CATEGORY
    FUNCTION = "paste"
    DESCRIPTION = (
        "Put edited crops back into their photos. Pixels outside the square stay exactly as they are, inside the edge "
        "is soft and the photo's fine detail is kept where nothing changed."
    )
    SEARCH_ALIASES = ["uncrop", "paste back", "composite face", "inverse align", "stitch", "blend face", "reganie"]
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("photo", "mask")
    OUTPUT_TOOLTIPS = (
        "The photos with the edited faces.",
        "How much of each pixel comes from the edit; black is the untouched photo.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "edited": ("IMAGE", {"tooltip": "The edited crops, one for each face, of any size."}),
                "face": (FACE, {"tooltip": "From the Align Face that cut them out; it holds the photos as well."}),
                "mode": (
                    "COMBO",
                    {
                        "options": list(rc.faces.PASTE_MODES),
                        "default": "auto",
                        "tooltip": "auto: keep the photo's own detail where the edit changed nothing, the new picture "
                        "where it did. residual: always add the change. replace: always cover.",
                    },
                ),
                "feather": (
                    "FLOAT",
                    {
                        "default": 0.08,
                        "min": 0.0,
                        "max": 0.5,
                        "step": 0.01,
                        "tooltip": "Width of the soft edge as a share of the square's side.",
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "display": "slider",
                        "tooltip": "0 gives the photo, 1 the edit.",
                    },
                ),
                "match_tone": (
                    "BOOLEAN",
                    {
                        "default": True,
                        "tooltip": "Take away a change of colour that the crop's whole border shares, so that no seam "
                        "shows.",
                    },
                ),
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "In the crop's frame: white where the edit is let through."}),
                "reference": (
                    "IMAGE",
                    {
                        "tooltip": "The same crops without the edit, as the networks show them (a second Rectify of "
                        "the inversion): then only what the edit changed enters the photo.",
                    },
                ),
            },
        }

    def paste(
        self,
        edited: Tensor,
        face: Cut,
        mode: str = "auto",
        feather: float = 0.08,
        strength: float = 1.0,
        match_tone: bool = True,
        mask: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        face = check_wire(face, "face")
        crops, photos = rc.images.from_comfy(edited, "edited crop"), face.photos
        if len(crops) != len(face.faces):
            raise rc.errors.MismatchError(
                f"There are {len(crops)} edited crops for {len(face.faces)} faces; give one each, in the same order."
            )
        plain = None if reference is None else rc.images.from_comfy(reference, "reference crop")
        if plain is not None and len(plain) != len(crops):
            raise rc.errors.MismatchError(
                f"There are {len(plain)} reference crops for {len(crops)} edited ones; give one each, in the same "
                "order."
            )
        if mask is not None and len(mask) not in (1, len(crops)):
            raise rc.errors.MismatchError(f"There are {len(mask)} masks for {len(crops)} crops; give one, or one each.")
        progress, results, masks = _host.Progress(len(photos)), [], []
        options = {"mode": mode, "feather": float(feather), "strength": float(strength), "match_tone": bool(match_tone)}
        for index in range(len(photos)):
            rows = [i for i, one in enumerate(face.faces) if one.index == index]
            own = photos[index : index + 1].float()     # other nodes fail on halves, and saving on bfloat16
            colours = own[..., :3] if own.shape[-1] == 4 else own
            if rows:
                some = mask if mask is None or len(mask) == 1 else mask[rows]
                faces = rc.faces.align.with_index([face.faces[i] for i in rows], 0)
                pasted = rc.faces.paste_faces(
                    rc.images.from_comfy(own, "photo"), crops[rows].to(own.device), faces, mask=some, **options,
                    reference=None if plain is None else plain[rows].to(own.device),
                )
                weight = pasted.mask[:, 0]
                changed = rc.images.to_comfy(cast(Tensor, pasted.photos)).to(own)
                # Through [-1,1] and back is not exact, so what is untouched comes from the photo itself.
                colours = torch.where(weight[..., None] > 0, changed, colours.expand_as(changed))
            else:
                weight = own.new_zeros(own.shape[:3])
                colours = colours.expand(*colours.shape[:3], 3)
            results.append(torch.cat([colours, own[..., 3:]], -1) if own.shape[-1] == 4 else colours)
            masks.append(weight)
            progress.step()
        where = _host.results_device()
        return torch.cat(results).to(where), torch.cat(masks).to(where)
