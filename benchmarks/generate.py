"""Does decoding by nonzeros beat dense torch by 5, in a quarter of its memory, with the same logits?

    python benchmarks/generate.py [--d-model 2048] [--n-layer 8] [--density 0.00390625] [--tokens 64] [--rounds 7]
                                  [--gain 1] [--activation-frac 0.25] [--threads 2] [--json]

A new model, projected, is stored once and opened by two processes with `thinwire.load`. One decodes with
`run.decoder`; the other with `run.model`, the dense torch model, and a cache of keys and values too (`dense_step`).
They take turns, a round each: 64 tokens are read as the prompt, then `--tokens` single ones, of which the time is
taken. Both are given the same tokens. Memory is that of the whole process, libraries included: the sparse one's at its
peak against what the dense one holds at its end. Logits: where entries tie within rounding at AbsTopK's threshold, one
or the other is kept, and all that follows differs; how often is said beside how often dense torch differs from itself,
with a cache and without. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `import thinwire` does

import numpy as np

PROMPT = 64
MIN_PER_LINE = 4
"""Entries that a channel or neuron keeps, as in training."""
SAME = 1e-4
MIB = 1 << 20


def status(key: str) -> int:
    """Bytes of one line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def store_model(path: Path, options: argparse.Namespace) -> None:
    """A new model, projected as training would, and a tokenizer of two letters a token."""
    import tokenizers
    import torch

    from thinwire.data.tokenizer import Tokenizer
    from thinwire.data.tokenizer_file import BYTE_OF, END_OF_TEXT
    from thinwire.model.config import ModelConfig
    from thinwire.model.gpt import GPT
    from thinwire.model.structure import sparse_parameters
    from thinwire.runs.trained import Origin, create_imported
    from thinwire.sparsity.projection import project_topk_

    torch.manual_seed(0)
    shape = (2048, PROMPT + options.tokens, options.n_layer, options.d_model)
    config = ModelConfig(*shape, activation_frac=options.activation_frac)
    model = GPT(config).requires_grad_(False)
    for name, value, protect in sparse_parameters(model):
        if name.endswith("weight"):
            project_topk_(value, options.density, protect, MIN_PER_LINE)
            value *= options.gain
    letters = list(BYTE_OF)
    pairs = [(a, b) for a in letters for b in letters][: config.vocab_size - 257]
    words = [END_OF_TEXT, *letters, *(a + b for a, b in pairs)]
    bpe = tokenizers.models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=pairs)
    create_imported(path, model, Tokenizer.of_bpe(bpe), Origin("random", "benchmarks/generate.py"))


class Sparse:
    """`run.decoder`."""

    def __init__(self, path: Path) -> None:
        import thinwire

        self.decoder = thinwire.load(path, "cpu").decoder

    def start(self, prompt: list[int]) -> np.ndarray:
        self.cache = self.decoder.start([self.decoder.config.context])
        return self.decoder.read(self.cache, {0: prompt})[0]

    def read(self, token: int) -> np.ndarray:
        return self.decoder.read(self.cache, {0: [token]})[0]


class Dense:
    """`run.model`, in torch, with a cache of keys and values."""

    def __init__(self, path: Path) -> None:
        import torch

        import thinwire

        self.torch = torch
        self.model = thinwire.load(path, "cpu").model
        config = self.model.config
        self.shape = (config.n_layer, 2, 1, config.n_head, config.context, config.d_head)

    def start(self, prompt: list[int]) -> np.ndarray:
        self.past, self.length = self.torch.empty(self.shape), 0
        return self._read(prompt)

    def read(self, token: int) -> np.ndarray:
        return self._read([token])

    def whole(self, tokens: list[int]) -> np.ndarray:
        """The same logits from one pass over all tokens, without a cache."""
        with self.torch.inference_mode():
            return self.model(self.torch.tensor([tokens]))[0, PROMPT - 1 :].numpy()

    def _read(self, ids: list[int]) -> np.ndarray:
        with self.torch.inference_mode():
            tokens = self.torch.tensor([ids])
            logits = dense_step(self.model, tokens, self.past, self.length)
        self.length += len(ids)
        return logits.numpy()


def dense_step(model: Any, tokens: Any, past: Any, length: int) -> Any:
    """Logits after the last of `tokens`, which follow `length` others whose keys and values are in `past`."""
    import torch.nn.functional as F

    from thinwire.model.attention import heads
    from thinwire.model.hooks import identity

    x, end = model.embed(tokens), length + tokens.shape[1]
    for layer, block in enumerate(model.blocks):
        attn = block.attn
        h = attn.read(x, None, identity)
        q, k, v = (heads(attn.node(name, getattr(attn, name)(h), identity), attn.n_head) for name in "qkv")
        keys, values = past[layer, :, :, :, :end]
        keys[:, :, length:], values[:, :, length:] = k, v
        mixed = F.scaled_dot_product_attention(q, keys, values, is_causal=length == 0)
        x = x + attn.node("out", attn.out(mixed.transpose(1, 2).flatten(2)), identity)
        x = x + block.mlp(x, None, identity, {})
    return model.logits(x[0, -1], tokens[0, -1])


