"""Directions that leave other attributes alone, and InterfaceGAN's boundaries (Shen et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError, MismatchError

__all__ = ["boundary_walk", "condition", "conditional_directions"]


def condition(direction: Tensor, others: Sequence[Tensor]) -> Tensor:
    """``direction [rows,w_dim]`` without its part in the span of ``others`` (InterfaceGAN's conditional manipulation).

    Row by row; the other directions have one row or as many. The length is not restored: per unit of the result the
    primary attribute changes a little less.

    Raises:
        MismatchError: directions of different sizes.
        InputError: nothing of the direction is left.
    """
    if any(other.ndim != 2 or other.shape[1] != direction.shape[1] or other.shape[0] not in (1, direction.shape[0])
           for other in others):
        raise MismatchError(f"The directions to be held have shapes {[list(o.shape) for o in others]}, the direction "
                            f"{list(direction.shape)}.")
    if not others:
        return direction
    wanted = direction.double()
    span = torch.stack([other.to(wanted).expand_as(wanted) for other in others], dim=2)      # [rows,w_dim,k]
    basis, values, _ = torch.linalg.svd(span, full_matrices=False)
    kept = values > 1e-6 * values.amax(dim=1, keepdim=True).clamp_min(1e-30)
    basis = basis * kept[:, None, :]
    left = wanted - torch.einsum("rwk,rvk,rv->rw", basis, basis, wanted)
    if float(left.norm()) < 1e-6 * float(wanted.norm()):
        raise InputError("The direction is a combination of those to be held: nothing of it is left.")
    return left.to(direction)


def conditional_directions(directions: Mapping[str, Tensor],
                           holding: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
    """``{name: direction}`` with, for each name in ``holding``, the named others projected out.

    Raises:
        InputError: a name that is not there, or a direction that is to hold itself.
    """
    for name, others in holding.items():
        unknown = [n for n in (name, *others) if n not in directions]
        if unknown or name in others:
            raise InputError(f"Cannot hold {', '.join(others)} while changing {name}: "
                             + (f"there is no direction {unknown[0]}." if unknown else "it is the same direction."))
    return {name: condition(direction, [directions[o] for o in holding.get(name, ())])
            for name, direction in directions.items()}


def boundary_walk(codes: Tensor, boundary: Tensor, distances: Sequence[float]) -> Tensor:
    """Codes along a boundary's normal, as InterfaceGAN's ``linear_interpolate`` gives them out.

    2-D codes are first projected to the boundary, so a distance is an absolute one; W+ codes are not, so it is a
    change.

    Args:
        codes: ``[1,w_dim]`` or ``[1,num_ws,w_dim]``.
        boundary: ``[1,w_dim]``, unit normal.

    Returns:
        ``[len(distances), ...]``.

    Raises:
        InputError: more than one code, or a boundary that is no unit row.
        MismatchError: codes of another length.
    """
    if codes.shape[0] != 1 or codes.ndim not in (2, 3) or boundary.ndim != 2 or boundary.shape[0] != 1:
        raise InputError(f"Expected one code and one boundary [1,w_dim], found {list(codes.shape)} and "
                         f"{list(boundary.shape)}.")
    if codes.shape[-1] != boundary.shape[1]:
        raise MismatchError(f"The code has {codes.shape[-1]} numbers, the boundary {boundary.shape[1]}.")
    if abs(float(boundary.norm()) - 1.0) > 1e-3:
        raise InputError(f"A boundary's normal has length 1, this one {float(boundary.norm()):.4g}.")
    normal = boundary.to(codes)
    steps = torch.as_tensor(distances, dtype=codes.dtype, device=codes.device)
    if codes.ndim == 2:
        return codes + (steps[:, None] - codes @ normal.t()) * normal
    return codes + steps[:, None, None] * normal
