"""Settings of a pruning as a person reads them: what differs from the defaults, by name."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from thinwire.pruning.config import PruneConfig

EFFORT = ("k_coef", "steps", "learning_rate", "warmup_frac", "weight_decay", "batch_pairs", "means_tokens", "seed")
"""Settings that say how a circuit was looked for. All others say what was asked of it, and decide what its size means:
circuits may be compared, and the smallest of them taken, only where these agree."""
DEFAULTS = {field.name: field.default for field in fields(PruneConfig)}
RUNGS = ("require", "terms", "starts")
"""Settings that may differ along a ladder of requirements."""
PLAIN = "defaults"
"""Name of settings that differ from the defaults in nothing."""
DEFAULT_WORDS = "default settings"


def settings_name(hyperparameters: Mapping[str, Any]) -> str:
    """`k_coef=0.0003 target_loss=0.3`; `defaults` where nothing differs, `not stated` for another tool's circuit."""
    if not hyperparameters:
        return "not stated"
    return " ".join(_differences(hyperparameters)) or PLAIN


def settings_words(hyperparameters: Mapping[str, Any]) -> str:
    """The same as a page says it: `default settings` where nothing differs."""
    name = settings_name(hyperparameters)
    return DEFAULT_WORDS if name == PLAIN else name


def asked_name(hyperparameters: Mapping[str, Any], apart_from: Collection[str] = ()) -> str:
    """The same of those settings alone that say what was asked of the circuit, without those in `apart_from`."""
    asked = {name: value for name, value in hyperparameters.items() if name not in (*EFFORT, *apart_from)}
    return " ".join(_differences(asked)) or PLAIN


def _differences(hyperparameters: Mapping[str, Any]) -> list[str]:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in hyperparameters.items()}
    in_order = [name for name in DEFAULTS if name in values] + [name for name in values if name not in DEFAULTS]
    return [
        f"{name}={text(values[name])}" for name in in_order if name not in DEFAULTS or values[name] != DEFAULTS[name]
    ]


def text(value: Any) -> str:
    """One value, as `--where` takes it back."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "+".join(map(text, value))
    return str(value)
