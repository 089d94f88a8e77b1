"""Self-training: a network predicts its training images and trains on the most confident results.

Pseudo-labels are predicted on upright crops, with test-time augmentation and the kinematic tree of
labelled poses; they are learned in single augmented views, so the network is its own teacher.
They teach where a keypoint is, never whether it is visible: people have answered that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelkit.domain.pose import ABSENT, UNKNOWN
from labelkit.domain.prediction import Prediction
from labelkit.project.preannotation import PRESENT
from labelkit.workflows.network.data import Example, TrainingCrops
from labelkit.workflows.network.sharing import predict_shared, together


class PseudoLabels(pl.Callback):
    """Makes pseudo-labels at their epochs, and saves them with the training state.

    Without locations and without a pose prior none are made: they would only repeat the network.
    Nor with a teacher, whose poses are the pseudo-labels then.

    Args:
        network: a LOFR in training; once it has pseudo-labels its heatmaps are read, unless its
            maps are normalised.
        crops: of the training; its pseudo-labels are replaced in place.
        at: fractions of the training after which they are made, 0 ... 1; empty for none.
        epochs: of the training.
        keep_fraction: fraction of each keypoint's pseudo-labels that are kept, 0 ... 1, the most
            confident first.
        flip_test, precision: see `predict`.
        time_gone: see `PoseTraining`: with a limit of time, fractions are of that.
    """

    def __init__(
        self,
        network: nn.Module,
        crops: TrainingCrops,
        at: Sequence[float],
        epochs: int,
        keep_fraction: float,
        flip_test: bool,
        precision: str = "full",
        time_gone: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.network = network
        self.crops = crops
        located = any(example.pose is not None for example in crops.examples)
        has_prior = network.reader.pose_prior and crops.skeleton.has_layout  # type: ignore[union-attr]
        taught = any(example.lesson is not None for example in crops.examples)
        # Before the first epoch there is nothing to predict from either.
        makes = (located or has_prior) and not taught
        self.at = {round(part * epochs) for part in at} - {0} if makes else set()
        self.epochs = epochs
        self.made_for: int | None = 0
        self.keep_fraction = keep_fraction
        self.flip_test = flip_test
        self.precision = precision
        self.time_gone = time_gone

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.make_for(trainer.current_epoch)

    def make_for(self, epoch: int) -> None:
        """Make the pseudo-labels of an epoch, if they are due and not made yet."""
        epoch = max(epoch, int(self.time_gone() * self.epochs))
        if self.made_for is None:
            self.made_for = epoch - 1
        due = max((at for at in self.at if at <= epoch), default=0)
        if due <= self.made_for:
            return
        modes = [(part, part.training) for part in self.network.modules()]
        self._keep(
            together(
                lambda: make_pseudo_labels(
                    self.network, self.crops, self.keep_fraction, self.flip_test, self.precision
                )
            )
        )
        for part, training in modes:
            part.training = training
        self.made_for = due

    def state_dict(self) -> dict[str, Any]:
        return {"pseudo_labels": self.crops.pseudo_labels, "made_for": self.made_for}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.made_for = state_dict.get("made_for")  # not in states until 2026-11-29
        self._keep(state_dict["pseudo_labels"])

    def _keep(self, pseudo_labels: Tensor) -> None:
        self.crops.pseudo_labels.copy_(pseudo_labels)
        # Activation maps of a frozen backbone are read better than heatmaps that learned from them.
        if pseudo_labels.any() and self.network.norms is None:
            self.network.reader.read_from = "heatmaps"


def make_pseudo_labels(
    network: nn.Module,
    crops: TrainingCrops,
    keep_fraction: float,
    flip_test: bool,
    precision: str = "full",
) -> Tensor:
    """Predicted locations of the keypoints that people answered are present.

    Without an answer, the network itself must predict that a keypoint is present.

    Args:
        network: see `predict`; left in evaluation mode.
        crops: of the training.
        keep_fraction: see `PseudoLabels`.
        flip_test, precision: see `predict`.

    Returns:
        (N, K, 3) for the N examples: x and y in image pixels, and 1 where it is kept; all 0 for
        examples with locations.
    """
    examples = crops.examples
    unlocated = [n for n, example in enumerate(examples) if example.pose is None]
    result = torch.zeros_like(crops.pseudo_labels)
    if not unlocated:
        return result
    found = predict_shared(
        network,
        [examples[n].instance for n in unlocated],
        crops.images_root,
        crops.skeleton,
        crops.size_hw,
        flip_test=flip_test,
        precision=precision,
    )
    predictions = [item.prediction for item in found]
    xy = np.stack([prediction.pose.xy for prediction in predictions])  # (M, K, 2)
    score = np.stack([prediction.pose.score for prediction in predictions])  # (M, K)
    # A confident keypoint in a pose of low confidence is less reliable.
    score = score * score.mean(axis=1, keepdims=True)
    pairs = zip(unlocated, predictions, strict=True)
    present = np.stack([_present(examples[n], prediction) for n, prediction in pairs])
    kept = present.copy()
    for keypoint in np.flatnonzero(present.any(axis=0)):
        column = score[:, keypoint]
        kept[:, keypoint] &= column >= np.quantile(column[present[:, keypoint]], 1 - keep_fraction)
    result[unlocated] = torch.from_numpy(np.dstack((xy, kept))).to(result.dtype)
    return result


def _present(example: Example, prediction: Prediction) -> NDArray[np.bool_]:
    """(K,) bool as answered, or else as the network predicts."""
    predicted = prediction.presence > PRESENT
    return np.where(example.presence > UNKNOWN, example.presence > ABSENT, predicted)
