"""The corpus that teaches `current`: valid Python with right answers, and nothing of validation or test pairs in it."""

import ast
import re
import runpy
import textwrap
from pathlib import Path

import thinwire
from thinwire.tasks.family import load_family, names

SCRIPT = Path(thinwire.__file__).parent.parent / "benchmarks" / "current_corpus.py"
MADE = runpy.run_path(str(SCRIPT))["functions"](400, 0.25, 0)
OWN_WORDS = {"self", "current", "set", "add"}


def test_functions_are_python_and_each_goes_on_as_its_initialiser_says() -> None:
    for text in MADE:
        ast.parse(textwrap.dedent(text))
        is_set = "current = set()\n" in text
        assert is_set != ("current = ''\n" in text)
        assert ("current.add(" in text) == is_set and ("current += " in text) != is_set
    assert sum("current = set()" in text for text in MADE) == len(MADE) // 2


def test_a_quarter_have_a_variable_of_the_other_type_on_either_side() -> None:
    others = [t for t in MADE if ("= set()\n" in t) and ("= ''\n" in t)]
    assert 0.15 < len(others) / len(MADE) < 0.35
    assert {t.index("current =") < max(t.index("= set()"), t.index("= ''")) - 10 for t in others} == {True, False}


def test_no_name_and_no_template_of_other_splits_is_in_it() -> None:
    words = {word for text in MADE for word in re.findall(r"[A-Za-z_]\w*", text)} - OWN_WORDS
    for split in ("validation", "test"):
        assert not words & {name for pool in names(split).values() for name in pool}
    body = "\n".join(MADE)
    prompts = {
        p.clean for split in ("validation", "test") for p in load_family("set_or_string_fixedvarname").pairs(split)
    }
    assert not any(prompt in body for prompt in prompts)
    assert not re.search(r"^ *(with|try|for \w+, )|is not|if \w+ in ", body, re.MULTILINE)
