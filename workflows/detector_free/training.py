"""Train a detector-free network with a strategy: resumable, on the GPU where there is one."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from labelkit.domain.instance import Image
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import duration
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.progress import Progress, Step
from labelkit.workflows.detector_free.canvases import Batch, Batches, LabelledImage
from labelkit.workflows.detector_free.strategy import (
    ScoreThreshold,
    Strategy,
    ema_decay,
    ramp,
    teacher_of,
    unlabelled_loss,
    update_teacher,
)
from labelkit.workflows.network.crops import Augmentation
from labelkit.workflows.network.data import loader_workers
from labelkit.workflows.network.interrupt import LastingInterrupt
from labelkit.workflows.network.precision import LIGHTNING
from labelkit.workflows.network.resume import Elapsed, SafetensorsIO

#: Up to so many steps lie between two saved states.
STRETCH_STEPS = 50


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained; the same for every row of a table.

    Attributes:
        steps: of the optimiser.
        batch_size: labelled images of a step.
        ratio: unlabelled images for each labelled one, where a strategy uses any.
        lr, weight_decay: of AdamW; a warm-up over a tenth of the steps, then a cosine to zero.
        rotation, mirror: see `Augmentation`.
        precision: see `fastest_precision`.
        seed: of the run.
    """

    steps: int
    batch_size: int
    ratio: int
    lr: float
    weight_decay: float
    rotation: float
    mirror: bool
    precision: str
    seed: int


