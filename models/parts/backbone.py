"""Feature maps at chosen strides from any timm network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

from labelkit.models.parts.pretrained import (
    PretrainedUnavailable,
    UnusableBackbone,
    check_fit,
    fetch,
    published,
    read,
)
from labelkit.models.parts.simple_pyramid import SimplePyramid

# It notes each time that classifier and unused stages of a file are left out, as they are meant to.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)


class Backbone(nn.Module):
    """A timm network reduced to the maps that the rest of the model reads.

    A plain transformer has one map, at the stride of its patches. Its position embedding is
    resampled to the crop, a `SimplePyramid` makes the maps, and where patches are not of 8 or 16
    pixels the crop is scaled first: one of 96 pixels to 84 for patches of 14, so that a token
    covers 16 pixels of the crop.

    Args:
        name: of the network in timm.
        strides: which maps to return, in input pixels a cell, finest first.
        pretrained: True starts from the weights that timm publishes, a path from those of a
            safetensors file with timm's names.

    Attributes:
        strides: as given.
        channels: of each map.
        pretrained: whether it started from weights.

    Raises:
        UnusableBackbone: if timm has no such network, it has no map at one of the strides or
            reads one size of pictures only, or the file does not fit it.
        PretrainedUnavailable: if published weights cannot be fetched.
    """

    def __init__(self, name: str, strides: Sequence[int], pretrained: bool | Path = False) -> None:
        super().__init__()
        published(name)
        with torch.device("meta"):
            info: Any = timm.create_model(name, features_only=True).feature_info
        reductions, channels = list(info.reduction()), list(info.channels())
        self.strides = tuple(strides)
        self.pretrained = bool(pretrained)
        self.patch = reductions[0] if len(set(reductions)) == 1 else 0
        options: dict[str, Any] = {"features_only": True}
        if self.patch:
            options = {"num_classes": 0, "dynamic_img_size": True}
        else:
            missing = [stride for stride in strides if stride not in reductions]
            if missing:
                raise UnusableBackbone(
                    f"{name} has maps at strides {reductions}, none at {missing[0]}."
                )
            # the last map of a stride is the deepest one
            last = {reduction: index for index, reduction in enumerate(reductions)}
            indices = [last[stride] for stride in strides]
            self.channels = tuple(channels[index] for index in indices)
            options["out_indices"] = sorted(indices)
        with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
            self.net = _create(name, pretrained, options)
            if self.patch:
                self.pyramid = SimplePyramid(channels[-1], self._token_stride, strides)
                self.channels = self.pyramid.channels
            try:
                self._drop_unused_parts()
            except (AssertionError, RuntimeError) as error:
                raise UnusableBackbone(
                    f"{name} does not read crops of any size ({error})."
                ) from error
            # depthwise convolutions train ten times faster in this layout on CPUs
            self.net.to(memory_format=torch.channels_last)

    @property
    def _token_stride(self) -> int:
        """Pixels of the crop that a token of a plain transformer covers."""
        return 8 if self.patch <= 8 else 16

    def _drop_unused_parts(self) -> None:
        """Cut stages after the last map, and freeze other idle branches: DDP waits for them."""
        training = self.net.training
        parameters = list(self.net.parameters())
        self.net.eval()
        maps = self(torch.zeros(1, 3, 64, 64))
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
            images: (B, 3, H, W), normalised by `Pixels`.

        Returns:
            One (B, channels[i], H / strides[i], W / strides[i]) map a stride.
        """
        images = images.contiguous(memory_format=torch.channels_last)
        if not self.patch:
            return tuple(self.net(images))
        if self.patch != self._token_stride:
            cells = (side // self._token_stride for side in images.shape[2:])
            size = [count * self.patch for count in cells]
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        net: Any = self.net
        tokens = net.forward_intermediates(
            images, indices=1, norm=True, intermediates_only=True, output_fmt="NCHW"
        )  # [(B, dim, H / s, W / s)], s pixels a token
        return self.pyramid(tokens[-1])

    def groups(self, lr: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """Optimiser groups of what came with weights.

        Args:
            lr: of the last layer.
            weight_decay: of weights; biases and norms have none.
            layer_decay: factor of the rate from one layer of a plain transformer to the one
                before it (Bao et al., BEiT, 2021).
        """
        net: Any = self.net
        if not self.patch:
            groups = param_groups_weight_decay(net, weight_decay)
        else:
            groups = param_groups_layer_decay(
                net, weight_decay, net.no_weight_decay(), layer_decay=layer_decay
            )
        return [{**group, "lr": lr * group.get("lr_scale", 1.0)} for group in groups]


def _create(name: str, pretrained: bool | Path, options: dict[str, Any]) -> nn.Module:
    if isinstance(pretrained, Path):
        check_fit(name, pretrained)
        return _with_weights(name, pretrained, options)
    if not pretrained:
        return _made(name, options)
    path = fetch(name)
    try:
        return _with_weights(name, path, options)
    except (UnusableBackbone, RuntimeError) as error:
        raise PretrainedUnavailable(name, f"{path} is damaged") from error


def _with_weights(name: str, path: Path, options: dict[str, Any]) -> nn.Module:
    weights = {"state_dict": read(path)}  # timm itself would read a pickle, too
    return _made(name, {**options, "pretrained": True, "pretrained_cfg_overlay": weights})


def _made(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, **options)
    except TypeError as error:  # its class knows no dynamic_img_size
        raise UnusableBackbone(f"{name} does not read crops of any size.") from error
