"""What a killed training continues from, in safetensors because a pickle can run code."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import safetensors
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors.torch import save_file
from torch import Tensor

from labelkit.errors import CheckpointError
from labelkit.files.atomic import atomic_path


class SafetensorsIO(CheckpointIO):
    """Store the engine's checkpoint dictionary: tensors as tensors, the rest as JSON."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write to a temporary file and rename it: a kill leaves the previous state or the new one.

        Raises:
            CheckpointError: if it cannot be written (disk full).
        """
        tensors: dict[str, Tensor] = {}
        tree = _pack(checkpoint, tensors)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(Path(path)) as beside:
            try:
                save_file(tensors, beside, metadata={"labelkit-resume": json.dumps(tree)})
            except safetensors.SafetensorError as error:
                raise CheckpointError(
                    f"The training state {path} could not be written ({error}).",
                    "Free some disk space, then run the same command again: it resumes.",
                ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote.

        Raises:
            CheckpointError: if the file is anything else.
        """
        try:
            with safetensors.safe_open(path, framework="pt", device="cpu") as file:
                tree = json.loads((file.metadata() or {})["labelkit-resume"])
                return _unpack(tree, file.get_tensor)
        except (KeyError, ValueError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"{path} is not a training state of this labelkit ({error}).",
                "Delete it and run the same command again: training starts over.",
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


class Elapsed(pl.Callback):
    """Keeps how long a training has taken, over all the runs that it was stopped between.

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


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for `value`; its tensors go into `tensors` under running numbers."""
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, dict):
        return {"items": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"Training state holds a {type(value).__name__}, which JSON cannot hold.")


def _unpack(tree: Any, get_tensor: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return get_tensor(content).clone()
    if kind == "items":
        return {_unpack(k, get_tensor): _unpack(v, get_tensor) for k, v in content}
    items = [_unpack(item, get_tensor) for item in content]
    return items if kind == "list" else tuple(items)
