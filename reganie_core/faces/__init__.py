"""Faces in photos: where they are, how they are aligned, and how an edited crop goes back.

>>> found = align_photos(photo, 256, points=points)              # or detector=load_detector(file), or aligned=True
>>> edited = rc.edit(found.crops, {"age": 1.0}, domain=domain).result
>>> result = paste_faces(photo, edited, found.faces)             # result.photos, result.mask

Photos are tensors ``[B,C,H,W]`` in [-1,1] with 1, 3 or 4 channels, PIL images of any mode, or lists of them; they come
back in the form they had. Points and squares are in photo pixels whose centres lie at whole numbers.

=====================  ===============================================================================================
finding                ``load_detector``, ``find_detector``, ``list_detectors``, ``find_faces``, ``parse_points``,
                       ``choose``
aligning               ``align_photos`` -> ``Aligned(crops, faces, found, reasons)``; ``make_face``, ``align_faces``
putting back           ``paste_faces`` -> ``Pasted(photos, masks, mask)``
one face               ``Face``: the square, its maps to and from the photo, JSON
is it usable?          ``problem_with`` with ``Limits``, ``measure_misfit``
frames in a row        ``follow``, ``track_faces``, ``edit_frames``, ``smooth``, ``flicker``
=====================  ===============================================================================================
"""

from __future__ import annotations

from .align import Aligned, Detector, align_faces, align_photos, find_faces, make_face
from .choose import CHOICES, Found, choose
from .detect import DETECTOR_SUFFIXES, PACKAGED_DETECTOR, find_detector, list_detectors, load_detector
from .face import Face
from .fitness import Limits, Misfit, measure_misfit, problem_with
from .framing import FFHQ, Framing
from .paste import PASTE_MODES, Pasted, paste_faces
from .points import check_points, ffhq_quad, format_points, parse_points
from .video import Track, edit_frames, flicker, follow, smooth, track_faces

__all__ = [
    "CHOICES",
    "DETECTOR_SUFFIXES",
    "FFHQ",
    "PACKAGED_DETECTOR",
    "PASTE_MODES",
    "Aligned",
    "Detector",
    "Face",
    "Found",
    "Framing",
    "Limits",
    "Misfit",
    "Pasted",
    "Track",
    "align_faces",
    "align_photos",
    "check_points",
    "choose",
    "edit_frames",
    "ffhq_quad",
    "find_detector",
    "find_faces",
    "flicker",
    "follow",
    "format_points",
    "list_detectors",
    "load_detector",
    "make_face",
    "measure_misfit",
    "paste_faces",
    "parse_points",
    "problem_with",
    "smooth",
    "track_faces",
]
