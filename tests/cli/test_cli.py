"""The command line teaches, refuses clearly and prints what it measured."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import thinwire
from thinwire.cli import registry
from thinwire.cli.main import main
from thinwire.cli.verb import Verb
from thinwire.errors import UserError

SMALL = [
    *("--model.vocab_size=288", "--model.d_model=32", "--model.context=16", "--model.n_layer=1"),
    *("--train.n_tokens=2560", "--train.batch_size=8", "--train.density=0.2", "--data.heldout_frac=0.3"),
]


def run(*argv: str) -> int:
    """Exit code of a command line, in this process."""
    try:
        return main(list(argv))
    except SystemExit as leaving:
        assert isinstance(leaving.code, int)
        return leaving.code


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a refused command line leaves on stderr."""
    assert run(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("thinwire: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("thinwire: error: ").rstrip("\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_corpus: Path) -> Path:
    """A run of 20 steps, made by the command line; it learns nothing of them, and the exit code says so."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert run("train", "--out", str(out), "--json", f"--data.source={small_corpus}", *SMALL) == 1
    return out


# --- help -----------------------------------------------------------------------------------------------------------


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"], ["help"]):
        assert run(*argv) == 0
        out = capsys.readouterr().out
        assert all(f"thinwire {name}" in out for name in registry.VERBS)


def test_help_of_a_group_lists_its_verbs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["tasks", "--help"], ["tasks", "-h"], ["help", "tasks"]):
        assert run(*argv) == 0
        out = capsys.readouterr().out
        assert "thinwire tasks check" in out and "thinwire train" not in out


def test_help_takes_a_verb_and_guesses_a_misspelt_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("help", "train") == 0
    assert "usage: thinwire train" in capsys.readouterr().out
    assert run("help", "tasks", "check") == 0
    assert "usage: thinwire tasks check" in capsys.readouterr().out
    assert error_of(capsys, "help", "trian") == "unknown verb trian; did you mean train?"


def test_recipes_are_listed_where_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from thinwire.training.recipes import RECIPES

    assert run("train", "--help") == 0
    assert ", ".join(RECIPES) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("verb", ["verify", "baselines", "prune", "tasks check"])
def test_what_may_be_left_out_is_not_called_required(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*verb.split(), "--help") == 0
    assert capsys.readouterr().out.count("required") == 1  # the run


@pytest.mark.parametrize("verb", list(registry.VERBS))
def test_each_verb_explains_itself_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*verb.split(), "--help") == 0
    out = capsys.readouterr().out
    assert registry.VERBS[verb].summary in " ".join(out.split())
    assert f"example:\n  thinwire {verb}" in out
    assert "--json" in out


def test_help_explains_fields_with_the_configs_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Share of nonzero weights in every matrix after annealing; 1 trains a dense model." in out
    assert "Width of the residual stream D, in channels; a multiple of d_head." in out


def test_help_is_fast() -> None:
    before = os.times().children_user
    subprocess.run([sys.executable, "-m", "thinwire", "train", "--help"], check=True, stdout=subprocess.DEVNULL)
    assert os.times().children_user - before < 1.5  # seconds of processor time; importing torch alone takes more


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"thinwire {thinwire.__version__}\n"


def test_the_packages_examples_parse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every example in a help text is accepted by its own parser."""
    from thinwire.cli.arguments import new_parser, parse

    for name, verb in registry.VERBS.items():
        for line in verb.example.splitlines():
            words = line.partition(" > ")[0].split()[1 + len(name.split()) :]
            parser = new_parser(name, verb.usage, verb.summary, verb.example)
            verb.add_arguments(parser, words)
            if "--print_config" not in words:
                parse(parser, words)


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_a_misspelt_verb_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "trian") == "unknown verb trian; did you mean train?"
    assert error_of(capsys, "tasks", "lst") == "tasks needs one of: list, show, check, export"


def test_unknown_and_missing_arguments_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--jsn" in error_of(capsys, "doctor", "--jsn")
    assert "did you mean --train.n_tokens?" in error_of(capsys, "train", "--train.n_tok=5")  # no abbreviations
    assert "required: run" in error_of(capsys, "eval")
    assert "no task is named" in error_of(capsys, "prune", "runs/x")
    assert "--out is missing" in error_of(capsys, "train")


def test_options_take_dashes_and_underscores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--k_coef=0.5", "--k-coef=0.5"):
        assert printed_config(capsys, "prune", "runs/x", "t", option)["k_coef"] == 0.5
    assert printed_config(capsys, "train", "--train.n-tokens", "70")["train"]["n_tokens"] == 70
    assert printed_config(capsys, "train", "--data.source=a-b")["data"]["source"] == "a-b"
    assert run("train", "--dry-run", "--json", *SMALL) == 0


