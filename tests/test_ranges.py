"""A setting outside its range is refused in one line that names the range, from wherever it comes, before a model is
built."""

import math
import re
from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from thinwire import ranges
from thinwire.cli.main import main
from thinwire.data.config import DataConfig
from thinwire.errors import CorruptFile, UserError
from thinwire.model.config import ModelConfig, Variant
from thinwire.pruning.config import PruneConfig
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.training.config_file import from_yaml
from thinwire.verification.budget import BUDGETS
from thinwire.workflows.benchmark import BenchmarkConfig

CONFIGS = [DataConfig(), Variant(), ModelConfig(), TrainConfig(), RunConfig(), PruneConfig(), BUDGETS["fast"]]
CONFIGS += [BenchmarkConfig(methods=())]
NUMBERS = {
    f"{type(config).__name__}.{field.name}": (config, field.name)
    for config in CONFIGS
    for field in fields(config)
    if field.type in (int, float)
}
ABSURD = [-1e30, 1e30, 10**4400, -(10**4400), math.nan, math.inf, -math.inf, True, "many", None, [1]]
WRONG = [
    ("train.learning_rate", -0.01, r"learning_rate -0.01 is not in \(0, 1\]; the default is 0.0128"),
    ("train.learning_rate", 30, r"learning_rate 30(\.0)? is not in \(0, 1\]"),
    ("train.n_tokens", 10**23, r"n_tokens 1\d+ is not in \[1, 1e15\]"),
    ("train.seed", -1, r"seed -1 is not in \[0, 1e18\]"),
    ("train.batch_size", 0, r"batch_size 0 is not in \[1, 1e6\]"),
    ("train.checkpoint_every_steps", 0, r"checkpoint_every_steps 0 is not in \[1, 1e9\]"),
    ("train.spike_factor", 0.5, r"spike_factor 0.5 is not above 1; 0 switches the guard off"),
    ("threads", -1, r"threads -1 is not in \[0, 4096\]; 0 takes all cores"),
    ("model.d_head", 0, r"d_head 0 is not in \[1, 1e5\]"),
    ("model.n_layer", 10**9, r"n_layer 1000000000 is not in \[1, 1000\]"),
    ("model.vocab_size", 70_000, r"vocab_size 70000 is not in \[1, 65536\]"),
    ("model.context", 10**9, r"context 1000000000 is not in \[1, 1e6\]"),
    ("model.d_model", 10**12, r"d_model 1000000000000 is not in \[1, 1e5\]"),
    ("data.heldout_frac", 1, r"heldout_frac 1(\.0)? is not in \(0, 1\); the default is 0.05"),
    ("data.copies", 0, r"copies 0 is not in \[1, 1e6\]; 1 repeats nothing"),
]


def made(config: Any, **changes: Any) -> Any:
    """As `replace` gives it, past the type checks that only tests have."""
    changed = copy(config)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    changed.__post_init__()
    return changed


@pytest.mark.parametrize(("config", "name"), NUMBERS.values(), ids=NUMBERS)
def test_every_number_of_every_config_has_a_range(config: Any, name: str) -> None:
    for value in ABSURD:
        with pytest.raises(UserError, match=f"^{name} ") as error:
            made(config, **{name: value})
        assert len(str(error.value)) < 200 and "\n" not in str(error.value)


def test_what_is_no_number_has_its_type() -> None:
    for wrong in ({"positions": "lerned"}, {"bigram": 1}, {"sink": "yes"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            made(ModelConfig(), **wrong)
    with pytest.raises(UserError, match="mode 'fast' is unknown; there are: exact, certified, regrow"):
        made(TrainConfig(), mode="fast")
    with pytest.raises(UserError, match="suffixes 3 is no text in UTF-8"):
        made(DataConfig(), suffixes=3)
    with pytest.raises(UserError, match=r"terms \('mean', 3\) is no list of texts"):
        made(PruneConfig(), terms=("mean", 3))


def test_a_number_without_a_range_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="numbers without a range"):
        ranges.check(BUDGETS["fast"], random_sets="[1, 2]")


@pytest.mark.parametrize(("key", "value", "said"), WRONG)
def test_a_stored_config_is_held_to_them(key: str, value: float, said: str) -> None:
    group, _, name = key.rpartition(".")
    text = f"{group}: {{{name}: {value}}}" if group else f"{name}: {value}"
    with pytest.raises(CorruptFile, match=f"^runs/x/config.yaml: .*{said}"):
        from_yaml(text, Path("runs/x/config.yaml"))


@pytest.mark.parametrize(("key", "value", "said"), WRONG)
@pytest.mark.parametrize("more", [(), ("--dry_run",)])
def test_a_command_line_is_held_to_them(
    key: str, value: float, said: str, more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", f"--out={out}", f"--{key}={value}", *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("thinwire: error: ")
    assert re.search(said, line)
    assert not out.exists()


def test_what_this_machine_cannot_hold_is_refused_before_it_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--model.n_layer=100", "--model.d_model=25600"]  # 100 x 12 x 25600^2 = 786e9 weights, 2.9 TiB
    assert main(["train", f"--out={tmp_path / 'run'}", *shape]) == 2
    assert "the weights alone take 2," in capsys.readouterr().err
    assert main(["train", f"--out={tmp_path / 'run'}", *shape, "--model.n_layer=1000"]) == 2
    assert "parameters, more than 1e+12" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_bounds_are_exact() -> None:
    assert PruneConfig(seed=10**18).seed == 10**18
    with pytest.raises(UserError, match="seed"):
        PruneConfig(seed=10**18 + 1)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("prune", "runs/x", "own", "--seeds=1000000000"), r"seeds 1000000000 is not in \[1, 1e4\]"),
        (("prune", "runs/x", "own", "--workers=0"), r"workers 0 is not in \[1, 1024\]"),
        (("prune", "runs/x", "own", "--search=-1"), r"search -1 is not in \[0, 1e5\]"),
        (("prune", "runs/x", "own", "--target_loss=nan"), "target_loss: expected float, got nan"),
        (("tasks", "show", "for_while", "--pairs=-1"), r"pairs -1 is not in \[0, 1e6\]"),
        (("view", "runs/x", "--live", "--port=70000"), r"port 70000 is not in \[0, 65535\]; 0 takes a free one"),
        (("benchmark", "--out=runs/x", "--seeds=0"), r"seeds 0 is not in \[1, 1e4\]"),
    ],
)
def test_so_are_the_options_of_other_verbs(
    argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(argv)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
