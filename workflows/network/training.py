"""Train a network on mixed examples with lightning: resumable, on any number of devices."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from labelkit.ahead import ahead
from labelkit.domain.pose import UNKNOWN
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import duration
from labelkit.errors import CheckpointError, UsageError
from labelkit.models.baselines.twin import TwinBaseline
from labelkit.models.losses import heatmap_mse, render_heatmaps, response_loss, weak_loss
from labelkit.models.parts.output import PoseOutput
from labelkit.models.parts.pixels import Pixels
from labelkit.models.presets import parameter_groups
from labelkit.models.reading import PoseReader
from labelkit.progress import Progress, Silent, Step
from labelkit.workflows.network.consistency import consistency_loss, hard_view
from labelkit.workflows.network.crops import Augmentation
from labelkit.workflows.network.data import (
    Example,
    MixedSampler,
    TrainingCrops,
    loader,
    loader_workers,
)
from labelkit.workflows.network.interrupt import LastingInterrupt
from labelkit.workflows.network.precision import LIGHTNING
from labelkit.workflows.network.pseudo_labels import PseudoLabels
from labelkit.workflows.network.resume import Elapsed, SafetensorsIO
from labelkit.workflows.network.watch import Watch

#: The question after Ctrl-C.
FINISH = "Finish the training with what has been learned so far? No: continue it another time."
#: Up to so many steps lie between two saved states, where that leaves `STRETCHES` of them or more.
STRETCH_STEPS, STRETCHES = 50, 20
#: Warm-up of a pretrained backbone, as a multiple of that of the rest.
BACKBONE_WARMUP = 2
#: Without locations, pseudo-labels need this many steps to train heatmaps that read better than
#: response maps: 102 and 288 were too few, 864 enough (benchmarks/TRIED.md).
TEACHING_STEPS = 600


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained; the same for every row of a table.

    Attributes:
        steps: optimiser steps in total.
        steps_per_epoch: steps between two progress lines and two saved states; what the engine
            calls an epoch.
        batch_size: crops per step on each device.
        optimizer: "adam" (weight decay as a penalty, the paper) or "adamw" (decoupled).
        lr, transformer_lr: peak learning rates of the CNN and of the transformer.
        backbone_lr: the same of a backbone that started from pretrained weights.
        layer_decay: see `Backbone.groups`.
        weight_decay: of the optimiser.
        weights: of the CNN, encoder and final presence losses and of part diversity (eq. 13).
        lambda_mse: weight of the supervised heatmap term (1 in the paper, eq. 15).
        lambda_response: weight of the response maps' cross entropy (0 in the paper).
        lambda_consistency: weight of easy-to-hard consistency on crops without locations; twins
            teach each other, any other network itself.
        sigma: of the target Gaussians, in heatmap cells.
        located_share, located_odds: which crops are drawn, see `MixedSampler`.
        pseudo_labels_at, keep_fraction: see `PseudoLabels`.
        rotation, mirror: see `Augmentation`.
        precision: "full" or "bf16"; see `fastest_precision`.
        seed: of the run.
        minutes: after which the training has ended, whatever its steps; 0 without a limit.
    """

    steps: int
    steps_per_epoch: int
    batch_size: int
    optimizer: str
    lr: float
    transformer_lr: float
    backbone_lr: float
    layer_decay: float
    weight_decay: float
    weights: tuple[float, float, float, float]
    lambda_mse: float
    lambda_response: float
    lambda_consistency: float
    sigma: float
    located_share: float
    located_odds: float
    pseudo_labels_at: tuple[float, ...]
    keep_fraction: float
    rotation: float
    mirror: bool
    precision: str
    seed: int
    minutes: float = 0.0

    @property
    def epochs(self) -> int:
        """Number of the engine's epochs."""
        return math.ceil(self.steps / self.steps_per_epoch)