def test_misspelt_options_are_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "prune", "r", "t", "--target-los", "1") == (
        "unknown option --target_los; did you mean --target_loss?"
    )
    assert error_of(capsys, "eval", "r", "--circuit") == "unknown option --circuit; did you mean --circuits?"
    assert "thinwire eval --help lists what there is" in error_of(capsys, "eval", "r", "--zzzzzz")


def test_every_task_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from thinwire.cli.arguments import new_parser, parse, tasks_of

    verb = registry.VERBS["prune"]
    parser = new_parser(verb.name, verb.usage, verb.summary, verb.example)
    verb.add_arguments(parser, [])
    found = parse(parser, ["RUN", "a", "b", "--task", "c", "--task", "d", "a"])
    assert tasks_of(found) == ["a", "b", "c", "d"]


def test_wrong_values_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "train.n_tokens: expected int, got many" in error_of(capsys, "train", "--train.n_tokens=many")
    assert "'auto', 'cpu', 'cuda', 'mps'" in error_of(capsys, "eval", "runs/x", "--device", "tpu")
    assert "scope: expected a list, written [ITEM,...], got deeper" in error_of(
        capsys, "prune", "runs/x", "t", "--scope", "deeper"
    )


def test_what_a_config_refuses_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "d_model 65 is not a multiple of d_head 16; use 64" in error_of(
        capsys, "train", "--dry-run", "--model.d_model=65"
    )
    assert "floor 0.015625" in error_of(capsys, "train", "--dry-run", "--train.density=0.001")  # 4 / 256
    assert "target_loss -1.0 is not in (0, 100]" in error_of(capsys, "prune", "runs/x", "t", "--target_loss=-1")


def test_an_unknown_recipe_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown recipe 'nope'; there are: demo" in error_of(capsys, "train", "--recipe", "nope")


@pytest.mark.parametrize("verb", [["eval"], ["tasks", "check"], ["verify"], ["report"]])
def test_a_folder_without_a_run_is_named(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere holds no run" in error_of(capsys, *verb, str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


# --- config files ---------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_unknown_keys_in_a_file_name_file_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "run.yaml", "train:\n  n_tokenz: 5\n")
    expected = f"{path}: unknown key train.n_tokenz; did you mean train.n_tokens?"
    assert error_of(capsys, "train", "--dry-run", "--config", path) == expected
    assert error_of(capsys, "train", "--dry-run", f"--config={path}") == expected
    path = write(tmp_path / "prune.yaml", "colour: red\n")
    assert f"{path}: unknown key colour" in error_of(capsys, "prune", "runs/x", "t", "--config", path)


def test_unknown_keys_in_a_groups_file_name_file_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "model.yaml", "d_modell: 64\n")
    message = error_of(capsys, "train", "--dry-run", "--model", path)
    assert message == f"{path}: unknown key d_modell; did you mean d_model?"


def test_wrong_values_in_a_file_name_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "run.yaml", "train:\n  n_tokens: many\n")
    message = error_of(capsys, "train", "--dry-run", "--config", path)
    assert message.startswith(f"{path}: train.n_tokens: expected int, got many")


def test_files_that_are_no_config_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write(tmp_path / "broken.yaml", "train: [\n")
    assert f"{broken} is not valid YAML" in error_of(capsys, "train", "--config", broken)
    listed = write(tmp_path / "list.yaml", "- train\n")
    assert f"{listed} holds no options" in error_of(capsys, "train", "--config", listed)
    assert "absent.yaml is missing" in error_of(capsys, "train", "--config", str(tmp_path / "absent.yaml"))


def printed_config(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    assert run(*argv, "--print_config") == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_print_config_is_complete_and_holds_the_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import asdict

    from thinwire.training.recipes import recipe

    config = printed_config(capsys, "train", "--model.d_model=128", "--seed", "3")
    expected = json.loads(json.dumps(asdict(recipe("demo"))))  # tuples become lists, as in YAML
    expected["model"]["d_model"], expected["train"]["seed"] = 128, 3
    assert config == expected


def test_a_printed_config_gives_the_same_config_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["train", "--recipe", "demo-dense", "--train.n_tokens=7"], ["prune", "runs/x", "t", "--k_coef=0.5"]):
        first = printed_config(capsys, *verb)
        path = write(tmp_path / "again.yaml", yaml.safe_dump(first))
        positional = [word for word in verb[:3] if not word.startswith("-")] if verb[0] == "prune" else ["train"]
        assert printed_config(capsys, *positional, "--config", path) == first


