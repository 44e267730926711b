"""Can a model of the size of the largest released one be imported and pruned on a laptop?

    python benchmarks/released_size.py [--n-layer 8] [--d-model 2048] [--density 1/256] [--target 0.5] [--json]

A random model in the released format (475M parameters by default, context 256, vocabulary 2,048), then, each in a
process of its own, so that its peak resident memory is its own: the import; one circuit from start to end; and steps on
the gates, ours and by the plain loop of benchmarks/prune.py, in turns. The weights of a random model are no mechanism:
its circuit is of interest for its time alone. `--target` is the loss that the circuit has to reach.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import torch
from prune import plain_gates

from thinwire.data.config import DataConfig
from thinwire.data.shards import prepare
from thinwire.interop.gpt2_tokenizer import write_gpt2_tokenizer
from thinwire.interop.openai_export import write_checkpoint
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.pruning.prune import learn_gates
from thinwire.runs.run import load
from thinwire.workflows.prune import means_of, task_pairs

TASK = "single_double_quote"
GIB = 1 << 30


def write_released(directory: Path, config: ModelConfig, density: float) -> None:
    """A random model in the released format: weights of fan-in scale in `density` of the places."""
    generator = torch.Generator().manual_seed(0)
    model = GPT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and name.startswith(("blocks", "unembed")):
                kept = torch.rand(parameter.shape, generator=generator) < density
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * kept)
                parameter.mul_((density * parameter.shape[1]) ** -0.5)
    tokenizer = prepare(DataConfig(), config.vocab_size).tokenizer
    directory.mkdir()
    write_checkpoint(directory, model, write_gpt2_tokenizer(directory, tokenizer))


def alone(*words: str) -> dict[str, Any]:
    """Run this script's `--stage` in a process of its own; what it prints, its seconds and its peak memory."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    return {"seconds": time.perf_counter() - began} | json.loads(done.stdout.splitlines()[-1])


def peak() -> int:
    """Bytes of this process's largest resident set; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def import_stage(source: Path, out: Path) -> dict[str, Any]:
    from thinwire.workflows.import_model import import_model

    found = import_model("openai", source, out)
    return {"peak_bytes": peak(), "parameters": found.parameters, "nonzero": found.nonzero, "disk": found.bytes_on_disk}


def prune_stage(run: Path, target: float) -> dict[str, Any]:
    from thinwire.workflows.prune import prune

    began = time.perf_counter()
    circuit = prune(run, TASK, PruneConfig(target_loss=target))
    return {
        "peak_bytes": peak(),
        "circuit_seconds": time.perf_counter() - began,
        "status": circuit.status,
        "nodes": sum(map(len, circuit.nodes.values())),
        "edges": circuit.n_edges,
    }


def steps_stage(run_path: Path, target: float, n_steps: int, turns: int, with_plain: bool) -> dict[str, Any]:
    """Seconds of `n_steps` steps on the gates, in turns with plain ones where these are wanted, in one process."""
    run = load(run_path, device="cpu")
    config = PruneConfig(target_loss=target, steps=n_steps)
    problem = Problem(
        run.model,
        task_pairs(run, TASK),
        means_of(run, config),
        Identity(TASK, 1, run.fingerprint, run.tokenizer.sha256),
    )
    learn_gates(problem.objective("train", config), run.model.space, [PruneConfig(target_loss=target, steps=1)])
    ours, plain = [], []
    peak_bytes = peak()
    for _ in range(turns):
        began = time.perf_counter()
        learn_gates(problem.objective("train", config), run.model.space, [config])
        between = time.perf_counter()
        ours.append((between - began) / n_steps)
        if with_plain:
            plain_gates(problem, config)
            plain.append((time.perf_counter() - between) / n_steps)
    found: dict[str, Any] = {"peak_bytes": peak_bytes, "ours": median(ours), "all_ours": ours}
    if plain:
        ratios = [theirs / own for own, theirs in zip(ours, plain, strict=True)]
        found |= {"plain": median(plain), "ratio": median(ratios), "ratios": ratios}
    return found


def run_stage(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own does, in the folder that it is given."""
    name, folder = arguments.stage
    source, run = Path(folder, "released"), Path(folder, "run")
    if name == "write":
        shape = {"n_layer": arguments.n_layer, "d_model": arguments.d_model}
        config = ModelConfig(vocab_size=2048, context=256, positions="none", **shape)
        write_released(source, config, float(arguments.density))
        return {}
    if name == "import":
        return import_stage(source, run)
    if name == "prune":
        return prune_stage(run, arguments.target)
    return steps_stage(run, arguments.target, arguments.steps, arguments.turns, not arguments.no_plain)


def measure(folder: Path, no_circuit: bool) -> dict[str, Any]:
    """All stages, one process after the other, each with the options of this call."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [] if (folder / "run").exists() else ["write", "import"]
    names += ["steps"] if no_circuit else ["prune", "steps"]
    found = {name: alone(*sys.argv[1:], "--stage", name, str(folder)) for name in names}
    return found | {"threads": os.environ.get("OMP_NUM_THREADS", "all")}


def show(found: dict[str, Any]) -> None:
    if row := found.get("import"):
        print(f"import: {row['parameters']:,} parameters, {row['nonzero']:,} nonzero, {row['seconds']:.0f} s,")
        print(f"  {row['peak_bytes'] / GIB:.2f} GiB at the peak, {row['disk'] / GIB:.3f} GiB on disk")
    if row := found.get("prune"):
        print(f"one circuit: {row['circuit_seconds']:.0f} s, {row['peak_bytes'] / GIB:.2f} GiB at the peak,")
        print(f"  {row['status']}, {row['nodes']} nodes, {row['edges']} edges")
    row = found["steps"]
    print(f"a step on the gates: {row['ours']:.2f} s, {row['peak_bytes'] / GIB:.2f} GiB at the peak")
    if "plain" in row:
        print(f"  plain {row['plain']:.2f} s: {row['ratio']:.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-layer", type=int, default=8)
    parser.add_argument("--d-model", type=int, default=2048)
    parser.add_argument("--density", type=Fraction, default=Fraction(1, 256))
    parser.add_argument("--target", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=2, help="steps on the gates in each turn of the comparison")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-circuit", action="store_true", help="leave out the circuit, which takes longest")
    parser.add_argument("--no-plain", action="store_true", help="time our steps alone: a plain one takes many minutes")
    parser.add_argument("--keep", type=Path, help="a folder for the model and its import, made once")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(run_stage(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.keep or Path(folder), arguments.no_circuit)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()
