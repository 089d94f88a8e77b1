"""Weights that backbones start from: which exist, where they are, whether they fit."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError
from safetensors import SafetensorError, safe_open
from torch import Tensor

#: Backbones that are worth having, the smallest of each family first.
RECOMMENDED = (
    "tf_efficientnet_lite0",
    "resnet50",
    "hrnet_w32",
    "hrnet_w48",
    "convnext_tiny",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "vit_small_patch14_dinov2",
    "vit_base_patch14_dinov2",
    "vit_small_patch16_dinov3",
    "vit_base_patch16_dinov3",
)

_FILE = "model.safetensors"
#: Seconds to wait for the hub's answer to a first connection.
_PATIENCE = 3.0


class UnusableBackbone(ValueError):
    """A network that no pose network can read maps from, or weights that do not fit it."""


class PretrainedUnavailable(RuntimeError):
    """Pretrained weights are neither on this machine nor downloadable.

    Args:
        name: the backbone.
        reason: why, in a few words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"No pretrained weights for {name} ({reason}).")
        self.name = name
        self.reason = reason


def published(name: str) -> Any:
    """What timm says about the weights of a network: `hf_hub_id`, `license`, `input_size`, ...

    Raises:
        UnusableBackbone: if timm has no such network, or no such weights for it.
    """
    if not timm.is_model(name):
        raise UnusableBackbone(f"timm has no network {name!r}; it has resnet18, for example.")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UnusableBackbone(f"timm has no weights {name!r} ({error}).") from error


def page(name: str) -> str:
    """Address of the page where weights are published; "" without."""
    repository = published(name).hf_hub_id
    return f"{constants.ENDPOINT}/{repository}" if repository else ""


def cache_folder() -> Path:
    """Where the Hugging Face hub keeps what was fetched: HF_HUB_CACHE, else hub/ in HF_HOME."""
    return Path(constants.HF_HUB_CACHE)


def on_this_machine() -> tuple[str, ...]:
    """Backbones whose weights are in the cache, the recommended ones without their tag."""
    recommended = {published(name).hf_hub_id: name for name in RECOMMENDED}
    names = []
    for folder in sorted(cache_folder().glob("models--timm--*")):
        repository = folder.name.removeprefix("models--").replace("--", "/")
        name = recommended.get(repository, repository.partition("/")[2])
        if timm.is_model(name) and cached(name):
            names.append(name)
    return tuple(names)


def cached(name: str, cache: Path | None = None) -> Path | None:
    """The file of weights that were fetched before; None without.

    Args:
        name, cache: see `fetch`.
    """
    repository = published(name).hf_hub_id
    if not repository:
        return None
    found = try_to_load_from_cache(repository, _FILE, cache)
    return Path(found) if isinstance(found, str) else None


def fetch(name: str, cache: Path | None = None) -> Path:
    """Download weights, unless they are there.

    Args:
        name: of the network in timm; "NAME.TAG" for other weights than its first.
        cache: folder of another cache than the hub's.

    Raises:
        PretrainedUnavailable: if that is not possible; without a network in `_PATIENCE` seconds.
    """
    repository = published(name).hf_hub_id
    if not repository:
        raise PretrainedUnavailable(name, "timm publishes none")
    if there := cached(name, cache):
        return there
    if constants.HF_HUB_OFFLINE:
        raise PretrainedUnavailable(name, "HF_HUB_OFFLINE is set")
    if not _reachable(constants.ENDPOINT):  # the hub itself would retry for half a minute
        raise PretrainedUnavailable(name, f"{constants.ENDPOINT} cannot be reached")
    try:
        return Path(hf_hub_download(repository, _FILE, cache_dir=cache))
    except GatedRepoError as error:
        reason = f"accept their licence at {page(name)} and set HF_TOKEN"
        raise PretrainedUnavailable(name, reason) from error
    except Exception as error:  # the hub, HTTP and file layers share no base class
        raise PretrainedUnavailable(name, f"{repository}: {type(error).__name__}") from error


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; no other kind of file is ever read.

    Raises:
        UnusableBackbone: if it is none, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UnusableBackbone(f"{path} is not a readable safetensors file ({error}).") from error


def check_fit(name: str, path: Path) -> None:
    """Make sure that a file holds the weights of a network, under timm's names.

    The classifier may be missing or have other classes, and a position embedding another grid.

    Raises:
        UnusableBackbone: naming the first parameters that are missing, left over or misshapen.
    """
    config = published(name)
    classifier = config.classifier or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    ends = ("num_batches_tracked", "pos_embed")

    def counted(parameter: str) -> bool:
        return not parameter.endswith(ends) and not parameter.startswith(
            tuple(f"{head}." for head in heads)
        )

    with torch.device("meta"):
        expected = {
            key: tuple(value.shape)
            for key, value in timm.create_model(name).state_dict().items()
            if counted(key)
        }
    try:
        with safe_open(path, framework="pt") as file:
            theirs = {
                key: tuple(file.get_slice(key).get_shape())
                for key in file.keys()  # noqa: SIM118
                if counted(key)
            }
    except (SafetensorError, OSError) as error:
        raise UnusableBackbone(f"{path} is not a readable safetensors file ({error}).") from error
    wrong = [f"{key} is missing" for key in expected if key not in theirs]
    wrong += [f"{key} is left over" for key in theirs if key not in expected]
    wrong += [
        f"{key} has shape {theirs[key]}, not {shape}"
        for key, shape in expected.items()
        if theirs.get(key, shape) != shape
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UnusableBackbone(f"{path} does not fit {name}: {', '.join(wrong[:3])}{more}.")


def _reachable(address: str) -> bool:
    """Whether the hub, or the proxy on the way to it, accepts a connection."""
    url = urlsplit(address)
    url = urlsplit(getproxies().get(url.scheme, address))
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        socket.create_connection((url.hostname or "", port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True