def test_flags_win_over_the_file_and_the_file_over_the_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "run.yaml", "recipe: demo-dense\ntrain:\n  batch_size: 7\n  n_tokens: 70\n")
    config = printed_config(capsys, "train", "--config", path, "--train.n_tokens=99")
    assert config["train"]["batch_size"] == 7  # file
    assert config["train"]["n_tokens"] == 99  # flag
    assert config["train"]["density"] == 1.0  # recipe that the file names
    assert config["recipe"] == "demo-dense"
    assert printed_config(capsys, "train", "--config", path, "--recipe", "demo")["train"]["density"] < 1.0


# --- results --------------------------------------------------------------------------------------------------------


def test_json_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["doctor", "--json"], ["tasks", "list", "--json"], ["train", "--dry-run", "--json", *SMALL]):
        assert run(*argv) == 0
        assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_tables_show_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tasks", "list") == 0
    out = capsys.readouterr().out
    assert "single_double_quote" in out
    assert "while_return_true" in out


def test_show_prints_pairs_with_their_line_breaks_visible(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tasks", "show", "while_return_true", "--pairs", "2", "--json") == 0
    task = json.loads(capsys.readouterr().out)
    assert {split: len(pairs) for split, pairs in task["pairs"].items()} == {"train": 2, "validation": 2, "test": 2}
    assert run("tasks", "show", "while_return_true") == 0
    assert "while True" in capsys.readouterr().out


def test_an_unknown_task_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no_such_task" in error_of(capsys, "tasks", "show", "no_such_task")


def test_a_dry_run_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run("train", "--out", str(out), "--dry-run", "--json", "--model.d_model=64", "--train.density=1") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["nonzero"] == plan["parameters"]  # dense
    assert plan["tokens"] == plan["steps"] * 64 * 64  # batch x context of the recipe
    assert not out.exists()


def test_the_demo_tells_its_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--out", str(tmp_path / "demo"), "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []


def test_train_then_eval_agree(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("eval", str(trained), "--json") == 0
    measured = json.loads(capsys.readouterr().out)
    assert run("train", "--out", str(trained), "--resume", "--json") == 1
    finished = json.loads(capsys.readouterr().out)
    assert finished["steps"] == 20  # 2560 tokens / (8 x 16)
    assert measured["heldout_loss"] == finished["heldout_loss"]
    assert measured["fingerprint"] == finished["fingerprint"]
    assert run("eval", str(trained)) == 0
    out, err = capsys.readouterr()
    assert "blocks.0.mlp.neuron.weight" in out
    assert "held-out loss" in err


def test_a_run_keeps_its_settings(trained: Path, small_corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    message = error_of(capsys, "train", "--out", str(trained), "--resume", "--train.n_tokens=9999", "--seed=1")
    assert "other values of train.n_tokens, train.seed" in message
    again = ["train", "--out", str(trained), f"--data.source={small_corpus}", *SMALL]
    assert "not empty" in error_of(capsys, *again)  # another run is never overwritten
    assert run(*again, "--resume", "--json") == 1  # the same command with --resume, as the hint gives it


# --- interruptions --------------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Verb:
    def fail(arguments: object) -> dict:
        raise error

    from dataclasses import replace

    return replace(registry.VERBS["train"], run=fail)


def test_an_interruption_says_how_to_continue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.VERBS, "train", raising(KeyboardInterrupt()))
    assert run("train", "--out", "runs/my run") == 130
    err = capsys.readouterr().err
    assert err == "thinwire: interrupted; continue with: thinwire train --out 'runs/my run' --resume\n"


def test_a_full_disk_says_where_and_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setitem(registry.VERBS, "train", raising(full))
    message = error_of(capsys, "train", "--out", str(tmp_path))
    assert message.startswith(f"disk full: free space in {tmp_path}, then continue with: thinwire train")
    assert message.endswith("--resume")


def test_a_refused_directory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(registry.VERBS, "train", raising(PermissionError(errno.EACCES, "Permission denied", "/root/x")))
    assert error_of(capsys, "train").startswith("Permission denied: /root/x")


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "a bug"), ZeroDivisionError()):
        monkeypatch.setitem(registry.VERBS, "train", raising(error))
        with pytest.raises(type(error)):
            run("train")


def test_a_message_of_several_lines_becomes_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.VERBS, "train", raising(UserError("first\n  second")))
    assert error_of(capsys, "train") == "first second"


def test_a_failed_checkup_exits_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from thinwire.workflows import doctor

    monkeypatch.setattr(doctor, "FIRST_CHECKS", (lambda: doctor.check_python((3, 9, 0)),))
    assert run("doctor") == 2
    assert "thinwire needs Python 3.11" in capsys.readouterr().out


def test_the_command_is_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "thinwire", "nope"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("thinwire: error: unknown verb nope")
    assert "Traceback" not in done.stderr
