"""What the processes of a training do together: the first one decides and writes, the others help.

Predictions are made in the batches of one process alone: the number of processes changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from numpy.typing import NDArray
from torch import distributed, nn

from labelkit.domain.instance import Instance
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import LabelkitError, ServiceError, UsageError
from labelkit.project.project import is_main_process
from labelkit.workflows.network.inference import PredictionWithMaps, predict

T = TypeVar("T")

#: Crops of a batch.
BATCH = 64

#: How long the processes wait for all to start, and for the first, which may have a million images
#: to register.
COMING, PATIENCE = timedelta(minutes=10), timedelta(days=1)

#: Whether this is the first process, and the others wait until it asks.
_has_helpers = False


def together(work: Callable[[], T]) -> T:
    """The result of some work, in all processes. The first does it; the others help it to predict.

    Processes that are not connected to the first one end here.

    Args:
        work: what `predict_shared` predicts in it is shared. Its result can be pickled.
    """
    global _has_helpers
    _join()
    if not distributed.is_initialized():
        if not is_main_process():
            raise SystemExit(0)
        return work()
    if distributed.get_rank() > 0:
        while isinstance(order := _from_first(None), _Order):
            for _ in order.shared():
                pass
        if isinstance(order, _Refused):
            raise SystemExit(order.exit_code)  # the first one says why
        return order
    _has_helpers = True
    try:
        result = work()
    except LabelkitError as error:
        _from_first(_Refused(error.exit_code))
        raise
    finally:
        _has_helpers = False
    _from_first(result)
    return result


def prepared(work: Callable[[], T]) -> T:
    """The result of what comes before a training, in all processes. The first does it alone.

    Processes that a training starts itself come when it is done: they find it so.

    Args:
        work: changes nothing where it has been done. Its result can be pickled.
    """
    _join()
    return together(work) if distributed.is_initialized() else work()


def predict_shared(
    network: nn.Module,
    instances: Sequence[Instance],
    images_root: Path,
    skeleton: Skeleton,
    size_hw: tuple[int, int],
    *,
    flip_test: bool,
    precision: str,
    evidence: NDArray[np.float64] | None = None,
) -> Iterator[PredictionWithMaps]:
    """As `predict`; all processes share it where they are `together`."""
    if _has_helpers:
        network = deepcopy(network).cpu()
    some = partial(
        predict,
        network,
        images_root=images_root,
        skeleton=skeleton,
        size_hw=size_hw,
        batch_size=BATCH,
        flip_test=flip_test,
        precision=precision,
    )
    if not _has_helpers:
        return some(instances, evidence=evidence)
    return _from_first(_Order(some, instances, evidence)).shared()


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """To predict instances, given with their evidence."""

    predict: Callable[..., Iterator[PredictionWithMaps]]
    instances: Sequence[Instance]
    evidence: NDArray[np.float64] | None

    def shared(self) -> Iterator[PredictionWithMaps]:
        """All predictions in the first process, in order; none in the others."""
        rank, processes = distributed.get_rank(), distributed.get_world_size()
        starts = range(0, len(self.instances), BATCH)
        ours = [n for start in starts[rank::processes] for n in range(start, start + BATCH)]
        ours = [n for n in ours if n < len(self.instances)]
        evidence = None if self.evidence is None else self.evidence[ours]
        found = self.predict([self.instances[n] for n in ours], evidence=evidence)
        for _ in starts[::processes]:
            batches: list[list[PredictionWithMaps]] | None = None
            if rank == 0:
                batches = [[]] * processes
            distributed.gather_object(list(islice(found, BATCH)), batches)
            yield from chain.from_iterable(batches or ())


@dataclass(frozen=True, slots=True)
class _Refused:
    """That the first process ends with an error, and with which exit code."""

    exit_code: int


def _from_first(value: Any) -> Any:
    """The value of the first process."""
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def _join() -> None:
    """Connect the processes that torchrun or Slurm started, unless a training has done so.

    Raises:
        ServiceError: if some of them did not start.
        UsageError: if they were started in a way that Lightning does not know.
    """
    if distributed.is_initialized():
        return
    found = next((it for it in (TorchElasticEnvironment, SLURMEnvironment) if it.detect()), None)
    try:
        launched = None if found is None else found()
    except RuntimeError as error:  # such as --ntasks without --ntasks-per-node
        raise UsageError(str(error), "Change the options of sbatch or srun.") from error
    if launched is None or launched.world_size() == 1:
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(launched.local_rank())
        backend = "cpu:gloo,cuda:nccl"  # a training goes on with it
    rank, count = launched.global_rank(), launched.world_size()
    address = f"tcp://{launched.main_address}:{launched.main_port}"
    try:
        store, _, _ = next(distributed.rendezvous(address, rank, count, timeout=COMING))
    except distributed.DistError as error:
        raise ServiceError(
            f"Not all of the {count} processes of this job have started.",
            "Start one process for each task: srun labelkit ..., or torchrun labelkit ...",
        ) from error
    named = distributed.PrefixStore("labelkit", store)
    distributed.init_process_group(
        backend, store=named, timeout=PATIENCE, rank=rank, world_size=count
    )
