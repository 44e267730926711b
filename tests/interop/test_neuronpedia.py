"""A circuit as an attribution graph: every node and edge is there, links lead somewhere, weights are contributions."""

import json
from dataclasses import replace

import pytest
from report_fixture import CLEAN, CORRUPT, QUOTE_EDGES, QUOTE_NODES, evidence, make_report

from thinwire.errors import UserError
from thinwire.interop.neuronpedia import neuronpedia_graph

CIRCUIT = make_report(n_tasks=1).tasks[0].models["sparse"].circuit
EVIDENCE = evidence(CIRCUIT, 16, CLEAN, CORRUPT, 0).pair
GRAPH = neuronpedia_graph(CIRCUIT, EVIDENCE, 2, "sparse")


def test_the_graph_has_the_parts_of_the_schema() -> None:
    assert set(GRAPH) == {"metadata", "qParams", "nodes", "links"}
    assert {"slug", "scan", "prompt", "prompt_tokens", "schema_version"} <= set(GRAPH["metadata"])
    needed = {"node_id", "feature", "layer", "ctx_idx", "feature_type", "token_prob", "is_target_logit", "run_idx",
              "reverse_ctx_idx", "jsNodeId", "clerp"}  # fmt: skip
    assert all(needed <= set(node) for node in GRAPH["nodes"])
    assert json.loads(json.dumps(GRAPH, allow_nan=False)) == GRAPH


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
    names = {node["clerp"]: node for node in GRAPH["nodes"]}
    links = {(link["source"], link["target"]): link["weight"] for link in GRAPH["links"]}
    for a, s, b, t, weight in QUOTE_EDGES:
        source, target = names[f"{a}:{s}"], names[f"{b}:{t}"]
        assert links[source["node_id"], target["node_id"]] == pytest.approx(weight * source["activation"])


def test_missing_evidence_is_an_error() -> None:
    with pytest.raises(UserError, match="no activations of embed"):
        neuronpedia_graph(CIRCUIT, replace(EVIDENCE, nodes={}), 2, "sparse")
