"""What a training shows of itself on the dev set, and which of its weights are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from labelkit.domain.skeleton import Skeleton
from labelkit.metrics.table import evaluate_row, format_measure, json_measures
from labelkit.workflows.network.data import Example
from labelkit.workflows.network.sharing import predict_shared, together

#: A dev set of so many located objects chooses the weights that are kept; with fewer, chance would.
ENOUGH = 50

#: How often a training is measured on the dev set.
LOOKS = 10

#: Steps that the average of weights goes back: this share of the training, and at least ten.
AVERAGED_SHARE, AVERAGED_STEPS = 0.02, 10

#: What is shown of each look, and what the best state is chosen by.
SHOWN, DECISIVE = ("median_px", "pck@0.1"), "pck@0.1"


class Watch(pl.Callback):
    """Averages the weights of the last steps, measures the average, and keeps the best.

    Without a dev set that is `ENOUGH` to choose by, the last average is kept.

    Args:
        network: the one in training.
        dev: objects with locations that are not trained on; may be empty.
        skeleton: of the network.
        images_root: folder below which the images lie.
        size_hw: crop size in pixels.
        steps: of the training.
        precision: see `predict`.
        time_gone: see `PoseTraining`: with a limit of time, looks are spread over that.

    Attributes:
        curve: after each stretch of the training the step and the mean loss, and after each look
            the measures of `SHOWN`.
        average: the network with averaged weights; None before the training starts.
    """

    def __init__(
        self,
        network: nn.Module,
        dev: Sequence[Example],
        skeleton: Skeleton,
        images_root: Path,
        size_hw: tuple[int, int],
        steps: int,
        precision: str,
        time_gone: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.network = network
        self.dev = {example.instance.id: example for example in dev}
        self.skeleton = skeleton
        self.images_root = images_root
        self.size_hw = size_hw
        self.steps = steps
        self.precision = precision
        self.time_gone = time_gone
        self.curve: list[dict[str, Any]] = []
        self.average: AveragedModel | None = None
        self._best: dict[str, Any] = {}
        self._resumed: dict[str, Tensor] = {}
        self._floats: list[tuple[Tensor, Tensor]] = []  # means, and what they are of
        self._integers: list[tuple[Tensor, Tensor]] = []  # copies of counters, and these

    @property
    def kept(self) -> str:
        """Which weights are kept, in words."""
        if self._best:
            return f"the best of the dev set, after step {self._best['step']}"
        return "an average over the last steps"

    @property
    def latest(self) -> str:
        """The dev set's error after this stretch, for a progress line; "" without a look."""
        values = self.curve[-1] if self.curve else {}
        if values.get("median_px") is None:
            return ""
        px, share = (format_measure(name, values[name]) for name in SHOWN)
        return f"dev {px} px, PCK@0.1 {share}  "

    def state_dict(self) -> dict[str, Any]:
        average = self.average.state_dict() if self.average else {}
        return {"average": average, "best": self._best, "curve": self.curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed = state_dict["average"]
        self._best, self.curve = state_dict["best"], state_dict["curve"]

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self.average = AveragedModel(self.network, use_buffers=True)
        if self._resumed:
            self.average.load_state_dict(self._resumed)
        means, values = (
            [*network.parameters(), *network.buffers()]
            for network in (self.average.module, self.network)
        )
        pairs = list(zip(means, values, strict=True))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._integers = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def on_train_batch_end(self, *_: Any) -> None:
        # Its own update walks through all modules each time, which takes five times as long.
        assert self.average is not None
        self.average.n_averaged += 1
        window = max(AVERAGED_STEPS, round(AVERAGED_SHARE * self.steps))
        means, values = zip(*self._floats, strict=True)
        torch._foreach_lerp_(means, values, 1 / min(int(self.average.n_averaged), window))
        for mean, value in self._integers:
            mean.copy_(value)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics["loss"])
        done, looks = trainer.global_step, sum(SHOWN[0] in point for point in self.curve)
        point = {"step": done, "loss": loss}
        due = max(done * LOOKS // self.steps, int(LOOKS * min(1.0, self.time_gone())))
        if self.dev and due > looks:
            point |= together(self._look)
        self.curve.append(point)
        score = point.get(DECISIVE)
        if len(self.dev) >= ENOUGH and score is not None and score >= self._best.get("score", 0.0):
            assert self.average is not None
            weights = deepcopy(self.average.module.state_dict())
            read_from = self.network.reader.read_from  # type: ignore[union-attr]
            self._best = {"step": done, "score": score, "weights": weights, "read_from": read_from}

    def _look(self) -> dict[str, Any]:
        """The measures of the averaged network on the dev set, read as it would be now."""
        assert self.average is not None
        network = self.average.module
        network.reader.read_from = self.network.reader.read_from  # type: ignore[union-attr]
        instances = {id_: example.instance for id_, example in self.dev.items()}
        found = predict_shared(
            network,
            list(instances.values()),
            self.images_root,
            self.skeleton,
            self.size_hw,
            flip_test=False,
            precision=self.precision,
        )
        predictions = {item.prediction.instance_id: item.prediction for item in found}
        truth = {id_: example.pose for id_, example in self.dev.items() if example.pose}
        row = evaluate_row("dev", None, predictions, truth, instances, self.skeleton)
        measures = json_measures(row.measures)
        return {name: measures[name] for name in SHOWN}

    def give_back(self) -> None:
        """Put the weights that are kept into the network, which reads as they did."""
        if self._best:
            self.network.load_state_dict(self._best["weights"])
            self.network.reader.read_from = self._best["read_from"]  # type: ignore[union-attr]
        elif self.average is not None:
            self.network.load_state_dict(self.average.module.state_dict())
