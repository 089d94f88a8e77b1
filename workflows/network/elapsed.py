"""How long a training has taken, over all the runs that it was stopped between."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl


class Elapsed(pl.Callback):
    """Keeps the duration with the state of the training.

    Attributes:
        started: of this run, see `time.monotonic`.
        before: seconds of the run that this one resumes.
        first_step: of this run.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.before = 0.0
        self.first_step = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Duration of the training so far, without work that a kill lost."""
        return self.before + self.this_run

    @property
    def this_run(self) -> float:
        """Seconds of this run."""
        return time.monotonic() - self.started

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self.first_step = trainer.global_step
