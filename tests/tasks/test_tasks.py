"""The built-in tasks as text, the registry, and tasks from files."""

import re
from importlib.resources import files
from random import Random

import pytest
from task_page import BLOCK, PAGE, generated

from thinwire.errors import UserError
from thinwire.tasks.family import SIZES, load_family, names
from thinwire.tasks.registry import FURTHER, PAPER, all_tasks, get_task, resolve_task
from thinwire.tasks.shifts import GENERIC, N_PAIRS, long_names, shifted_pairs, shifts_of
from thinwire.tasks.task import SPLITS, Pair
from thinwire.tasks.template import CONTRAST, SLOT, draw, fill, slots

NAMES = (*PAPER, *FURTHER)
each_task = pytest.mark.parametrize("name", NAMES)


def shape(template: str) -> str:
    """A template without what does not make it another one: indentation and which slot of a pool stands where."""
    return re.sub(r"[ \n]+", " ", SLOT.sub(r"$\1", template)).strip()


def test_the_papers_twenty_tasks_come_first_and_every_data_file_is_registered():
    assert len(PAPER) == 20
    assert tuple(all_tasks()) == NAMES
    assert all(load_family(name).paper == (name in PAPER) for name in NAMES)
    shipped = {entry.name for entry in (files("thinwire.tasks") / "templates").iterdir()}
    assert shipped == {f"{name}.toml" for name in NAMES} | {"contexts.toml", "names.toml", "shifts.toml"}


def test_fill_puts_each_side_of_a_contrast_into_its_prompt():
    pair = fill("<<for|while>> $name<<, $word|>> in", {"$name": "i", "$word": "x"})
    assert pair == Pair(clean="for i, x in", corrupt="while i in")


def test_slots_name_their_pools():
    assert slots("$name = $func($name2, $name)") == {"$name": "name", "$func": "func", "$name2": "name"}


def test_draw_gives_every_filling_with_different_values_once():
    pools = {"name": ("a", "b", "c"), "word": ("c", "d")}
    pairs = list(draw("$name $word <<x|y>>", pools, Random("0")))
    # 3 x 2 fillings, without `c c`
    assert sorted(pair.clean for pair in pairs) == ["a c x", "a d x", "b c x", "b d x", "c d x"]
    assert pairs == list(draw("$name $word <<x|y>>", pools, Random("0")))
    assert pairs != list(draw("$name $word <<x|y>>", pools, Random("1")))


def test_no_name_is_in_two_splits_or_twice_in_a_pool():
    for split in SPLITS:
        assert all(len(set(pool)) == len(pool) > 0 for pool in names(split).values())
    train, validation, test = ({name for pool in names(split).values() for name in pool} for split in SPLITS)
    assert not (train & validation or train & test or validation & test)


@each_task
def test_no_literal_of_a_template_is_a_name_of_another_split(name):
    """Else a test prompt may be a train prompt but for its indentation: `x.write("` where a function can be `write`."""
    family = load_family(name)
    shifted = [template for templates in family.shifts.values() for template in templates]
    for split in SPLITS:
        templates = [*family.templates[split], *(shifted if split == "test" else [])]
        words = {word for template in templates for word in re.findall(r"[A-Za-z_]\w*", SLOT.sub(" ", template))}
        for other in set(SPLITS) - {split}:
            pools = {pool for template in family.templates[other] for pool in slots(template).values()}
            drawn = {value for pool in pools for value in names(other)[pool]}
            assert not words & drawn, (split, other)


@each_task
def test_no_template_is_in_two_splits(name):
    templates = [{shape(template) for template in load_family(name).templates[split]} for split in SPLITS]
    assert len(set().union(*templates)) == sum(map(len, templates))


@each_task
def test_at_least_a_thousand_distinct_pairs_disjoint_between_splits(name):
    pairs = {split: load_family(name).pairs(split) for split in SPLITS}
    assert len(pairs["train"]) >= 500
    assert len(pairs["validation"]) == len(pairs["test"]) == 256
    prompts = [{text for pair in pairs[split] for text in (pair.clean, pair.corrupt)} for split in SPLITS]
    assert len(set().union(*prompts)) == sum(map(len, prompts))
    assert sum(len(set(pairs[split])) for split in SPLITS) == sum(len(pairs[split]) for split in SPLITS) >= 1000


@each_task
def test_a_contrast_is_two_words_at_most(name):
    for templates in load_family(name).templates.values():
        for template in templates:
            contrasts = CONTRAST.findall(template)
            assert 1 <= len(contrasts) <= 2, template
            texts = [SLOT.sub("name", side) for both in contrasts for side in both]
            assert all(len(re.findall(r"\w+|[^\w\s]+|\n", text)) <= 2 for text in texts), template


@each_task
def test_templates_take_turns(name):
    family = load_family(name)
    n_templates = len(family.templates["train"])
    # The first round has one pair of every template, so the second starts with the first template again.
    first, second = family.pairs("train")[0], family.pairs("train")[n_templates]
    template = family.templates["train"][0]
    words = re.escape(CONTRAST.sub(r"\1", template))
    pattern = re.sub(r"\\\$[a-z]+\d?", r"\\w+", words)
    assert re.fullmatch(pattern, first.clean)
    assert re.fullmatch(pattern, second.clean) or len(slots(template)) == 0


