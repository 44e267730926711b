"""Five questions about one circuit, answered from its measurements: what a newcomer reads first.

1 what it decides  2 where it reads the difference  3 which head carries it  4 what happens without it
5 how it differs from the dense twin's. docs/viewer.md says where the page answers each.
"""

from thinwire.circuits.anatomy import anatomy
from thinwire.evidence.records import HeadEffects, PairEvidence
from thinwire.model.sites import EMBED, node_key
from thinwire.viewer.attention import looks_evenly
from thinwire.viewer.contract import Report, TaskModel, TaskReport, present
from thinwire.viewer.contrast import differing_tokens
from thinwire.viewer.markup import Markup, join, tag, token
from thinwire.viewer.settings import stand_in
from thinwire.viewer.sides import NAMES
from thinwire.viewer.story import QUOTE_TASK
from thinwire.viewer.verdicts import verdict_sentence
from thinwire.viewer.wording import loss, percent, plural, ratio, signed, upper_first

_MATTERS = 1.05
"""A head matters when the circuit's loss without it is more than so many times as large."""


def _number(words: str) -> Markup:
    return tag("strong", words)


def _link(target: str, words: str) -> Markup:
    return tag("a", words, href=f"#{target}", class_="more")


def _decides(task: TaskReport, part: TaskModel) -> Markup:
    test, model = part.circuit.scores["test"], part.circuit.model_scores["test"]
    return join([
        task.description.rstrip("."), ": the next token is ", token(task.example.answer), " or ",
        token(task.example.other), ". With nothing but the circuit the model is right on ",
        _number(percent(test.accuracy)), f" of {plural(part.n_test_prompts, 'unseen prompt')}; the whole model on "
        f"{percent(model.accuracy)}. Guessing gives 50\u00a0%.",
    ])  # fmt: skip


def _reads(part: TaskModel) -> Markup | None:
    evidence = part.evidence
    if not evidence:
        return None
    pair, kept = evidence.pair, part.circuit.nodes.get(EMBED, ())
    spots = differing_tokens(pair.clean_tokens, pair.corrupt_tokens)
    if not kept or not spots:
        return None
    first = spots[0]
    told = [(c, pair.nodes.get(node_key(EMBED, c))) for c in kept]
    at = {c: (node.clean[first], node.corrupt[first]) for c, node in told if node and node.clean}
    lively = sorted((c for c in at if at[c][0] != at[c][1]), key=lambda c: -abs(at[c][0] - at[c][1]))
    words = join([
        "At token ", _number(str(first + 1)), ", where the two prompts differ: ", token(pair.clean_tokens[first]),
        " against ", token(pair.corrupt_tokens[first]), f". Of {plural(len(kept), 'embedding channel')} in the "
        f"circuit, {len(lively)} {'tells' if len(lively) == 1 else 'tell'} the two apart there",
    ])  # fmt: skip
    if not lively:
        return join([words, "."])
    c = lively[0]
    a, b = at[c]
    return join([words, f"; channel {c} most, {signed(a)} against {signed(b)}."])


def _looks_at(pair: PairEvidence, head: str) -> Markup | None:
    look = pair.attention.get(head)
    if not look or not look.clean:
        return None
    if looks_evenly(look):
        return Markup(" It looks at all tokens alike: it averages its values over the prompt.")
    last = look.clean[-1]
    spot = max(range(len(last)), key=last.__getitem__)
    spots = differing_tokens(pair.clean_tokens, pair.corrupt_tokens)
    there = ", the token that tells the prompts apart" if spot in spots else ""
    words = token(pair.clean_tokens[spot])
    return join(
        [" From the last token it looks most at ", words, f" (token {spot + 1}, {percent(last[spot])}){there}."]
    )


def _named(head: str) -> str:
    layer, index = head.split(".")
    return f"head {index} of layer {layer}"


def carrying_head(heads: HeadEffects | None) -> str | None:
    """The head without which the circuit loses most; None where no head was taken out."""
    without = heads.without if heads else {}
    return max(without, key=lambda head: (without[head].loss, head)) if without else None