def work(kind: str, path: Path, options: argparse.Namespace) -> None:
    """Load, then decode a round for every line on stdin, with a line of JSON each on stdout."""
    import torch

    torch.set_num_threads(options.threads)
    began = time.perf_counter()
    model = {"sparse": Sparse, "dense": Dense}[kind](path)
    seconds = time.perf_counter() - began
    print(json.dumps({"load": seconds, "threads": torch.get_num_threads()}), flush=True)
    for n, _ in enumerate(sys.stdin):
        tokens = np.random.default_rng(n).integers(0, 2048, PROMPT + options.tokens).tolist()
        began = time.perf_counter()
        found = [model.start(tokens[:PROMPT])]
        prompt = time.perf_counter() - began
        began = time.perf_counter()
        found += [model.read(token) for token in tokens[PROMPT:]]
        rate = options.tokens / (time.perf_counter() - began)
        np.save(path.parent / f"{kind}.npy", np.stack(found))
        if kind == "dense":
            np.save(path.parent / "whole.npy", model.whole(tokens))
        row = {"rate": rate, "prompt": PROMPT / prompt, "peak": status("VmHWM"), "held": status("VmRSS")}
        print(json.dumps(row), flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Rates in tokens a second, bytes, and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        same = [sys.executable, __file__, *sys.argv[1:], "--path", str(path)]
        subprocess.run([*same, "--work", "store"], check=True)
        workers = {
            kind: subprocess.Popen([*same, "--work", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for kind in ("dense", "sparse")
        }
        said: dict[str, list[dict[str, float]]] = {kind: [_answer(worker)] for kind, worker in workers.items()}
        apart: dict[str, list[float]] = {"sparse": [], "whole": []}
        dense = np.empty(0)
        for _ in range(options.rounds):
            for kind, worker in workers.items():
                said[kind].append(_answer(worker, "go\n"))
            dense = np.load(Path(folder) / "dense.npy")
            for name, found in apart.items():
                found += np.abs(np.load(Path(folder) / f"{name}.npy") - dense).max(1).tolist()
        largest = float(np.abs(dense).max())
        size = sum(file.stat().st_size for file in path.iterdir())
        for worker in workers.values():
            worker.communicate()
    rounds = {kind: rows[1:] for kind, rows in said.items()}
    rates = {kind: median(row["rate"] for row in rows) for kind, rows in rounds.items()}
    return {
        "tokens_per_second": rates,
        "ratio": rates["sparse"] / rates["dense"],
        "ratios": [s["rate"] / d["rate"] for s, d in zip(rounds["sparse"], rounds["dense"], strict=True)],
        "prompt_tokens_per_second": {kind: median(row["prompt"] for row in rows) for kind, rows in rounds.items()},
        "load_seconds": {kind: rows[0]["load"] for kind, rows in said.items()},
        "peak_bytes": {kind: rows[-1]["peak"] for kind, rows in rounds.items()},
        "held_bytes": {kind: rows[-1]["held"] for kind, rows in rounds.items()},
        "memory_ratio": rounds["sparse"][-1]["peak"] / rounds["dense"][-1]["held"],
        "logits": {name: logits_apart(found) for name, found in apart.items()},
        "largest_logit": largest,
        "bytes_on_disk": size,
    }


def logits_apart(found: list[float]) -> dict[str, float]:
    """Of the largest difference at every position: how many are within `SAME`, their median and the largest."""
    within = [difference for difference in found if difference <= SAME]
    return {"positions": len(found), "within": len(within), "median": median(found), "largest": max(found)}


def _answer(worker: Any, line: str = "") -> dict[str, float]:
    worker.stdin.write(line)
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise SystemExit("a worker ended without an answer")
    return json.loads(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-model", type=int, default=2048)
    parser.add_argument("--n-layer", type=int, default=8)
    parser.add_argument("--density", type=float, default=1 / 256)
    parser.add_argument("--gain", type=float, default=1.0, help="factor of the weights of the new model")
    parser.add_argument("--activation-frac", type=float, default=0.25, help="share that AbsTopK keeps; 1: no AbsTopK")
    parser.add_argument("--tokens", type=int, default=64, help="single tokens of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the text")
    parser.add_argument("--work", choices=("store", "sparse", "dense"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work == "store":
        store_model(options.path, options)
        return
    if options.work:
        work(options.work, options.path, options)
        return
    found = measure(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    rates, peak, held = found["tokens_per_second"], found["peak_bytes"], found["held_bytes"]
    spread = f"{min(found['ratios']):.1f} to {max(found['ratios']):.1f}"
    print(f"tokens/s: {rates['sparse']:.1f} against {rates['dense']:.1f}, {found['ratio']:.1f} times ({spread})")
    prompt = found["prompt_tokens_per_second"]
    print(f"prompt tokens/s: {prompt['sparse']:.0f} against {prompt['dense']:.0f}")
    memory = f"{peak['sparse'] / MIB:.0f} MiB at its peak against {held['dense'] / MIB:.0f}"
    print(f"memory: {memory}, a ratio of {found['memory_ratio']:.3f}; {found['bytes_on_disk'] / MIB:.1f} MiB on disk")
    print(f"logits, the largest {found['largest_logit']:.1f}, beside those of dense torch with a cache:")
    for name, words in (("sparse", "by nonzeros"), ("whole", "dense torch without a cache")):
        row = found["logits"][name]
        apart = f"{row['median']:.1e} apart in the median, {row['largest']:.1e} at most"
        print(f"  {words}: {row['within']} of {row['positions']} positions within {SAME:g}; {apart}")


if __name__ == "__main__":
    main()
