"""Feature maps at chosen strides from any timm network."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from urllib.request import getproxies

import timm
import torch
from torch import Tensor, nn

WEIGHTS_HOST = "huggingface.co"


class PretrainedUnavailable(RuntimeError):
    """Pretrained weights are neither on this machine nor downloadable.

    Args:
        name: the backbone.
        reason: why, in a few words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"No pretrained weights for {name} ({reason}). "
            "Connect once to download them, or train from scratch with: --no-pretrained"
        )
        self.name = name


class Backbone(nn.Module):
    """A timm network reduced to the maps that the rest of the model reads.

    Args:
        name: of the network in timm.
        strides: which maps to return, in input pixels a cell, finest first.
        pretrained: start from ImageNet weights.

    Attributes:
        strides: as given.
        channels: of each map.

    Raises:
        ValueError: if timm has no such network, or it has no map at one of the strides.
        PretrainedUnavailable: if pretrained weights cannot be fetched.
    """

    def __init__(self, name: str, strides: Sequence[int], pretrained: bool) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ValueError(f"timm has no network {name!r}; it has resnet18, for example.")
        with torch.device("meta"):
            info: Any = timm.create_model(name, features_only=True).feature_info
        reductions = list(info.reduction())
        missing = [stride for stride in strides if stride not in reductions]
        if missing:
            raise ValueError(f"{name} has maps at strides {reductions}, none at {missing[0]}.")
        # the last map of a stride is the deepest one
        last = {reduction: index for index, reduction in enumerate(reductions)}
        indices = [last[stride] for stride in strides]
        self.strides = tuple(strides)
        self.channels = tuple(info.channels()[index] for index in indices)
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            self.net = _create(name, sorted(indices), pretrained)
            self._drop_unused_parts()
        # depthwise convolutions train ten times faster in this layout on CPUs
        self.net.to(memory_format=torch.channels_last)

    def _drop_unused_parts(self) -> None:
        """Cut stages after the last map, and freeze other idle branches: DDP waits for them."""
        training = self.net.training
        parameters = list(self.net.parameters())
        maps = self.net.eval()(torch.zeros(1, 3, 64, 64))
        total = torch.stack([level.sum() for level in maps]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        blocks = getattr(self.net, "blocks", None)  # the MobileNet and EfficientNet families
        if isinstance(blocks, nn.Sequential):
            while not any(parameter.requires_grad for parameter in blocks[-1].parameters()):
                del blocks[-1]
        self.net.train(training)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps.

        Args:
            images: (B, 3, H, W), normalised with the ImageNet mean and deviation.

        Returns:
            One (B, channels[i], H / strides[i], W / strides[i]) map a stride.
        """
        return tuple(self.net(images.contiguous(memory_format=torch.channels_last)))


def _create(name: str, out_indices: Sequence[int], pretrained: bool) -> nn.Module:
    if not pretrained:
        return timm.create_model(name, features_only=True, out_indices=out_indices)
    overlay = {}
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url or config.file):
        raise PretrainedUnavailable(name, "timm publishes none")
    cached = _cached_weights(config.hf_hub_id)
    if cached:
        overlay["file"] = cached
    elif not _reachable(WEIGHTS_HOST):
        # timm would retry for most of a minute first
        raise PretrainedUnavailable(name, f"{WEIGHTS_HOST} cannot be reached")
    try:
        return timm.create_model(
            name,
            features_only=True,
            out_indices=out_indices,
            pretrained=True,
            pretrained_cfg_overlay=overlay,
        )
    except Exception as error:  # the hub, HTTP and file layers below timm share no base class
        raise PretrainedUnavailable(name, type(error).__name__) from error


def _cached_weights(hub_id: str | None) -> str | None:
    """Path of weights that an earlier run downloaded."""
    from huggingface_hub import try_to_load_from_cache  # comes with timm

    if not hub_id:
        return None
    found = try_to_load_from_cache(hub_id, "model.safetensors")
    return found if isinstance(found, str) else None


def _reachable(host: str) -> bool:
    """Whether a download can be tried; behind a proxy only the download itself shows that."""
    if getproxies():
        return True
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True
