"""Typed configuration: dataclass defaults < JSON file < `key=value` on the command line."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reganie_core.errors import InputError, NotFoundError, ReganieWarning
from reganie_core.paths import read_text

C = TypeVar("C", bound="StageConfig")
T = TypeVar("T")
LARGEST_LR, MOST_THREADS = 10.0, 1024


def _numbers(value: Any) -> Iterator[float]:
    """The numbers in an option: itself, or those in a list or table."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)


def option(default: T, text: str, share: bool = False) -> T:
    """A field of a config: its default, what `train.py STAGE --help` says of it, and whether it lies from 0 to 1."""
    said = {"help": text, "share": share}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=said)
    return dataclasses.field(default=default, metadata=said)


def help_of(cls: type, name: str) -> str:
    """The help text of an option. A subclass that only changes a default keeps the text of its base class."""
    for part in cls.__mro__:
        field = part.__dict__.get("__dataclass_fields__", {}).get(name)
        if field is not None and "help" in field.metadata:
            return field.metadata["help"]
    return ""


@dataclass
class StageConfig:
    """What every stage shares. Lengths are counted in thousands of images (kimg), never in minutes."""

    total_kimg: float = option(100.0, "stop after this many thousand images")
    batch: int = option(16, "pictures per step, all processes together")
    seed: int = option(0, "everything random is a function of (seed, images seen so far)")
    lr: float = option(0.002, "learning rate of Adam")
    beta1: float = option(0.0, "of Adam")
    beta2: float = option(0.99, "of Adam")
    lr_decay_from: float = option(1.0, "share of total_kimg after which lr falls linearly to 0; 1: constant")
    ema_kimg: float = option(2.0, "half-life of the moving average of weights")
    dtype: str = option("float32", "of activations: float32, bfloat16 (CPUs with AVX512-BF16 or AMX, GPUs), float16")
    accumulate: int = option(1, "micro-batches per step and process: the same training in less memory")
    compile: bool = option(False, "torch.compile the trained networks (minutes at the start, then faster)")
    threads: int = option(0, "CPU threads; 0 leaves PyTorch's choice. Use 1 on a busy machine")
    device: str = option("auto", "auto: cuda, then mps, then cpu")
    tick_kimg: float = option(1.0, "a status line this often")
    sheet_kimg: float = option(10.0, "a sample sheet this often")
    validate_kimg: float = option(0.0, "held-out metrics this often, besides at the end; 0: only at the end")
    save_minutes: float = option(3.0, "a resumable checkpoint this often")
    init_from: str = option("", "start from the weights of a .safetensors of the same kind")

    def validate(self) -> None:
        """Raise InputError for values that cannot train."""
        self._check_numbers()
        if self.batch < 1 or self.total_kimg <= 0:
            raise InputError(f"batch ({self.batch}) and total_kimg ({self.total_kimg}) must be positive.")
        if not 0 < self.lr <= LARGEST_LR:
            raise InputError(f"lr is a step of Adam, above 0 and at most {LARGEST_LR:g}; found {self.lr:g}.")
        if max(self.beta1, self.beta2) >= 1:
            raise InputError(f"beta1 and beta2 are from 0 to below 1; found {self.beta1:g} and {self.beta2:g}.")
        if self.accumulate < 1:
            raise InputError(f"accumulate counts the micro-batches of a step, at least 1; found {self.accumulate}.")
        if self.threads > MOST_THREADS:
            raise InputError(f"threads is at most {MOST_THREADS}, 0 for PyTorch's choice; found {self.threads}.")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise InputError(f"dtype is float32, bfloat16 or float16, found {self.dtype!r}.")

    def _check_numbers(self) -> None:
        """No option of any stage has a meaning below 0 (tables may), intervals and counts of pictures are above it."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for number in _numbers(value):
                if not math.isfinite(number) or abs(number) >= 2**63:
                    raise InputError(f"{field.name} takes finite numbers; found {number:g}.")
                if number < 0 and not isinstance(value, dict) and field.default != -1:
                    raise InputError(f"{field.name} is not below 0; found {number:g}.")
                if number == 0 and field.name.endswith(("_interval", "_every_kimg", "_count", "_people", "_views")):
                    raise InputError(f"{field.name} must be above 0; found 0.")

    def check_shares(self, *names: str) -> None:
        """Raise InputError for those of these options that are no share."""
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a share from 0 to 1; found {getattr(self, name)}.")


def _convert(text: str, kind: Any, key: str) -> Any:
    """The text of `key=value` as the type of the dataclass field."""
    origin = typing.get_origin(kind)
    try:
        if kind is bool:
            if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
                raise ValueError(text)
            return text.lower() in ("true", "1", "yes", "on")
        if kind in (int, float, str):
            return kind(text)
        if origin is tuple:
            inner = typing.get_args(kind)[0]
            return tuple(_convert(part.strip(), inner, key) for part in text.split(",") if part.strip())
        if origin is dict:
            return from_json(json.loads(text), kind, key)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{key}={text}: expected {kind if origin else kind.__name__}.") from error
    raise InputError(f"{key} cannot be given on the command line; put it into a JSON file and use --config.")


def from_json(value: Any, kind: Any, key: str) -> Any:
    """A JSON value checked against the type of the dataclass field."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (tuple, list) and isinstance(value, list):
        return origin(from_json(v, inner[0], key) for v in value)
    if origin is dict and isinstance(value, dict):
        return {name: from_json(v, inner[1], key) for name, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, origin or kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise InputError(f"{key} is {repr(value)[:200]}, expected {kind if origin else kind.__name__}.")


#: What options of runs that are resumed were called before.
FORMER_NAMES = {"teach": "pretrain_mapping", "answer_weight": "exact_weight", "answer_without": "exact_without",
                "data_people": "data_count"}


def build(cls: type[C], file: str | Path | None, overrides: list[str], resuming: bool = False) -> C:
    """Defaults of `cls`, then the JSON file, then `key=value` overrides; an unknown key is an error.

    resuming: the file is the config.json of a run, perhaps of an earlier version. Options that are constants by now
    are left out of it, with a warning that names them.
    """
    kinds = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    values: dict[str, Any] = {}

    def check(key: str, source: str) -> None:
        if key not in known:
            raise InputError(f"Unknown option {key!r} in {source}. Known: {', '.join(known)}.")

    if file:
        path = Path(file)
        if not path.is_file():
            raise NotFoundError(f"No config file {path}; the shipped ones are in trainer/configs.")
        try:
            data = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not valid JSON: {error}.") from error
        if not isinstance(data, dict):
            raise InputError(f"{path} must be a JSON object of options, found {type(data).__name__}.")
        if resuming:
            data = {FORMER_NAMES.get(key, key) if key not in known else key: value for key, value in data.items()}
            if gone := {key: data.pop(key) for key in sorted(data.keys() - set(known))}:
                warnings.warn("This run was started by an earlier version. Options that are no longer there are left "
                              f"out: {', '.join(f'{k}={v}' for k, v in gone.items())}.", ReganieWarning, stacklevel=2)
        for key, value in data.items():
            check(key, str(path))
            values[key] = from_json(value, kinds[key], key)
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep:
            raise InputError(f"{item!r} is not of the form key=value.")
        check(key, "the command line")
        values[key] = _convert(text, kinds[key], key)
    config = cls(**values)
    config.validate()
    if config.device == "auto":
        config.device = _best_device()
    return config


def _best_device() -> str:
    import torch  # not at the top: `--help` and `--options` are quick

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


# Options that change how a run is carried out or how long, not what a step computes.
HARMLESS = {"total_kimg", "threads", "device", "tick_kimg", "sheet_kimg", "validate_kimg", "save_minutes", "accumulate",
            "compile"}


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The options that changed since `before` and matter to what is trained, as text; empty when none did."""
    changed = [k for k, v in now.items() if k not in HARMLESS and k in before and before[k] != v]
    return ", ".join(f"{k} {before[k]} -> {now[k]}" for k in changed)


def to_dict(config: StageConfig) -> dict[str, Any]:
    """JSON-ready form of a config."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
