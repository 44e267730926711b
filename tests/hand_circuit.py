"""A circuit of invented numbers, for what reads circuits."""

from thinwire.circuits.graph import Calibration, Circuit, Score


def circuit_of(**changes) -> Circuit:
    """A circuit of invented numbers; `changes` are its fields."""
    score = Score(0.1, 0.97, 0.4)
    values = {
        "status": "solved",
        "model_fingerprint": "ab" * 32,
        "tokenizer_sha256": "cd" * 32,
        "task": "a_task",
        "task_version": 3,
        "answer_tokens": (4, 9),
        "answer_texts": ('")\n', "')\n"),
        "target_loss": 0.15,
        "nodes": {"embed": [1, 5], "0.mlp.in": [5], "0.mlp.neuron": [0, 3], "final": [2]},
        "edges": [],
        "minimal_edges": None,
        "embed_edges": 3,
        "unembed_edges": 2,
        "n_biases": 1,
        "residual_links": 1,
        "scores": dict.fromkeys(("train", "validation", "test"), score),
        "calibrated_scores": dict.fromkeys(("train", "validation", "test"), score),
        "model_scores": dict.fromkeys(("train", "validation", "test"), Score(0.01, 1.0, 0.0)),
        "calibration": Calibration(1.5, -0.25),
        "ablation": "mean",
        "loss_curve": [(3, 0.4), (6, 0.1)],
        "seed": 0,
        "hyperparameters": {"steps": 3},
        "versions": {"thinwire": "0"},
    }
    return Circuit(**(values | changes))