def test_pairs_are_the_same_in_every_process_and_never_change_silently():
    # A change here changes tasks: raise the family's version with it.
    assert load_family("for_if_name").pairs("test")[:2] == [
        Pair("    else:\n        for chunks", "    else:\n        if chunks"),
        Pair("        self.check()\n        for chunks", "        self.check()\n        if chunks"),
    ]


def test_prompts_are_long_enough_for_python_and_short_enough_for_a_small_model():
    assert SIZES == {"train": 768, "validation": 256, "test": 256}
    for task in all_tasks().values():
        for split in SPLITS:
            assert max(len(pair.clean) for pair in task.pairs(split)) < 120


@each_task
def test_shifted_prompts_are_new_and_differ_as_the_tasks_own(name):
    family = load_family(name)
    own = {pair for split in SPLITS for pair in family.pairs(split)}
    for shift in shifts_of(family):
        pairs = shifted_pairs(family, shift)
        assert pairs == shifted_pairs(family, shift)
        assert N_PAIRS // 2 <= len(set(pairs)) == len(pairs) <= N_PAIRS
        assert not own & set(pairs)


def test_shifts_do_what_they_say():
    family = load_family("for_if_name")
    assert shifts_of(family) == ("longer_names", "more_context", "deeper")
    plain = shifted_pairs(family, "deeper")[0]
    assert plain.clean.startswith("            else:\n                for ")
    context = shifted_pairs(family, "more_context")[0].corrupt.split("\n")
    assert [line[:4] for line in context[:4]] == ["    "] * 4 and context[2].startswith("    self.")
    assert context[3] == "    else:"
    long = {name for pool in long_names().values() for name in pool}
    assert any(name in shifted_pairs(family, "longer_names")[0].clean for name in long)
    assert not long & {name for split in SPLITS for pool in names(split).values() for name in pool}


def test_the_bracket_lists_are_diluted_by_as_many_elements_as_the_shift_says():
    for shift, n in (("dilution_4", 4), ("dilution_8", 8), ("dilution_12", 12)):
        for name, before in (("bracket_counting", 1), ("bracket_brace", 0)):
            assert all(pair.clean.count(",") == before + n for pair in shifted_pairs(load_family(name), shift))


def test_a_shift_that_would_change_the_answers_is_refused():
    with pytest.raises(UserError, match="indent_for has no shift 'deeper'; there are: longer_names, more_context"):
        shifted_pairs(load_family("indent_for"), "deeper")


def test_a_task_may_be_given_as_an_object():
    family = load_family("with_as")
    assert resolve_task(family) is family
    assert resolve_task("with_as") is family
    with pytest.raises(UserError, match=r"is no task: it lacks name, version, .*pairs; give a name, or an object with"):
        resolve_task(object())


def test_unknown_task_names_the_closest_and_the_verb_that_lists_all():
    with pytest.raises(UserError, match=r"'while_true'; did you mean .*while_return_true.*`thinwire tasks list`"):
        get_task("while_true")
    with pytest.raises(UserError, match=r"no task 'zzz'; `thinwire tasks list`"):
        get_task("zzz")
    with pytest.raises(UserError, match=r"no task 'own\.json'; .*; the name of a file of pairs ends in \.jsonl"):
        get_task("own.json")


def test_the_page_about_tasks_says_what_the_tasks_say():
    page = PAGE.read_text(encoding="utf-8")
    assert BLOCK.findall(page) == [generated()], "run: .venv/bin/python tests/task_page.py"
    assert all(page.count(f"### `{name}`") == 1 for name in NAMES)


def test_the_pages_python_object_is_a_task():
    page = PAGE.read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    namespace = {"__name__": "page"}
    exec(snippet, namespace)
    task = resolve_task(namespace["Loops"]())  # pyright: ignore[reportCallIssue]
    assert [len(task.pairs(split)) for split in SPLITS] == [4, 3, 3]


def test_the_pages_own_line_is_one(tmp_path):
    line = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    path = tmp_path / "own.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match="none of its 1 pairs falls into"):  # read, and too few
        get_task(str(path))


@pytest.mark.parametrize("name", PAPER)
def test_a_scope_is_made_of_its_own_splits_names_and_templates(name: str) -> None:
    """What pruning sees of a shift shares no prompt with what `verify` judges it on, nor between splits."""
    family = load_family(name)
    for shift in (shift for shift in shifts_of(family) if shift in GENERIC):
        seen = {split: set(shifted_pairs(family, shift, split)) for split in SPLITS}
        assert all(seen.values())
        assert not seen["train"] & seen["validation"]
        assert not (seen["train"] | seen["validation"]) & seen["test"]


def test_a_scope_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="has test prompts only; a scope can hold: longer_names, more_context, deeper"):
        shifted_pairs(load_family("bracket_counting"), "dilution_8", "train")
    with pytest.raises(UserError, match="has no shift 'louder'"):
        shifted_pairs(load_family("var_if"), "louder", "train")
