"""What training leaves on disk as it goes: a row of metrics.jsonl for every step, a checkpoint now and then."""

import time
from dataclasses import replace
from pathlib import Path

from thinwire.model.gpt import GPT
from thinwire.training.checkpoint import TrainState, keep_weights, remove_leftovers, save_checkpoint
from thinwire.training.metrics import MetricsLog, StepRow, read_metrics
from thinwire.training.modes import TrainOptimizer


class Journal:
    """Opens a run's metrics at `start`, cut back to it; `writes` is false in all processes but the first."""

    def __init__(self, run: Path, start: TrainState, writes: bool = True) -> None:
        self.run, self.state = run, start
        """`state`: the last checkpoint's."""
        path = run / "metrics.jsonl"
        self._log = MetricsLog(path, start.step, start.metrics_sha256) if writes else None
        self.rows = self._log.rows if self._log else read_metrics(path)[: start.step]
        self._began = time.monotonic() - (self.last.seconds if self.last else 0.0)
        if writes:
            remove_leftovers(run)

    @property
    def last(self) -> StepRow | None:
        """The last row; None before the first."""
        return self.rows[-1] if self.rows else None

    def append(self, row: StepRow) -> StepRow:
        """Write the row of a step with the wall time so far, the time before a resume included; returns it."""
        row = replace(row, seconds=time.monotonic() - self._began)
        if self._log:
            self._log.append(row)
        else:
            self.rows.append(row)
        return row

    def save(self, model: GPT, optimizer: TrainOptimizer, keep: bool = False) -> None:
        """Write a checkpoint of the step that was appended last; with `keep` its weights also stay for good."""
        self.state = replace(self.state, step=self.rows[-1].step)
        if self._log:
            self._log.sync()
            self.state = replace(self.state, metrics_sha256=self._log.checksum)
            if keep:
                keep_weights(self.run, model, self.state.step)
            save_checkpoint(self.run, model, optimizer, self.state)

    def close(self) -> None:
        if self._log:
            self._log.close()
