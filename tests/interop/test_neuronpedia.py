"""A circuit as an attribution graph: every node and edge is there, links lead somewhere, weights are contributions."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from report_fixture import CLEAN, CORRUPT, QUOTE_EDGES, QUOTE_NODES, evidence, make_report

from thinwire.errors import UserError
from thinwire.interop.neuronpedia import answer_node, channel_node, neuronpedia_graph, token_node

CIRCUIT = make_report(n_tasks=1).tasks[0].models["sparse"].circuit
EVIDENCE = evidence(CIRCUIT, 16, CLEAN, CORRUPT, 0)
GRAPH = neuronpedia_graph(CIRCUIT, EVIDENCE.pair, 2, 16, "sparse", EVIDENCE.words)
NUMBER = (int, float)
SCHEMA: dict[str, dict[str, tuple[Any, bool]]] = {
    "metadata": {
        "slug": (str, True), "scan": (str, True), "prompt_tokens": ([str], True), "prompt": (str, True),
        "feature_details": (dict, False), "node_threshold": (NUMBER, False), "info": (dict, False),
        "generation_settings": (dict, False), "pruning_settings": (dict, False),
    },
    "info": {
        "description": (str, False), "creator_name": (str, False), "creator_url": (str, False),
        "source_urls": (list, False), "generator": (dict, False), "create_time_ms": (NUMBER, False),
    },
    "qParams": {
        "pinnedIds": ([str], False), "supernodes": (list, False), "linkType": (str, False), "clickedId": (str, False),
        "sg_pos": (str, False),
    },
    "node": {
        "node_id": (str, True), "feature": ((int, type(None)), True), "layer": ((str, int), True),
        "ctx_idx": (int, True), "feature_type": (str, True), "jsNodeId": (str, True), "clerp": (str, True),
        "influence": ((*NUMBER, type(None)), False), "activation": ((*NUMBER, type(None)), False),
    },
    "link": {"source": (str, True), "target": (str, True), "weight": (NUMBER, True)},
}  # fmt: skip
"""What the public schema asks of each object: its keys, their types, whether they must be there. Other keys may be."""


def problems(kind: str, value: dict[str, Any]) -> list[str]:
    """What the schema has against an object."""
    found = [f"{kind} lacks {key}" for key, (_, needed) in SCHEMA[kind].items() if needed and key not in value]
    for key, (types, _) in SCHEMA[kind].items():
        items, types = (value.get(key, []), types[0]) if isinstance(types, list) else ([value.get(key)], types)
        if key in value and not all(isinstance(item, types) and not isinstance(item, bool) for item in items):
            found.append(f"{kind}.{key} is {value[key]!r}")
    return found


def all_problems(graph: dict[str, Any]) -> list[str]:
    found = [] if {"metadata", "qParams", "nodes", "links"} <= set(graph) else ["a part is missing"]
    found += problems("metadata", graph["metadata"]) + problems("info", graph["metadata"].get("info", {}))
    found += problems("qParams", graph["qParams"])
    found += [problem for node in graph["nodes"] for problem in problems("node", node)]
    return found + [problem for link in graph["links"] for problem in problems("link", link)]


def test_the_public_schema_has_nothing_against_the_graph() -> None:
    assert all_problems(GRAPH) == []
    assert json.loads(json.dumps(GRAPH, allow_nan=False)) == GRAPH


def test_the_check_finds_what_the_schema_forbids() -> None:
    for part, wrong in (("nodes", {"clerp": None}), ("nodes", {"ctx_idx": "3"}), ("links", {"weight": None})):
        broken = GRAPH | {part: [GRAPH[part][0] | wrong]}
        assert len(all_problems(broken)) == 1
    assert all_problems(GRAPH | {"links": [{"source": "a", "target": "b"}]}) == ["link lacks weight"]
    assert all_problems(GRAPH | {"qParams": GRAPH["qParams"] | {"pinnedIds": [3]}})


def test_labels_say_what_a_node_reads_and_writes() -> None:
    labels = {node["clerp"] for node in GRAPH["nodes"]}
    assert "embed:41, reads '\"' ' \"' -'(\"'" in labels
    assert "final:12, writes '\")\\n' '\"' -'\",'" in labels
    assert "0.mlp.neuron:412" in labels
    bare = neuronpedia_graph(CIRCUIT, EVIDENCE.pair, 2, 16, "sparse")
    assert "embed:41" in {node["clerp"] for node in bare["nodes"]}


def test_groups_are_heads_and_residual_channels_and_no_node_is_in_two() -> None:
    groups = {label: ids for label, *ids in GRAPH["qParams"]["supernodes"]}
    names = {node["node_id"]: node["clerp"].partition(",")[0] for node in GRAPH["nodes"]}
    members = {label: [names[node] for node in ids] for label, ids in groups.items()}
    assert members["layer 1, head 3"] == ["1.attn.q:52", "1.attn.k:50", "1.attn.v:49", "1.attn.v:57"]
    assert members["residual channel 87"] == ["embed:87", "0.mlp.in:87", "0.mlp.out:87", "1.attn.in:87"]
    assert "residual channel 41" in members and "residual channel 77" in members
    ids = [node for group in groups.values() for node in group]
    assert len(ids) == len(set(ids)) and set(ids) <= set(GRAPH["qParams"]["pinnedIds"]) <= set(names)
    assert min(map(len, groups.values())) > 1


def test_every_kind_of_node_has_its_constructor() -> None:
    token, channel = token_node(2, " x"), channel_node("1.mlp.neuron", 7, 2, 3, -0.5, "label")
    answer = answer_node(301, '")', 2, 5, 0.25, True)
    assert (token.node_id, token.layer, token.feature_type, token.ctx_idx) == ("E_2_2", "E", "embedding", 2)
    assert (channel.node_id, channel.feature, channel.layer) == ("4_1-mlp-neuron-7_3", 7, "4")
    assert (channel.activation, channel.clerp) == (-0.5, "label")
    assert (answer.layer, answer.token_prob, answer.is_target_logit) == ("6", 0.25, True)
    assert answer.clerp == 'Output "")" (p=0.250)'
    assert [problems("node", asdict(node)) for node in (token, channel, answer)] == [[], [], []]


def test_residual_channels_lead_from_writes_to_later_reads() -> None:
    names = {node["clerp"].partition(",")[0]: node["node_id"] for node in GRAPH["nodes"]}
    ends = {(link["source"], link["target"]) for link in GRAPH["links"]}
    assert (names["embed:87"], names["1.attn.in:87"]) in ends and (names["0.mlp.out:12"], names["final:12"]) in ends
    assert (names["1.attn.out:12"], names["1.attn.in:12"]) not in ends


def test_every_token_node_and_answer_is_a_node_once() -> None:
    ids = [node["node_id"] for node in GRAPH["nodes"]]
    assert len(ids) == len(set(ids)) == len(CLEAN) + sum(map(len, QUOTE_NODES.values())) + 2
    kinds = [node["feature_type"] for node in GRAPH["nodes"]]
    assert (kinds.count("embedding"), kinds.count("logit")) == (len(CLEAN), 2)
    assert sum(node["token_prob"] for node in GRAPH["nodes"]) == pytest.approx(1)
    assert all(0 <= node["ctx_idx"] < len(CLEAN) for node in GRAPH["nodes"])


def test_links_join_nodes_that_are_there_and_run_upwards() -> None:
    order = {node["node_id"]: -1 if node["layer"] == "E" else int(node["layer"]) for node in GRAPH["nodes"]}
    for link in GRAPH["links"]:
        assert order[link["source"]] <= order[link["target"]]


def test_a_links_weight_is_weight_times_activation() -> None:
    names = {node["clerp"].partition(",")[0]: node for node in GRAPH["nodes"]}
    links = {(link["source"], link["target"]): link["weight"] for link in GRAPH["links"]}
    for a, s, b, t, weight in QUOTE_EDGES:
        source, target = names[f"{a}:{s}"], names[f"{b}:{t}"]
        assert links[source["node_id"], target["node_id"]] == pytest.approx(weight * source["activation"])


def test_missing_evidence_is_an_error() -> None:
    with pytest.raises(UserError, match="no activations of embed"):
        neuronpedia_graph(CIRCUIT, replace(EVIDENCE.pair, nodes={}), 2, 16, "sparse")
