"""How far do a model's logits depend on the last bit of its weights?

    python benchmarks/near_ties.py RUN [RUN ...] [--windows N]

Every nonzero weight moves by one unit in the last place, up or down, or stays, at random; the logits at all positions
of held-out windows are compared. AbsTopK keeps the largest entries: where two are nearly equal, the last bit decides
which. So does the order of a sum, which another machine may take otherwise.
"""

import argparse

import torch

from thinwire.runs.run import open_run

POSITIVE = torch.tensor(torch.inf)


def moved(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The weight with every nonzero entry moved by at most one unit in the last place."""
    way = torch.randint(-1, 2, weight.shape, generator=generator)
    near = torch.where(way > 0, weight.nextafter(POSITIVE), weight.nextafter(-POSITIVE))
    return torch.where((weight == 0) | (way == 0), weight, near)


@torch.no_grad()
def distances(run_path: str, n_windows: int) -> torch.Tensor:
    """Largest change of a logit at every position."""
    run = open_run(run_path, "cpu")
    tokens = run.windows(n_windows * run.context)[:, :-1]
    before, generator = run.model(tokens), torch.Generator().manual_seed(0)
    for parameter in run.model.parameters():
        parameter.copy_(moved(parameter, generator))
    return (run.model(tokens) - before).abs().amax(-1).flatten()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--windows", type=int, default=64)
    arguments = parser.parse_args()
    for run in arguments.runs:
        found = distances(run, arguments.windows)
        over = ", ".join(f"{int((found > limit).sum())} by more than {limit}" for limit in (1e-3, 1e-2))
        print(f"{run}: of {len(found):,} positions {over}; largest {found.max():.2g}, median {found.median():.1g}")


if __name__ == "__main__":
    main()
