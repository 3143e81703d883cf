"""From a configuration and tensors to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .. import networks
from ..errors import CorruptCheckpointError

MAX_CONFIG_NUMBER = 4096  # larger widths, counts and resolutions than this are nobody's network
MAX_CONFIG_LENGTH = 64
MAX_COUNT = 64  # of what is repeated in a network: building thousands of modules takes minutes
_COUNTS = ("num_ws", "mapping_layers", "body_blocks")
_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})
# Done to a tensor without values these change nothing.
_SCALINGS = frozenset(getattr(torch.Tensor, name) for name in (
    "div", "mul", "div_", "mul_", "fill_", "zero_", "normal_", "uniform_", "__truediv__", "__mul__", "__rmul__",
    "__imul__", "__itruediv__"))


class Shapes(TorchFunctionMode):
    """Large tensors are made without memory or values while a network is built; its small constants stay real.

    Only ``torch.empty`` is asked for such tensors and nothing is computed with them: the first random or scaled one
    makes torch import its whole compiler, which takes seconds and changes environment variables and warning filters.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = args[0] if args else kwargs.get("tensor")
        changing = func in _SCALINGS or getattr(func, "__module__", None) == "torch.nn.init"
        if changing and isinstance(given, torch.Tensor) and given.is_meta:
            if not any(isinstance(other, torch.Tensor) for other in args[1:]):
                return given
        if func in _FACTORIES and kwargs.get("device") is None:
            value = kwargs.pop("fill_value", args[-1]) if func is torch.full else 0.0
            kwargs = {"dtype": None if type(value) is float else torch.tensor(value).dtype, **kwargs, "device": "meta"}
            kwargs.pop("generator", None)
            return torch.empty(*(args[:1] if func is torch.full else args), **kwargs)
        return func(*args, **kwargs)


def skeleton(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """The network without its weights; refuses a configuration that no network has."""
    _check_config(config)
    try:
        with Shapes():
            return networks.build(kind, config)
    except CorruptCheckpointError as error:
        raise CorruptCheckpointError(f"{error} The file is damaged: get it again.") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptCheckpointError(
            f"The configuration in the file makes no {kind}: {str(error)[:200]}. Get the file again."
        ) from error


def _check_config(value: Any, depth: int = 0) -> None:
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    if depth > 3 or len(items) > MAX_CONFIG_LENGTH:
        raise CorruptCheckpointError(
            "The configuration in the file is absurdly large. It was made to do harm: do not use it."
        )
    if isinstance(value, int | float) and not abs(value) <= MAX_CONFIG_NUMBER:
        raise CorruptCheckpointError(
            f"The configuration in the file asks for a size of {str(value)[:40]}; {MAX_CONFIG_NUMBER} is the "
            "most. Get it again."
        )
    for item in items:
        _check_config(item, depth + 1)
    counts = {name: value.get(name) for name in _COUNTS} if isinstance(value, Mapping) else {}
    for name, count in counts.items():
        if type(count) is int and count > MAX_COUNT:
            raise CorruptCheckpointError(
                f"The configuration in the file asks for {name} = {count}; {MAX_COUNT} is the most. Get it again."
            )


def check_shapes(
    network: nn.Module, shapes: Mapping[str, tuple[int, ...]], optional: set[str] | frozenset[str] = frozenset()
) -> None:
    """Raise ``CorruptCheckpointError`` that names what is missing, superfluous or of the wrong shape."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = [name for name in expected if name not in shapes and name not in optional]
    extra = [name for name in shapes if name not in expected]
    wrong = [name for name in expected if name in shapes and tuple(shapes[name]) != expected[name]]
    if not (missing or extra or wrong):
        return
    said = [f"{len(names)} {what} ({', '.join(n[:80] for n in names[:3])})"
            for names, what in ((missing, "tensors missing"), (extra, "unknown tensors")) if names]
    if wrong:
        name = wrong[0]
        said.append(f"{len(wrong)} of wrong shape ({name[:80]} {list(shapes[name])}, expected {list(expected[name])})")
    raise CorruptCheckpointError(
        f"The tensors do not make a {type(network).__name__}: {'; '.join(said)}. "
        "The file is incomplete, damaged or of an unknown variant: get the original."
    )


def build(kind: str, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """A network with exactly these weights (float32 ones are not copied), in eval mode, without gradients on them.

    Raises ``CorruptCheckpointError`` where configuration and tensors do not fit.
    """
    network = skeleton(kind, config)
    check_shapes(network, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    types = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    network.load_state_dict({name: _of_type(name, tensors[name], dtype) for name, dtype in types.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _of_type(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_floating_point and not tensor.is_floating_point():
        raise CorruptCheckpointError(
            f"Tensor '{name[:80]}' holds {str(tensor.dtype).removeprefix('torch.')} values where a network has "
            "weights. The file is damaged: get it again."
        )
    return tensor.to(dtype)
