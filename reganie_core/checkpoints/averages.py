"""``latent_avg``, the mean latent that generators truncate towards and encoders start from, however it is saved."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import UnsupportedCheckpointError
from .parts import MAX_INDEX, Mapped
from .records import TensorRecord
from .tables import Place, array_of

NAME = "latent_avg"


def average_of(place: Place) -> Any:
    """What the file holds as the mean latent of a network: a tensor's record, something else, or None."""
    value = place.entry(NAME)
    array = array_of(value)
    return value if array is None else array


def rows_of(average: Any, w_dim: int) -> int:
    """How many rows of ``w_dim`` numbers an average has, whatever axes of one lie around them.

    Raises:
        UnsupportedCheckpointError: it is no array, or one of another shape.
    """
    shape = average.shape if isinstance(average, TensorRecord) else None
    if shape is not None and shape and average.numel and average.numel % w_dim == 0:
        rows = average.numel // w_dim
        # All numbers on one axis, or rows below axes of one (and perhaps one axis of one in each row).
        if rows <= MAX_INDEX and (sum(size > 1 for size in shape) <= 1 or shape[-1] == w_dim):
            return rows
    found = f"of shape {list(shape)}" if shape is not None else f"something of type {type(average).__name__}"
    raise UnsupportedCheckpointError(
        f"latent_avg is {found}; numbers of shape [{w_dim}] or [layers,{w_dim}] are expected. Get the original file, "
        "or leave latent_avg out."
    )


def one_row(average: TensorRecord, rows: int, w_dim: int) -> Mapped:
    """The average as one row [w_dim]; the mean of rows that differ."""
    return Mapped(average, (w_dim,), lambda values: _one(values.reshape(rows, w_dim)))


def _one(rows: torch.Tensor) -> torch.Tensor:
    return rows[0] if bool((rows == rows[0]).all()) else rows.double().mean(dim=0).float()


def for_layers(average: TensorRecord, rows: int, num_ws: int, w_dim: int) -> Mapped:
    """The average as [num_ws,w_dim]; one row is repeated, and so are equal rows in another number."""

    def spread(values: torch.Tensor) -> torch.Tensor:
        values = values.reshape(rows, w_dim)
        if rows == num_ws:
            return values
        if not bool((values == values[0]).all()):
            raise UnsupportedCheckpointError(
                f"latent_avg has {rows} different rows for an encoder of {num_ws} style vectors: it belongs to another "
                "encoder. Get the original file."
            )
        return values[:1].repeat(num_ws, 1)

    return Mapped(average, (num_ws, w_dim), spread)
