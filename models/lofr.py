"""LOFR: where keypoints are, learned from whether they are visible.

After "Location-Free Human Pose Estimation" (Xu et al., CVPR 2022, arXiv 2205.12619). Where the
paper leaves a step open, the default is our reading of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.cam import CamBranch
from labelkit.models.parts.decoder import PartClassifier, PartDecoder
from labelkit.models.parts.encoder import ContextEncoder
from labelkit.models.parts.heads import (
    AttentionHeatmap,
    DeconvHead,
    DotHeatmap,
    HeatmapPresence,
    PyramidHead,
)
from labelkit.models.parts.output import PoseOutput
from labelkit.models.parts.prototypes import PosePrototypes, adjacency
from labelkit.models.parts.response import fuse_scales, scale_mass
from labelkit.models.parts.spe import SpatialEncoding, key_maps

MEMORY_STRIDES = (4, 8, 16)

#: Choices that the paper leaves open or that depart from it, the default first.
ABLATIONS: dict[str, tuple[str | int | bool, ...]] = {
    "cam_stride": (16, 32, 8),
    "cam_pool": ("gap", "topk", "lse", "lmp"),
    "spe": ("embed", "gate", "gather", "conv", "sine", "learned", "none"),
    "enc_tokens": ("per_scale", "joint", "cap"),
    "proto_init": ("cam_learned", "cam", "learned"),
    "memory": ("all", "4", "8", "16"),
    "read_scale": ("fuse", "4", "8", "16"),
    "response": ("attention", "cam", "both"),
    "sup_map": ("attn_scaled", "dot", "deconv", "pyramid"),
    "top_down": (False, True),
    "cam_input": ("backbone", "merged"),
    "heat_presence": (False, True),
    "guide": ("none", "cam", "evidence", "both"),
    "map_norm": (False, True),
}


class LOFR(nn.Module):
    """CNN branch, context encoder, pose prototypes and part decoder in one network.

    Args:
        backbone: with maps at `lofr_strides(cam_stride, memory)`.
        num_keypoints: K.
        links: pairs of keypoints joined by a limb.
        dim: channels of tokens and queries, d.
        heads: attention heads.
        encoder_layers, decoder_layers, graph_layers: depths; 0 graph layers leave RePPG out.
        ffn: hidden channels of the feed-forward blocks.
        dropout: in the transformer.
        cam_stride: of the map that the CNN branch classifies.
        cam_pool: see `pool_classes`; of the CNN branch and of the encoder's class output.
        spe: see `SpatialEncoding`.
        enc_tokens: see `ContextEncoder`.
        proto_init: see `PosePrototypes`.
        memory: scales that encoder and decoder read: "all" three, or the one of this stride, which
            is the paper's network without its multi-scale strategy (MS).
        read_scale: see `fuse_scales`.
        response: what the response maps are: the decoder's "attention"; the "cam" of the CNN
            branch, which is not in the paper; or "both", their product.
        sup_map: heatmaps for the supervised term: "attn_scaled" the response maps, scaled;
            "dot" the decoded queries times the fine tokens; "deconv" the simple baseline's head
            on the coarsest of the three backbone maps; "pyramid" the encoded tokens and the
            backbone's maps of all scales, merged from coarse to fine.
        top_down: add each coarser map to the next finer one before anything else reads it, which
            gives fine cells context. Not in the paper.
        cam_input: "backbone" lets the CNN branch read the backbone's map, "merged" the map that
            the tokens of that stride come from. At stride 32 it is always the backbone's.
        heat_presence: a further classifier reads presence off the heatmaps, so that presence
            trains them too. Not in the paper.
        guide: scores added to those of the last attention before its softmax: "cam" the CNN
            branch's class scores, "evidence" each token's contribution to the final classifier,
            or "both". Not in the paper. Attention then starts from what is already known, and a
            keypoint is present where something speaks for it, not where nothing speaks against.
        map_norm: give every channel of the backbone's maps a mean of 0 and a deviation of 1 over
            the batch. A frozen backbone's need not be near that (EfficientNet-Lite0 has deviations
            of 7), and what reads them then learns slowly. Not in the paper.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_keypoints: int,
        links: Sequence[tuple[int, int]],
        *,
        dim: int = 256,
        heads: int = 8,
        encoder_layers: int = 4,
        decoder_layers: int = 6,
        graph_layers: int = 2,
        ffn: int = 1024,
        dropout: float = 0.1,
        cam_stride: int = 16,
        cam_pool: str = "gap",
        spe: str = "embed",
        enc_tokens: str = "per_scale",
        proto_init: str = "cam_learned",
        memory: str = "all",
        read_scale: str = "fuse",
        response: str = "attention",
        sup_map: str = "attn_scaled",
        top_down: bool = False,
        cam_input: str = "backbone",
        heat_presence: bool = False,
        guide: str = "none",
        map_norm: bool = False,
    ) -> None:
        super().__init__()
        chosen = locals()
        for name, allowed in ABLATIONS.items():
            if chosen[name] not in allowed:
                raise ValueError(f"{name} {chosen[name]!r} is not one of {allowed}.")
        strides = lofr_strides(cam_stride, memory)
        if backbone.strides != strides:
            raise ValueError(
                f"cam_stride {cam_stride} and memory {memory!r} need backbone maps at strides "
                f"{strides}, not {backbone.strides}."
            )
        if memory != "all" and (
            sup_map != "attn_scaled" or enc_tokens == "cap" or read_scale not in ("fuse", memory)
        ):
            raise ValueError(
                f"Memory {memory!r} is one scale, but sup_map {sup_map!r}, enc_tokens "
                f"{enc_tokens!r} or read_scale {read_scale!r} needs another."
            )
        self.backbone = backbone
        self.memory_strides = MEMORY_STRIDES if memory == "all" else (int(memory),)
        self.cam_stride = cam_stride
        self.read_scale = read_scale
        self.response = response
        self.top_down = top_down
        self.cam_reads_merged = cam_input == "merged" and cam_stride in self.memory_strides
        channels = dict(zip(strides, backbone.channels, strict=True))
        self.norms = (
            nn.ModuleList(nn.BatchNorm2d(each, affine=False) for each in backbone.channels)
            if map_norm
            else None
        )
        self.project = nn.ModuleList(
            nn.Conv2d(channels[stride], dim, 1) for stride in self.memory_strides
        )
        self.cam = CamBranch(
            dim if self.cam_reads_merged else channels[cam_stride],
            num_keypoints,
            dim if proto_init != "learned" else 0,
            cam_pool,
        )
        self.spe = SpatialEncoding(dim, num_keypoints, spe)
        self.encoder = ContextEncoder(
            dim, heads, encoder_layers, ffn, dropout, num_keypoints, enc_tokens, cam_pool
        )
        by_cam, by_evidence = guide in ("cam", "both"), guide in ("evidence", "both")
        self.guide_cam = nn.Parameter(torch.ones(len(self.memory_strides))) if by_cam else None
        self.guide_evidence = nn.Parameter(torch.ones(())) if by_evidence else None
        mask = adjacency(num_keypoints, links)
        self.prototypes = PosePrototypes(dim, mask, graph_layers, proto_init)
        self.decoder = PartDecoder(
            dim, heads, decoder_layers, ffn, dropout, with_queries=sup_map == "dot"
        )
        self.classify = PartClassifier(num_keypoints, dim)
        self.heatmap: AttentionHeatmap | DotHeatmap | DeconvHead | PyramidHead
        if sup_map == "attn_scaled":
            self.heatmap = AttentionHeatmap(num_keypoints)
        elif sup_map == "dot":
            self.heatmap = DotHeatmap(num_keypoints, dim)
        elif sup_map == "pyramid":
            self.heatmap = PyramidHead(dim, backbone.channels[: len(MEMORY_STRIDES)], num_keypoints)
        else:
            self.heatmap = DeconvHead(channels[16], num_keypoints, doublings=2, channels=dim)
        self.heat_presence = HeatmapPresence(num_keypoints) if heat_presence else None

    def transformer_parameters(self) -> list[nn.Parameter]:
        """Parameters of the transformer, which has its own learning rate."""
        parts = (self.spe, self.encoder, self.prototypes, self.decoder, self.classify)
        return [parameter for part in parts for parameter in part.parameters()]

    def forward(self, images: Tensor) -> PoseOutput:
        """Classify and locate the keypoints of each crop.

        Args:
            images: (B, 3, H, W), normalised by `Pixels`.

        Returns:
            `PoseOutput`; aux_logits are those of the CNN branch, of the encoder and, with
            `heat_presence`, of the heatmaps.

        Raises:
            ValueError: if H or W is not a multiple of the coarsest stride, 16 unless the CNN branch
                reads stride 32: the scales would not align.
        """
        coarsest = self.backbone.strides[-1]
        if images.shape[2] % coarsest or images.shape[3] % coarsest:
            raise ValueError(
                f"LOFR needs crop sides that are multiples of {coarsest}, "
                f"not {tuple(images.shape[2:])}."
            )
        found = self.backbone(images)
        if self.norms is not None:
            found = tuple(norm(level) for norm, level in zip(self.norms, found, strict=True))
        maps = dict(zip(self.backbone.strides, found, strict=True))
        levels = self._levels(maps)  # (B, d, H/s, W/s) for each stride s of the memory
        sizes = [(level.shape[2], level.shape[3]) for level in levels]

        merged = dict(zip(self.memory_strides, levels, strict=True))
        cam_input = (merged if self.cam_reads_merged else maps)[self.cam_stride]
        cnn_logits, cams, vectors, scores = self.cam(cam_input)

        scales = []
        for level, size, stride in zip(levels, sizes, self.memory_strides, strict=True):
            keys = None
            if self.spe.needs_keys:
                keys = key_maps(cams, cnn_logits.sigmoid(), size, stride)
            tokens = level.flatten(2).transpose(1, 2)  # (B, L_i, d)
            scales.append(self.spe(tokens, keys, size))
        scales, encoder_logits = self.encoder(scales, sizes)

        memory = torch.cat(scales, dim=1)  # F_m: (B, L, d)
        queries = self.prototypes(vectors, len(images))  # (B, K, d)
        guide = self._guide(scores, memory, sizes)  # (B, K, L)
        features, attention, queries = self.decoder(queries, memory, guide)
        response = self._response(attention, cams, sizes)
        heatmaps = self._heatmaps(response, queries, scales, sizes, maps).float()
        aux_logits: tuple[Tensor, ...] = (cnn_logits, encoder_logits)
        if self.heat_presence is not None:
            aux_logits = (*aux_logits, self.heat_presence(heatmaps))
        return PoseOutput(
            logits=self.classify(features),
            aux_logits=aux_logits,
            cams=cams,
            response=response,
            heatmaps=heatmaps,
            part_features=features,
            scale_mass=scale_mass(attention, sizes),
        )

    def _response(
        self, attention: Tensor, cams: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        attended = fuse_scales(attention, sizes, self.memory_strides, self.read_scale)
        if self.response == "attention":
            return attended
        active = F.interpolate(cams.float(), attended.shape[2:], mode="bilinear")  # (B, K, h, w)
        if self.response == "both":
            active = active * attended
        # A class that is active nowhere is left to the attention.
        maps = active + 1e-6 * attended
        return maps / maps.sum(dim=(2, 3), keepdim=True)

    def _guide(
        self, scores: Tensor, memory: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> Tensor | None:
        guide = None
        if self.guide_cam is not None:
            parts = [
                factor * F.interpolate(scores.float(), size, mode="bilinear").flatten(2)
                for factor, size in zip(self.guide_cam, sizes, strict=True)
            ]
            guide = torch.cat(parts, dim=2)
        if self.guide_evidence is not None:
            evidence = self.guide_evidence * self.classify.weight @ memory.transpose(1, 2)
            guide = evidence if guide is None else guide + evidence
        return guide

    def _levels(self, maps: Mapping[int, Tensor]) -> list[Tensor]:
        pairs = zip(self.project, self.memory_strides, strict=True)
        levels = [project(maps[stride]) for project, stride in pairs]
        if self.top_down:
            for index in reversed(range(len(levels) - 1)):
                coarse = F.interpolate(levels[index + 1], scale_factor=2.0, mode="nearest")
                levels[index] = levels[index] + coarse
        return levels

    def _heatmaps(
        self,
        response: Tensor,
        queries: Tensor,
        scales: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        maps: Mapping[int, Tensor],
    ) -> Tensor:
        if isinstance(self.heatmap, AttentionHeatmap):
            return self.heatmap(response)
        if isinstance(self.heatmap, DotHeatmap):
            return self.heatmap(queries, scales[0], sizes[0])
        if isinstance(self.heatmap, PyramidHead):
            tokens = zip(scales, sizes, strict=True)
            levels = [t.transpose(1, 2).unflatten(2, size) for t, size in tokens]
            return self.heatmap(levels, [maps[stride] for stride in MEMORY_STRIDES])
        return self.heatmap(maps[16])


def lofr_strides(cam_stride: int, memory: str = "all") -> tuple[int, ...]:
    """Strides of the backbone maps that LOFR reads, finest first; see its `Args`."""
    scales = MEMORY_STRIDES if memory == "all" else (int(memory),)
    return tuple(sorted({*scales, cam_stride}))
