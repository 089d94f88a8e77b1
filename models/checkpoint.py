"""Weights on disk: safetensors with a JSON header that describes the network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from labelkit.errors import CheckpointError
from labelkit.models.baselines.detr import DetrBaseline
from labelkit.models.baselines.simple import SimpleBaseline
from labelkit.models.baselines.twin import TwinBaseline
from labelkit.models.lofr import LOFR
from labelkit.models.presets import build_model, with_current_names

#: Increased whenever earlier weights no longer fit the networks.
FORMAT = 2
_HEADER_KEY = "labelkit"
_RETRAIN = "Train it again with this version of labelkit."


def network_header(
    kind: str,
    num_keypoints: int,
    links: Sequence[tuple[int, int]],
    preset: Mapping[str, Any],
) -> dict[str, Any]:
    """What `load_model` needs: the arguments of `build_model`."""
    return {
        "kind": kind,
        "num_keypoints": num_keypoints,
        "links": [list(link) for link in links],
        "preset": dict(preset),
    }


def save_checkpoint(path: Path, model: nn.Module, header: Mapping[str, Any]) -> None:
    """Write weights and header; the file is written in full or not at all.

    Args:
        path: of the file; an existing one is replaced.
        model: on any device.
        header: JSON values. `load_model` reads "network", see `network_header`; the caller adds
            the rest (skeleton, provenance).

    Raises:
        CheckpointError: if it cannot be written (disk full, no permission).
    """
    text = json.dumps({**header, "format": FORMAT}, ensure_ascii=False)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    beside = path.with_name(f".{path.name}.part")  # overwrites what a kill left
    try:
        save_file(state, beside, metadata={_HEADER_KEY: text})
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"The checkpoint {path} could not be written ({error}).",
            "Free some disk space or make the folder writable, then run the same command again.",
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and header.

    Returns:
        The state by parameter name, on the CPU, and the header as saved.

    Raises:
        CheckpointError: if the file is missing, damaged, not a safetensors file (no pickle is ever
            read), not written by labelkit, or of another format version.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = _parse_header(path, (file.metadata() or {}).get(_HEADER_KEY))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}).",
            "labelkit reads no other kind of weights. " + _RETRAIN,
        ) from error


def _parse_header(path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        raise CheckpointError(f"{path} was not written by labelkit: it has no header.", _RETRAIN)
    try:
        header = json.loads(text)
        version = header.pop("format")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{path} has a damaged header.", _RETRAIN) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path} has format {version!r}; this labelkit reads format {FORMAT}.", _RETRAIN
        )
    return header


def load_model(
    path: Path,
) -> tuple[LOFR | DetrBaseline | SimpleBaseline | TwinBaseline, dict[str, Any]]:
    """Rebuild a network and give it its weights.

    Returns:
        The network, in evaluation mode on the CPU, and the header.

    Raises:
        CheckpointError: see `load_checkpoint`; also if the header does not describe a network that
            this version builds, or the weights do not fit it.
    """
    state, header = load_checkpoint(path)
    try:
        network = header["network"]
        model = build_model(
            network["kind"],
            network["num_keypoints"],
            [(a, b) for a, b in network["links"]],
            with_current_names(network["preset"]),
            pretrained=False,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"The network in the header of {path} cannot be built ({error}).", _RETRAIN
        ) from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {path} do not fit the network in its header.", _RETRAIN
        ) from error
    return model.eval(), header
