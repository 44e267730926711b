"""Places of real code that look like a task: found where they are, and followed by what the task says."""

import pytest

from thinwire.data.config import DataConfig
from thinwire.data.corpus import read_corpus
from thinwire.tasks.contexts import Places, contexts, count_contexts
from thinwire.tasks.registry import all_tasks
from thinwire.tasks.task import SPLITS

TASKS = all_tasks()


@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_own_prompts_are_places_of_it_and_go_on_right(name: str) -> None:
    answers = TASKS[name].alternatives[0]
    pairs = [pair for split in SPLITS for pair in TASKS[name].pairs(split)]
    clean = [f"\n{pair.clean}{answers.answer}{answers.answer_rest}\n" for pair in pairs]
    corrupt = [f"\n{pair.corrupt}{answers.other}{answers.other_rest}\n" for pair in pairs]
    found = count_contexts(clean, [name])[name][0], count_contexts(corrupt, [name])[name][1]
    for places in found:
        assert places.wrong == 0
        assert places.right > 0.45 * len(pairs)  # the expressions know the commonest shapes, not all


def test_places_by_hand() -> None:
    text = (
        "\ndef f(a):\n"
        '    call("text")\n'
        "    call('text')\n"
        "    call('text', 1)\n"
        "    call('text\")\n"  # the other side's answer
        "    for name in a:\n"
        "    while a:\n"
    )
    found = count_contexts([text, text], ["single_double_quote", "for_while"])
    assert found["single_double_quote"] == (Places(2, 2, 0), Places(6, 2, 2))
    assert found["for_while"] == (Places(2, 2, 0), Places(2, 2, 0))


def test_the_longer_answer_counts_where_both_fit() -> None:
    clean, _ = contexts()["bracket_counting"]
    assert (clean.right, clean.wrong) == ("]]", "]")
    found = count_contexts(["x = [1, [2, 3]]\n", "x = [1, [2, 3], 4]\n"], ["bracket_counting"])["bracket_counting"]
    assert found[0] == Places(n=2, right=1, wrong=1)


@pytest.mark.slow
def test_real_code_goes_on_as_the_tasks_say() -> None:
    found = count_contexts(read_corpus(DataConfig()).texts("train"))
    seen = [(name, side) for name, both in found.items() for side in both if side.n >= 20]
    assert len(seen) >= 36
    assert [name for name, side in seen if side.right <= side.wrong] == []