class DetectorFreeTraining(pl.LightningModule):
    """The losses and the schedule around one network, and its teacher.

    Args:
        student: the network.
        strategy: what unlabelled images are used for.
        recipe: see `Recipe`.
        skeleton: of the keypoints.
        objects_per_image: mean over the labelled images.

    Attributes:
        teacher: the moving average of the student; the one that is used afterwards.
        pseudo_labels: mean number of pseudo-labels for each object that an unlabelled image is
            expected to have, over the steps since burn-in.
    """

    seen: Tensor

    def __init__(
        self,
        student: DetectorFree,
        strategy: Strategy,
        recipe: Recipe,
        skeleton: Skeleton,
        objects_per_image: float,
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher_of(student)
        self.strategy = strategy
        self.recipe = recipe
        self.flip = skeleton.flip_indices
        # A keypoint without its partner has no name in a mirror image.
        self.mirror = recipe.mirror and not skeleton.unpaired_sides
        self.objects_per_image = objects_per_image
        self.threshold = ScoreThreshold(objects_per_image)
        self.register_buffer("seen", torch.zeros(2))  # pseudo-labels, unlabelled images

    @property
    def pseudo_labels(self) -> float:
        labels, images = self.seen.tolist()
        return labels / (images * self.objects_per_image) if images else 0.0

    def train(self, mode: bool = True) -> DetectorFreeTraining:
        """Change the mode of the student; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Labelled images, and after burn-in what unlabelled ones say."""
        recipe, step = self.recipe, self.global_step
        output = self.student(self.student.pixels(batch.pixels))
        loss = self.student.loss(output, batch.truths, batch.counts)
        weight = ramp(step, recipe.steps)
        if weight > 0 and self.strategy.uses_unlabelled and len(batch.unlabelled):
            other, count = unlabelled_loss(
                self.strategy,
                self.student,
                self.teacher,
                batch.unlabelled,
                self.threshold,
                self.flip,
                self.mirror,
                torch.Generator().manual_seed(1_000_003 * recipe.seed + step),
            )
            loss = loss + weight * other
            self.seen += self.seen.new_tensor([count, len(batch.unlabelled)])
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the teacher follow."""
        decay = ema_decay(self.global_step, self.recipe.steps)
        update_teacher(self.teacher, self.student, decay)

    def configure_optimizers(self) -> Any:
        """AdamW with a warm-up and a cosine."""
        recipe = self.recipe
        trained = [p for p in self.student.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, recipe.lr, weight_decay=recipe.weight_decay)
        warmup = max(1, recipe.steps // 10)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Stretches(pl.LightningDataModule):
    """The batches of one stretch after another, from the step at which the training is."""

    def __init__(self, batches: Batches, steps: int) -> None:
        super().__init__()
        self.batches = batches
        self.steps = steps

    def train_dataloader(self) -> DataLoader:
        first = self.trainer.global_step  # type: ignore[union-attr]
        steps = range(first, min(first + STRETCH_STEPS, self.steps))
        return DataLoader(
            self.batches, batch_size=None, sampler=steps, num_workers=loader_workers()
        )


class _StateAndLine(Elapsed):
    """A saved state and a line of progress after each stretch."""

    step: Step

    def __init__(self, progress: Progress, what: str, state: Path) -> None:
        super().__init__()
        self.progress = progress
        self.what = what
        self.state = state

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        self.step(trainer.global_step, module.recipe.steps)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        done, steps = trainer.global_step, module.recipe.steps
        trainer.save_checkpoint(self.state)
        took = self.this_run
        left = took / max(done - self.first_step, 1) * (steps - done)
        loss = float(trainer.callback_metrics["loss"])
        self.progress.line(
            f"{self.what}: step {done}/{steps}  loss {loss:.3f}  "
            f"pseudo-labels {module.pseudo_labels:.2f}  {duration(left)} left"
        )


def train(
    network: DetectorFree,
    strategy: Strategy,
    recipe: Recipe,
    root: Path,
    with_labels: Sequence[LabelledImage],
    without: Sequence[Image],
    skeleton: Skeleton,
    size_hw: tuple[int, int],
    state: Path,
    progress: Progress,
    what: str,
    tile: float = 0.0,
) -> tuple[DetectorFree, dict[str, Any]]:
    """Train a network; resume from `state` if a run was interrupted.

    Args:
        network: from `build_detector_free`; it becomes the student.
        strategy: what unlabelled images are used for.
        recipe: how to train.
        root: folder below which the images lie.
        with_labels: images with labels; at least one.
        without: further images, whose labels are not used.
        skeleton: of the labels.
        size_hw: rows and columns of a canvas.
        state: file for the state of an unfinished run; removed by the caller.
        progress: shows a bar of all steps, and a line now and then.
        what: the name of the run in these.
        tile: see `tile_sides`.

    Returns:
        The teacher, and a record: recipe, seconds, device, images of each kind, pseudo-labels for
        each object expected in unlabelled images, the last score threshold.

    Raises:
        CheckpointError: if `state` is damaged.
        KeyboardInterrupt: on Ctrl-C.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    pl.seed_everything(recipe.seed, workers=False, verbose=False)
    batches = Batches(
        root,
        with_labels,
        without if strategy.uses_unlabelled else (),
        skeleton,
        size_hw,
        Augmentation(recipe.rotation, recipe.mirror),
        recipe.batch_size,
        recipe.ratio,
        recipe.seed,
        network.pixels.interpolation,
        tile,
    )
    objects = sum(len(item.poses) for item in with_labels) / len(with_labels)
    module = DetectorFreeTraining(network, strategy, recipe, skeleton, objects)
    line, interrupt = _StateAndLine(progress, what, state), LastingInterrupt()
    gpu = torch.cuda.is_available()
    trainer = pl.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=1,
        precision=LIGHTNING[recipe.precision],
        max_steps=recipe.steps,
        max_epochs=-1,
        callbacks=[line, interrupt],
        plugins=[SafetensorsIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=5.0,
        default_root_dir=state.parent,
    )
    with warnings.catch_warnings(), progress.bar(what) as line.step, interrupt.listening():
        # Lightning advises more loader workers than small machines have cores, wonders at the
        # teacher's evaluation mode, and uses what PyTorch deprecates.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        try:
            trainer.fit(
                module,
                datamodule=_Stretches(batches, recipe.steps),
                ckpt_path=state if state.is_file() else None,
            )
        except SystemExit:
            if trainer.interrupted:  # Lightning turns Ctrl-C into SystemExit
                raise KeyboardInterrupt from None
            raise
    return module.teacher, {
        "recipe": asdict(recipe),
        "seconds": round(line.seconds, 1),
        "device": torch.cuda.get_device_name()
        if gpu
        else f"CPU, {torch.get_num_threads()} threads",
        "labelled_images": len(with_labels),
        "unlabelled_images": len(batches.without),
        "pseudo_labels": round(module.pseudo_labels, 3),
        "threshold": round(float(module.threshold.value), 3),
    }
