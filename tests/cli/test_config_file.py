from dataclasses import replace
from pathlib import Path

import pytest

from thinwire.errors import CorruptFile
from thinwire.training.config import RunConfig
from thinwire.training.config_file import from_yaml, to_yaml
from thinwire.training.recipes import RECIPES

PATH = Path("runs/x/config.yaml")


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_survives_the_file(name: str) -> None:
    config = RECIPES[name]()
    assert from_yaml(to_yaml(config), PATH) == config


def test_tuples_come_back_as_tuples() -> None:
    config = RunConfig(data=replace(RunConfig().data, suffixes=(".py", ".pyi")))
    assert from_yaml(to_yaml(config), PATH).data.suffixes == (".py", ".pyi")


def test_an_unknown_key_names_file_and_key() -> None:
    with pytest.raises(CorruptFile, match=r"runs/x/config.yaml: unknown keys: model.d_modell, model.depth; was it"):
        from_yaml("model: {d_modell: 3, depth: 2}", PATH)


def test_a_key_that_an_older_version_did_not_write_has_its_default() -> None:
    text = "\n".join(line for line in to_yaml(RunConfig(threads=3)).splitlines() if "weight_decay" not in line)
    assert from_yaml(text, PATH) == RunConfig(threads=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [", "is not valid YAML"),
        ("", "expected object, got null"),
        ("train: 3", "train: expected object, got int"),
        ("train: {density: 2.0}", "density 2.0 is not in"),
        ("train: {density: low}", "runs/x/config.yaml: "),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_file(text: str, message: str) -> None:
    with pytest.raises(CorruptFile, match=message) as error:
        from_yaml(text, PATH)
    assert str(error.value).startswith(str(PATH)) and "\n" not in str(error.value)
