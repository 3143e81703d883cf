"""What goes where between X^ and Y^: flow, and carrying the lost detail along it. Ours, beyond the paper."""

from .carry import Carried, Carry
from .flow import estimate_flow, warp
from .trivial import trivial_rows

__all__ = ["Carried", "Carry", "estimate_flow", "trivial_rows", "warp"]
