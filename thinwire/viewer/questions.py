"""Five questions about one circuit, answered from its measurements: what a newcomer reads first.

1 what it decides  2 where it reads the difference  3 which head carries it  4 what happens without it
5 how it differs from the dense twin's. docs/viewer.md says where the page answers each.
"""

from collections.abc import Mapping
from typing import Any

from thinwire.viewer.contrast import differing_tokens
from thinwire.viewer.markup import Markup, join, tag, token
from thinwire.viewer.sides import NAMES, best_loss, is_solved, present
from thinwire.viewer.story import QUOTE_TASK
from thinwire.viewer.verdicts import judged, verdict_words
from thinwire.viewer.wording import loss, percent, plural, ratio, signed

Part = Mapping[str, Any]


def _number(words: str) -> Markup:
    return tag("strong", words)


def _link(target: str, words: str) -> Markup:
    return tag("a", words, href=f"#{target}", class_="more")


def _decides(task: Part, part: Part) -> Markup:
    answer, other = task["example"]["answer"], task["example"]["other"]
    test, model = part["circuit"]["scores"]["test"], part["circuit"].get("model_scores", {}).get("test")
    whole = f"; the whole model on {percent(model['accuracy'])}" if model else ""
    return join([
        task["description"].rstrip("."), ": the next token is ", token(answer), " or ", token(other),
        ". With nothing but the circuit the model is right on ", _number(percent(test["accuracy"])),
        f" of unseen prompts{whole}. Guessing gives 50\u00a0%.",
    ])  # fmt: skip


def _reads(part: Part) -> Markup | None:
    evidence = part["evidence"]
    if not evidence:
        return None
    pair, kept = evidence["pair"], part["circuit"]["nodes"].get("embed", ())
    spots = differing_tokens(pair["clean_tokens"], pair["corrupt_tokens"])
    if not kept or not spots:
        return None
    first = spots[0]
    told = [(c, evidence["nodes"].get(f"embed:{c}")) for c in kept]
    at = {c: (node["clean"][first], node["corrupt"][first]) for c, node in told if node and node["clean"]}
    lively = sorted((c for c in at if at[c][0] != at[c][1]), key=lambda c: -abs(at[c][0] - at[c][1]))
    words = join([
        "At token ", _number(str(first + 1)), ", where the two prompts differ: ", token(pair["clean_tokens"][first]),
        " against ", token(pair["corrupt_tokens"][first]), f". Of {plural(len(kept), 'embedding channel')} in the "
        f"circuit, {len(lively)} {'tells' if len(lively) == 1 else 'tell'} the two apart there",
    ])  # fmt: skip
    if not lively:
        return join([words, "."])
    c = lively[0]
    a, b = at[c]
    return join([words, f"; channel {c} most, {signed(a)} against {signed(b)}."])


def _looks_at(evidence: Part, head: str) -> Markup | None:
    pattern, pair = evidence["attention"].get(head), evidence["pair"]
    if not pattern or not pattern["clean"]:
        return None
    last = pattern["clean"][-1]
    spot = max(range(len(last)), key=last.__getitem__)
    spots = differing_tokens(pair["clean_tokens"], pair["corrupt_tokens"])
    there = ", the token that tells the prompts apart" if spot in spots else ""
    words = token(pair["clean_tokens"][spot])
    return join(
        [" From the last token it looks most at ", words, f" (token {spot + 1}, {percent(last[spot])}){there}."]
    )


def _named(head: str) -> str:
    layer, index = head.split(".")
    return f"head {index} of layer {layer}"


def carrying_head(evidence: Part | None) -> str | None:
    """The head without which the circuit loses most; None where no head was taken out."""
    without = (evidence or {}).get("without_head")
    return max(without, key=lambda head: (without[head]["loss"], head)) if without else None


def _carries(part: Part) -> Markup | None:
    evidence, head = part["evidence"], carrying_head(part["evidence"])
    if head is None:
        return None
    base, without = evidence["with_all_heads"], evidence["without_head"]
    words: list[object] = [
        _number(_named(head).capitalize()), ": without it the circuit's accuracy falls from ",
        percent(base["accuracy"]), " to ", _number(percent(without[head]["accuracy"])), ".",
    ]  # fmt: skip
    if without[head]["loss"] <= base["loss"] * 1.05:
        return Markup("None alone: taking out any single head leaves the circuit's loss where it was.")
    others = [h for h in without if h != head]
    if others:
        second = max(others, key=lambda h: without[h]["loss"])
        words.append(
            f" Of the {plural(len(others), 'other head')}, the one that matters most is {_named(second)}: without it, "
            f"{percent(without[second]['accuracy'])}."
        )
    else:
        words.append(" It is the only head in the circuit.")
    return join([*words, _looks_at(evidence, head)])


