"""StyleCLIP (Patashnik et al. 2021) in its three modes: global directions, mappers, optimisation of one picture."""

from __future__ import annotations

from .editor import MapperEditor, StyleCLIPEditor
from .files import ENCODER_FILE, load_statistics, load_styleclip_editor, read_public_tables
from .gather import Gatherer
from .optimise import optimise
from .stylespace import METHODS, StyleStatistics, channel_vectors, directions_of_channels

__all__ = ["ENCODER_FILE", "METHODS", "Gatherer", "MapperEditor", "StyleCLIPEditor", "StyleStatistics",
           "channel_vectors", "directions_of_channels", "load_statistics", "load_styleclip_editor", "optimise",
           "read_public_tables"]
