"""TrainConfig and RunConfig: data only, no torch."""

from dataclasses import dataclass, field
from typing import Literal

from thinwire.data.config import DataConfig
from thinwire.errors import UserError
from thinwire.model.config import ModelConfig
from thinwire.ranges import SEED, check
from thinwire.sparsity.schedules import Anneal

Precision = Literal["float32", "bfloat16"]
Costs = Literal["shipped", "measured"]
FreedMemory = Literal["kept", "returned"]
Mode = Literal["exact", "certified", "regrow"]
MAX_STEPS = 99_999_999
"""Steps that a checkpoint's name has room for."""


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained (Gao et al. 2025, section 2.1; constants of the released recipe)."""

    n_tokens: int = 4_500_000
    """Length of training, in tokens; rounded up to whole steps."""
    batch_size: int = 64
    """Sequences per step, of all processes together; each holds `model.context` tokens."""
    micro_batches: int = 1
    """Parts of a batch that are computed one after the other: less memory, the same step to float tolerance."""
    learning_rate: float = 1.28e-2
    """Peak rate, which belongs to the final density."""
    warmup_frac: float = 0.01
    """Share of steps over which the rate warms up; it then decays linearly to 0."""
    density: float = 0.05
    """Share of nonzero weights in every matrix after annealing; 1 trains a dense model."""
    anneal_start_frac: float = 0.01
    """Share of training after which the density starts to fall from 1."""
    anneal_end_frac: float = 0.5
    """Share of training after which the density is at its target."""
    anneal: Anneal = "linear"
    """How the density falls: by the same amount (the paper's) or by the same factor every step."""
    mode: Mode = "exact"
    """What a step computes: exact, all gradients; certified, those of nonzero weights alone wherever no other weight
    can enter; regrow, those of nonzero weights alone between full steps (an approximation): docs/training.md."""
    regrow_every_steps: int = 20
    """Steps from one full step to the next; in mode regrow."""
    weight_decay: float = 0.1
    """Decoupled decay of the matrices, per step times the learning rate."""
    min_per_line: int = 4
    """Nonzero weights that every neuron and attention channel keeps; sets the floor of the density."""
    eval_every_steps: int = 100
    """Steps between held-out losses in metrics.jsonl."""
    checkpoint_every_steps: int = 200
    """Steps between checkpoints; a kill loses at most the work since the last one."""
    keep_every_steps: int = 0
    """Steps between weights that stay for good, to see how a circuit forms (`thinwire prune RUN TASK --step N`); 0
    keeps those of the last step alone."""
    spike_factor: float = 0.0
    """Stop when a step's loss is this many times the mean of the 100 steps before; 0 never stops."""
    seed: int = 0
    """Seed of the initialisation and of the order of the data."""

    def __post_init__(self) -> None:
        check(
            self,
            n_tokens="[1, 1e15]",
            batch_size="[1, 1e6]",
            micro_batches="[1, 1e6]",
            learning_rate="(0, 1]; the default is 0.0128",
            warmup_frac="[0, 1]",
            density="(0, 1]; 1 trains a dense model",
            regrow_every_steps="[1, 1e9]",
            weight_decay="[0, 100]",
            min_per_line="[0, 1e6]",
            eval_every_steps="[1, 1e9]",
            checkpoint_every_steps="[1, 1e9]",
            keep_every_steps="[0, 1e9]; 0 keeps the last alone",
            anneal_start_frac="[0, 1]",
            anneal_end_frac="[0, 1]",
            spike_factor="[0, 1e6]; 0 switches the guard off",
            seed=SEED,
        )
        if self.batch_size % self.micro_batches:
            raise UserError(f"batch_size {self.batch_size} is not a multiple of micro_batches {self.micro_batches}")
        if 0 < self.spike_factor <= 1:
            raise UserError(f"spike_factor {self.spike_factor} is not above 1; 0 switches the guard off")
        if self.learning_rate * self.weight_decay >= 1:
            raise UserError(f"weight_decay {self.weight_decay} times learning_rate leaves nothing; the default is 0.1")
        if not 0 <= self.anneal_start_frac < self.anneal_end_frac <= 1:
            raise UserError("anneal_start_frac and anneal_end_frac need 0 <= start < end <= 1")


@dataclass(frozen=True)
class RunConfig:
    """All that a training run is made from; `config.yaml` of a run directory holds it."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    recipe: str = "demo"
    """Name of the recipe that gave the defaults."""
    threads: int = 0
    """CPU threads; 0 takes all cores, or what OMP_NUM_THREADS says. Results are the same only for the same number."""
    precision: Precision = "float32"
    """Type of the matrix products; the loss is float32 with either. bfloat16 is meant for GPUs."""
    costs: Costs = "shipped"
    """Which product a matrix takes on CPU, over all weights or the nonzero ones, follows a table in the run directory:
    the one that ships with the package, or one measured on this machine when the run starts. Resuming reads it again,
    so a resumed run has the same bytes with either. New runs of one seed agree with shipped; with measured they may
    differ by rounding, which is why it is not the default."""
    freed_memory: FreedMemory = "kept"
    """What becomes of memory that a step frees, on Linux: kept is faster; returned holds the least, at the price of
    fresh pages in every step (measured: 20 to 35 % more processor time)."""

    def __post_init__(self) -> None:
        check(self, threads="[0, 4096]; 0 takes all cores")
        if self.n_steps > MAX_STEPS:
            raise UserError(
                f"{self.n_steps:,} steps are more than {MAX_STEPS:,}; lower train.n_tokens or raise train.batch_size"
            )
        floor = self.train.min_per_line / self.model.d_model
        if self.train.density < min(1.0, floor):
            raise UserError(
                f"density {self.train.density:g} is below the floor {floor:g} = min_per_line "
                f"{self.train.min_per_line} / d_model {self.model.d_model}; raise train.density to {floor:g}, widen "
                f"model.d_model or lower train.min_per_line"
            )
        if self.precision != "float32" and self.train.mode != "exact":
            raise UserError(f"mode {self.train.mode} needs precision float32; use train.mode exact for bfloat16")

    @property
    def n_steps(self) -> int:
        """Number of optimizer steps."""
        return -(-self.train.n_tokens // (self.train.batch_size * self.model.context))