def _without(part: Part) -> Markup | None:
    verification = part["verification"] or {}
    need = verification.get("necessity") or {}
    lead = verdict_words(verification)
    reason = next(iter(verification.get("reasons") or ()), "")
    verdict = join([" Verdict of all tests: ", _number(lead.partition(": ")[0]), ". ", reason]) if lead else None
    if need.get("nodes_accuracy") is None:
        sentence = need.get("sentence")
        return join([sentence, verdict]) if sentence else verdict
    n = part["circuit"]["n_nodes"]
    words: list[object] = [
        f"Hold only these {plural(n, 'node')} of the whole model at their averages, and its accuracy is ",
        _number(percent(need["nodes_accuracy"])),
    ]
    if need.get("nodes_loss") is not None and need.get("model_loss") is not None:
        words.append(f" (loss {loss(need['nodes_loss'])} instead of {loss(need['model_loss'])})")
    if need.get("random_mean") is not None:
        words.append(f". As many nodes chosen at random outside the circuit give a loss of {loss(need['random_mean'])}")
        if need.get("random_losses"):
            words.append(f" on average, {loss(max(need['random_losses']))} at most")
    return join([*words, ".", verdict])


def _n_heads(circuit: Part, d_head: int) -> str:
    """`, 2 heads`: those that carry a kept value channel."""
    values = [(site, channels) for site, channels in circuit["nodes"].items() if site.endswith("attn.v")]
    heads = {(site, channel // d_head) for site, channels in values for channel in channels}
    return f", {plural(len(heads), 'head')}" if heads else ""


def _differs(task: Part, report: Part) -> Markup | None:
    if len(present(task)) < 2:
        return None
    sizes = []
    for side in present(task):
        circuit = task[side]["circuit"]
        if not is_solved(task[side]):
            sizes.append(join([f"no circuit of the {NAMES[side]} reached the target (best loss ",
                               loss(best_loss(circuit)), ")"]))  # fmt: skip
            continue
        more = _n_heads(circuit, report["models"][side]["d_head"])
        size = plural(circuit["n_edges"], "edge")
        sizes.append(
            join([f"the {NAMES[side]} takes ", _number(size), f" ({plural(circuit['n_nodes'], 'node')}{more})"])
        )
    words: list[object] = ["For this task ", join(sizes, ", "), "."]
    losses = report["summary"]["heldout_loss"]
    if all(is_solved(task[side]) for side in present(task)):
        a, b = (max(task[side]["circuit"]["n_edges"], 1) for side in ("sparse", "dense"))
        if b >= a:
            words += [" That is ", _number(f"{ratio(b / a)} times"), " as many edges in the dense one"]
        else:
            words += [" So here the sparse circuit is the larger one, by ", _number(f"{ratio(a / b)} times")]
        gap = losses["dense"] - losses["sparse"]
        worse = "dense" if gap > 0 else "sparse"
        words.append(f", while the {worse} model's held-out loss is {loss(abs(gap))} higher.")
    return join(words)


def questions(task: Part, report: Part) -> Markup:
    """The five questions with their answers, each with a link to where the page shows it; unanswered ones left out."""
    side = present(task)[0]
    part, quote = task[side], task["name"] == QUOTE_TASK
    what = "the quote" if quote else "the difference"
    anchor = f"task-{task['name']}"
    asked = [
        ("What does it decide?", _decides(task, part), _link(anchor, "The pair of prompts")),
        (f"Where does it read {what}?", _reads(part), _link("reading-title", "Step by step")),
        ("Which head carries it?", _carries(part), _link(f"heads-{task['name']}", "Where the heads look")),
        (
            "What happens without it?",
            _without(part),
            _link("tests-title" if judged(part["verification"]) else "table", "Every test and number"),
        ),
        ("How does it differ from the dense one?", _differs(task, report), _link("dense-circuit", "See it")),
    ]
    items = [
        tag("li", tag("h3", question), tag("p", answer, " ", link))
        for question, answer, link in asked
        if answer is not None
    ]
    return tag("ol", *items, class_="questions")
