"""Self-training: a network places keypoints where nobody did, and learns from what it is sure of.

Guesses are made upright, from several views and with what labelled poses know of each other, and
are learned from crop by crop in single turned views: the network is taught by its better self.
They teach where a keypoint lies, never whether it can be seen: that is what people have answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelkit.preannotation import PRESENT
from labelkit.predictions import Prediction
from labelkit.workflows.data import Example, TrainingCrops
from labelkit.workflows.inference import look


class Guesses(pl.Callback):
    """Makes guesses when their time has come; what a killed run had guessed is not lost.

    Without locations and without a textbook pose none are made: it would only repeat itself.

    Args:
        network: the one that is trained; from its first guesses on its heatmaps are read.
        crops: of the training; its guesses are replaced in place.
        at: parts of the training after which guesses are made, 0 ... 1; none for no guesses.
        epochs: of the training.
        sure: part of each keypoint's guesses that count, the surest first.
        flip_test: see `look`.
    """

    def __init__(
        self,
        network: nn.Module,
        crops: TrainingCrops,
        at: Sequence[float],
        epochs: int,
        sure: float,
        flip_test: bool,
    ) -> None:
        self.network = network
        self.crops = crops
        located = any(example.pose is not None for example in crops.examples)
        told = network.reader.textbook and crops.skeleton.has_layout  # type: ignore[union-attr]
        # Before the first epoch there is nothing to guess from either.
        self.at = {round(part * epochs) for part in at} - {0} if located or told else set()
        self.sure = sure
        self.flip_test = flip_test

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch in self.at:
            modes = [(part, part.training) for part in self.network.modules()]
            self._make(guess(self.network, self.crops, self.sure, self.flip_test))
            for part, training in modes:
                part.training = training

    def state_dict(self) -> dict[str, Any]:
        return {"guesses": self.crops.guesses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._make(state_dict["guesses"])

    def _make(self, guesses: Tensor) -> None:
        self.crops.guesses.copy_(guesses)
        if guesses.any():
            self.network.reader.read_from = "heatmaps"  # type: ignore[union-attr]


def guess(network: nn.Module, crops: TrainingCrops, sure: float, flip_test: bool) -> Tensor:
    """Where the network sees keypoints that people said are there, without having said where.

    Where they have not said that either, the network has to see them present.

    Args:
        network: see `look`; left in evaluation mode.
        crops: of the training.
        sure: part of each keypoint's guesses that count, the surest first.
        flip_test: see `look`.

    Returns:
        (N, K, 3) for the N examples: x and y in image pixels, and 1 where the guess counts. All
        of an example with locations is 0.
    """
    examples = crops.examples
    wanted = [n for n, example in enumerate(examples) if example.pose is None]
    result = torch.zeros_like(crops.guesses)
    if not wanted:
        return result
    seen = look(
        network,
        [examples[n].instance for n in wanted],
        crops.images_root,
        crops.skeleton,
        crops.size_hw,
        flip_test=flip_test,
    )
    predictions = [item.prediction for item in seen]
    xy = np.stack([prediction.pose.xy for prediction in predictions])  # (M, K, 2)
    score = np.stack([prediction.pose.score for prediction in predictions])  # (M, K)
    # A pose that is unsure as a whole is a bad place to look for single sure keypoints.
    score = score * score.mean(axis=1, keepdims=True)
    there = np.stack([_present(examples[n], p) for n, p in zip(wanted, predictions, strict=True)])
    counts = there.copy()
    for keypoint in np.flatnonzero(there.any(axis=0)):
        column = score[:, keypoint]
        counts[:, keypoint] &= column >= np.quantile(column[there[:, keypoint]], 1 - sure)
    result[wanted] = torch.from_numpy(np.dstack((xy, counts))).to(result.dtype)
    return result


def _present(example: Example, prediction: Prediction) -> NDArray[np.bool_]:
    """(K,) as people have said, or else as the network sees it."""
    return prediction.presence > PRESENT if example.presence is None else example.presence