def make_recipe(
    preset: Mapping[str, Any],
    crops: int,
    epochs: int,
    seed: int,
    located: bool,
    precision: str = "full",
    least_steps: int | None = 0,
    minutes: float = 0.0,
    pretrained: bool = False,
    processes: int = 1,
) -> Recipe:
    """The recipe of a preset.

    Args:
        preset: one of `PRESETS`, or a changed copy.
        crops: in a pass; the same for every row of a table.
        epochs: passes over this many crops.
        seed: of the run.
        located: whether anything has a location; without any, learning rates differ and short
            trainings make no pseudo-labels.
        precision: see `Recipe`.
        least_steps: as many more passes as these steps take. None for a training that a version
            until 2026-11-29 began, which saved its state after every pass.
        minutes: see `Recipe`.
        pretrained: whether the backbone starts from weights.
        processes: that share each step, see `processes_of`: a pass takes fewer steps.
    """
    training = dict(preset["training"])
    del training["epochs"], training["least_steps"]
    scale, frozen = training.pop("lr_unlocated"), training.pop("frozen_unlocated")
    if not located and not (frozen and pretrained):
        training["lr"] *= scale
        training["transformer_lr"] *= scale
    training["backbone_lr"] *= training["lr"]
    per_epoch = max(1, math.ceil(crops / (training["batch_size"] * processes)))
    passes = 1  # between two saved states
    if least_steps is not None:
        least = math.ceil(least_steps / per_epoch)
        passes = max(1, min(STRETCH_STEPS // per_epoch, max(epochs, least) // STRETCHES))
        if epochs < least:
            epochs = math.ceil(least / passes) * passes
        while epochs % passes:
            passes -= 1
    if not located and epochs * per_epoch < TEACHING_STEPS:
        training["pseudo_labels_at"] = ()
    return Recipe(
        steps=epochs * per_epoch,
        steps_per_epoch=passes * per_epoch,
        precision=precision,
        seed=seed,
        minutes=minutes,
        **training,
        **preset["loss"],
    )


def processes_of(devices: int | None) -> int:
    """Number of processes of a training, over all nodes.

    Args:
        devices: see `train`.

    Raises:
        UsageError: see `train`.
    """
    return _processes_here(devices) * _nodes()


def processes_asked_for(devices: int | None) -> int:
    """The same for networks that use one device, unless torchrun, Slurm or `devices` say more."""
    return _processes_here(devices or _started() or 1) * _nodes()


def _processes_here(devices: int | None) -> int:
    """Number of processes on this machine."""
    started = _started()
    if started and devices not in (None, started):
        raise UsageError(
            f"{started} processes were started on this machine, for a training in {devices}.",
            "Leave out --devices, or torchrun and srun.",
        )
    return started or devices or torch.cuda.device_count() or 1


def _started() -> int:
    """Number of processes that torchrun or Slurm started on this machine; 0 if neither did."""
    names = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def _nodes() -> int:
    return int(os.environ.get("GROUP_WORLD_SIZE", os.environ.get("SLURM_NNODES", "1")))


class PoseTraining(pl.LightningModule):
    """The losses, weights and schedule around one network.

    Args:
        network: returns a `PoseOutput`.
        recipe: see `Recipe`.
        time_gone: share of its minutes, 0 ... 1, that the training has used; 0 without a limit.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, time_gone: Callable[[], float] = lambda: 0.0
    ) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.time_gone = time_gone

    def training_step(self, batch: Mapping[str, Tensor], _: int) -> Tensor:
        """Semi-weak loss of one batch (eq. 15): presence on every crop, heatmaps where located."""
        recipe = self.recipe
        images = self.network.pixels(batch["image"])  # type: ignore[operator]
        networks = self.network.twins if isinstance(self.network, TwinBaseline) else [self.network]
        outputs = [network(images) for network in networks]
        losses = [self._semi_weak(output, batch) for output in outputs]
        if recipe.lambda_consistency:
            counts = 1 - batch["located"]
            if any(recipe.weights):  # this kind of network uses visibility answers
                counts = counts * torch.where(batch["answered"] > 0, batch["presence"], 1.0)
            for network, teacher in zip(networks, reversed(outputs), strict=True):
                view = hard_view(images, teacher.heatmaps)
                student = network(view.images).heatmaps
                difference = consistency_loss(student, view.heatmaps, counts)
                losses.append(recipe.lambda_consistency * difference)
        loss = torch.stack(losses).sum()
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the state of another network; rename what earlier versions named otherwise.

        Raises:
            CheckpointError: if names or shapes of weights differ.
        """
        callbacks = checkpoint["callbacks"]
        if "Guesses" in callbacks:  # states of trainings begun until 2026-11-28
            kept = callbacks.pop("Guesses")["guesses"]
            callbacks[PseudoLabels.__name__] = {"pseudo_labels": kept}
        theirs, ours = (
            {name: value.shape for name, value in state.items()}
            for state in (checkpoint["state_dict"], self.state_dict())
        )
        # Trainings from pretrained weights begun until 2026-11-29 had other groups.
        groups = len(checkpoint["optimizer_states"][0]["param_groups"])
        expected = len(parameter_groups(self.network, asdict(self.recipe)))
        if theirs != ours or groups != expected:
            raise CheckpointError(
                f"{self.trainer.ckpt_path} is the training state of a different network.",
                "Delete it and run the same command again: training starts over.",
            )

    def _semi_weak(self, output: PoseOutput, batch: Mapping[str, Tensor]) -> Tensor:
        recipe, presence, answered = self.recipe, batch["presence"], batch["answered"]
        loss = output.heatmaps.new_zeros(())
        if any(recipe.weights):
            loss = weak_loss(output, presence, answered, weights=recipe.weights).total
        height, width = output.heatmaps.shape[-2:]
        cells = batch["xy"] * (width / batch["image"].shape[-1])
        target = render_heatmaps(cells, presence > 0, (height, width), recipe.sigma)
        # Zero, with zero gradients, where nothing in the batch has a location.
        supervised = heatmap_mse(output.heatmaps, target, batch["located"])
        loss = loss + recipe.lambda_mse * supervised
        if recipe.lambda_response and any(recipe.weights):
            by_response = response_loss(output.response, target, batch["located"])
            loss = loss + recipe.lambda_response * by_response
        return loss

    def configure_optimizers(self) -> Any:
        """A learning rate for each part; a warm-up, then a cosine to zero.

        A backbone with pretrained weights warms up `BACKBONE_WARMUP` times as long, while what
        reads it is still random.
        """
        recipe = self.recipe
        make = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        optimizer = make(parameter_groups(self.network, asdict(recipe)))
        shortest = max(1, min(recipe.steps // 10, 500))

        def factor(warmup: int, step: int) -> float:
            step = max(step, min(recipe.steps, round(self.time_gone() * recipe.steps)))
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            [
                partial(factor, shortest * (BACKBONE_WARMUP if group["pretrained"] else 1))
                for group in optimizer.param_groups
            ],
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Ahead:
    """Batches whose next crops a thread cuts while the network learns, where no process does.

    Args:
        batches: from `loader`.
    """

    def __init__(self, batches: DataLoader) -> None:
        self.batches = batches
        self.sampler = batches.sampler  # told by the engine which epoch it is

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return ahead(self.batches)


class _Batches(pl.LightningDataModule):
    """The batches of a training, drawn from the epoch in which it begins or resumes.

    Workers cut crops ahead as soon as there is a loader, before an epoch starts: epoch and
    pseudo-labels have to be right by then.

    Args:
        crops, batch_size, sampler: see `loader`.
        pseudo_labels: of the crops.
    """

    def __init__(
        self,
        crops: TrainingCrops,
        batch_size: int,
        sampler: MixedSampler,
        pseudo_labels: PseudoLabels,
    ) -> None:
        super().__init__()
        self.crops = crops
        self.batch_size = batch_size
        self.sampler = sampler
        self.pseudo_labels = pseudo_labels

    def train_dataloader(self) -> DataLoader | _Ahead:
        progress: Any = self.trainer.fit_loop.epoch_progress.current  # type: ignore[union-attr]
        epoch = progress.processed
        self.sampler.set_epoch(epoch)
        self.pseudo_labels.make_for(epoch)
        workers = loader_workers()
        batches = loader(self.crops, self.batch_size, workers, self.sampler)
        return batches if workers else _Ahead(batches)


class _EpochLine(Elapsed):
    """One progress line per stretch, and a state on disk from which a killed run resumes.

    Attributes:
        step: moves the bar of the whole training.
    """

    step: Step

    def __init__(
        self, progress: Progress, what: str, state: Path, minutes: float, watch: Watch
    ) -> None:
        super().__init__()
        self.progress = progress
        self.what = what
        self.state = state
        self.minutes = minutes
        self.watch = watch
        self._gone = 0.0

    def time_gone(self) -> float:
        """Share of the minutes that the training may take, 0 ... 1 and above; 0 without a limit.

        It is that of the last step, and the same in all processes, whose clocks differ.
        """
        return self._gone

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        if self.minutes:
            self._gone = self.before / (60 * self.minutes)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, PoseTraining)
        recipe = pl_module.recipe
        if self.minutes:
            self._gone = trainer.strategy.broadcast(self.seconds / (60 * self.minutes))
            trainer.should_stop |= self._gone >= 1
        done = trainer.current_epoch * recipe.steps_per_epoch + batch_idx + 1
        total = recipe.steps
        if self._gone:  # as many as the minutes allow at the speed so far
            total = min(total, round(done / min(1.0, self._gone)))
        self.step(done, total)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, PoseTraining)
        recipe = module.recipe
        done = trainer.global_step
        if done < recipe.steps:  # afterwards the weights themselves are saved
            trainer.save_checkpoint(self.state)
        if not trainer.is_global_zero:
            return
        took = self.this_run
        steps = done - self.first_step
        crops = steps * recipe.batch_size * trainer.world_size
        left = took / steps * (recipe.steps - done)
        if self.minutes:
            left = max(0.0, min(left, 60 * self.minutes - self.seconds))
        loss = float(trainer.callback_metrics["loss"])
        self.progress.line(
            f"{self.what}: step {done}/{recipe.steps}  loss {loss:.4f}  {self.watch.latest}"
            f"{crops / took:.0f} crops/s  {duration(left)} left"
        )


def train(
    network: nn.Module,
    examples: Sequence[Example],
    skeleton: Skeleton,
    images_root: Path,
    size_hw: tuple[int, int],
    recipe: Recipe,
    state: Path,
    progress: Progress,
    what: str,
    devices: int | None = None,
    dev: Sequence[Example] = (),
) -> dict[str, Any]:
    """Train `network` in place; resume from `state` if a run was interrupted.

    Args:
        network: one of `labelkit.models`.
        examples: objects with locations, with answers only and without either; at least one.
        skeleton: of the examples.
        images_root: folder below which the images lie.
        size_hw: crop size in pixels.
        recipe: how to train.
        state: file for the state of an unfinished run; removed by the caller.
        progress: shows a bar of all steps, and a line now and then.
        what: the name of the run in these.
        devices: number of GPUs or processes per node; None for as many as torchrun or Slurm
            started, or else all GPUs or one process.
        dev: objects with locations that are not trained on; see `Watch`.

    Returns:
        A record: recipe, steps taken, seconds, device, precision, examples of each kind, which maps
        the reader reads from now on, which weights are kept and their curve, see `Watch`; `stopped`
        if the user ended it early.

    Raises:
        CheckpointError: if `state` is damaged or of a different network.
        UsageError: if torchrun or Slurm started another number of processes than `devices`.
        KeyboardInterrupt: on Ctrl-C, if the user does not finish with what there is.
    """
    # Lightning's hints (devices, loggers, checkpoints) are about choices made here on purpose.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    pl.seed_everything(recipe.seed, workers=False, verbose=False)
    located = [i for i, e in enumerate(examples) if e.pose is not None]
    others = [i for i, e in enumerate(examples) if e.pose is None]
    answered = sum(bool((examples[i].presence > UNKNOWN).any()) for i in others)
    reader: PoseReader = network.reader  # type: ignore[assignment]
    taught = any(example.lesson is not None for example in examples)
    reader.read_from = "heatmaps" if located or taught else "response"
    gpu = torch.cuda.is_available()
    watch = Watch(
        network,
        dev,
        skeleton,
        images_root,
        size_hw,
        recipe.steps,
        recipe.precision,
        lambda: line.time_gone(),
    )
    line = _EpochLine(progress, what, state, recipe.minutes, watch)
    augmentation = Augmentation(recipe.rotation, recipe.mirror)
    pixels: Pixels = network.pixels  # type: ignore[assignment]
    crops = TrainingCrops(
        images_root, examples, skeleton, size_hw, augmentation, pixels.interpolation
    )
    pseudo_labels = PseudoLabels(
        network,
        crops,
        recipe.pseudo_labels_at,
        recipe.epochs,
        recipe.keep_fraction,
        recipe.mirror,
        recipe.precision,
        line.time_gone,
    )
    interrupt = LastingInterrupt()
    callbacks: list[pl.Callback] = [watch, line, pseudo_labels, interrupt]
    trainer = pl.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=_processes_here(devices),
        num_nodes=_nodes(),
        precision=LIGHTNING[recipe.precision],
        max_epochs=recipe.epochs,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        gradient_clip_val=1.0,
        default_root_dir=state.parent,
    )
    sampler = MixedSampler(
        located,
        others,
        recipe.batch_size,
        recipe.steps_per_epoch,
        recipe.located_share,
        recipe.located_odds,
        recipe.seed,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )
    with warnings.catch_warnings():
        # Lightning advises more loader workers than small machines have cores, and uses what
        # PyTorch deprecates.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        # Gradients of 1 x 1 convolutions in channels-last order: they are copied once more.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        shown = progress if trainer.is_global_zero else Silent()
        try:
            with shown.bar(what) as line.step, interrupt.listening():
                trainer.fit(
                    PoseTraining(network, recipe, line.time_gone),
                    datamodule=_Batches(crops, recipe.batch_size, sampler, pseudo_labels),
                    ckpt_path=state if state.is_file() else None,
                )
        except SystemExit:
            if not trainer.interrupted:  # Lightning turns Ctrl-C into SystemExit
                raise
            if not (watch.curve and trainer.world_size == 1 and progress.confirm(FINISH)):
                raise KeyboardInterrupt from None
    watch.give_back()
    steps = trainer.global_step
    return {
        "recipe": asdict(recipe),
        "steps": steps,
        "stopped": trainer.interrupted,
        "kept": watch.kept,
        "curve": watch.curve,
        "seconds": round(line.seconds, 1),
        "device": torch.cuda.get_device_name()
        if gpu
        else f"CPU, {torch.get_num_threads()} threads",
        "precision": LIGHTNING[recipe.precision],
        "world_size": trainer.world_size,
        "located": len(located),
        "answered": answered,
        "unanswered": len(others) - answered,
        "read_from": reader.read_from,
    }