def _carries(part: TaskModel) -> Markup | None:
    evidence = part.evidence
    head = carrying_head(evidence.heads) if evidence else None
    if evidence is None or head is None:
        return None
    base, without = evidence.heads.whole, evidence.heads.without
    on = f" ({plural(evidence.heads.n_prompts, 'prompt')})"
    if without[head].loss <= base.loss * _MATTERS:
        more = percent(_MATTERS - 1)
        return Markup(f"None alone: taking out any single head raises the circuit's loss by at most {more}{on}.")
    words: list[object] = [
        _number(upper_first(_named(head))), ": without it the circuit's accuracy goes from ",
        percent(base.accuracy), " to ", _number(percent(without[head].accuracy)), on, ".",
    ]  # fmt: skip
    others = [h for h in without if h != head]
    if others:
        second = max(others, key=lambda h: without[h].loss)
        words.append(
            f" Of the {plural(len(others), 'other head')}, the one that matters most is {_named(second)}: without it, "
            f"{percent(without[second].accuracy)}."
        )
    else:
        words.append(" It is the only head in the circuit.")
    return join([*words, _looks_at(evidence.pair, head)])


def _without(part: TaskModel) -> Markup | None:
    judgement = part.judgement
    if judgement is None:
        return None
    out = judgement.removals
    words: list[object] = []
    if out:
        on = f" of {plural(out.n_prompts, 'prompt')}" if out.n_prompts is not None else ""
        words += [
            f"Take these {plural(part.circuit.n_nodes, 'node')} out of the whole model (each {stand_in(part.circuit)}) "
            "and its accuracy is ", _number(percent(out.nodes_accuracy)), on,
            f" (loss {loss(out.nodes_loss)} instead of {loss(out.model_loss)}).",
        ]  # fmt: skip
        if out.random_mean is not None and out.random_largest is not None:
            n = out.n_random_prompts
            on = "" if n is None or n == out.n_prompts else f", on {n} of these prompts"
            words.append(
                f" {plural(out.n_random, 'random set')} of as many nodes outside the circuit: {loss(out.random_mean)} "
                f"on average, {loss(out.random_largest)} at most{on}."
            )
    if judgement.verdict:
        words += [" ", verdict_sentence(part)]
        reasons = len(judgement.reasons)
        if reasons:
            words.append(f" {plural(reasons, 'reason speaks', 'reasons speak')} against more.")
    return join(words) if words else None


def _differs(task: TaskReport, report: Report) -> Markup | None:
    if len(task.models) < 2:
        return None
    sizes = []
    for side in present(task.models):
        part = task.models[side]
        if not part.target_met:
            sizes.append(join([f"no circuit of the {NAMES[side]} met the target (best loss {loss(part.best_loss)})"]))
            continue
        heads = anatomy(part.circuit.nodes, report.models[side].d_head).heads
        more = f", {plural(heads, 'head')}" if heads else ""
        size, does = plural(part.circuit.n_edges, "edge"), "suffice" if part.suffices else "meet the target"
        sizes.append(
            join([f"in the {NAMES[side]} ", _number(size), f" {does} ({plural(part.circuit.n_nodes, 'node')}{more})"])
        )
    words: list[object] = ["For this task ", join(sizes, ", "), "."]
    if all(task.models[side].target_met for side in present(task.models)):
        a, b = (max(task.models[side].circuit.n_edges, 1) for side in present(task.models))
        if b >= a:
            words += [" That is ", _number(f"{ratio(b / a)} times"), " as many edges in the dense one"]
        else:
            words += [" So here the sparse circuit is the larger one, by ", _number(f"{ratio(a / b)} times")]
        gap = report.models["dense"].heldout_loss - report.models["sparse"].heldout_loss
        worse = "dense" if gap > 0 else "sparse"
        words.append(f", while the {worse} model's held-out loss is {loss(abs(gap))} higher.")
    weak = [NAMES[side] for side in present(task.models) if not task.models[side].standing.model_does]
    if weak:
        words.append(f" The whole {' and the whole '.join(weak)} does not do this task well.")
    return join(words)


def questions(task: TaskReport, report: Report) -> Markup:
    """The five questions with their answers, each with a link to where the page shows it; unanswered ones left out."""
    part, quote = task.models[present(task.models)[0]], task.name == QUOTE_TASK
    what = "the quote" if quote else "the difference"
    tested = bool(part.judgement and part.judgement.tests)
    asked = [
        ("What does it decide?", _decides(task, part), _link(f"task-{task.name}", "The pair of prompts")),
        (f"Where does it read {what}?", _reads(part), _link("reading-title", "Step by step")),
        ("Which head carries it?", _carries(part), _link(f"heads-{task.name}", "Where the heads look")),
        (
            "What happens without it?",
            _without(part),
            _link("tests-title" if tested else "table", "Every test and number"),
        ),
        ("How does it differ from the dense one?", _differs(task, report), _link("dense-circuit", "See it")),
    ]
    items = [
        tag("li", tag("h3", question), tag("p", answer, " ", link))
        for question, answer, link in asked
        if answer is not None
    ]
    return tag("ol", *items, class_="questions")
