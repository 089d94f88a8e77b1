"""Run a trained network over any number of crops, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from labelkit.ahead import ahead
from labelkit.domain.geometry import apply_affine, invert_affine
from labelkit.domain.instance import Instance
from labelkit.domain.pose import VISIBLE, Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.models.parts.backbone import Backbone
from labelkit.models.parts.pixels import Pixels
from labelkit.models.reading import PoseReader, beside, rotate
from labelkit.project.features import projected
from labelkit.project.preannotation import PRESENT
from labelkit.project.response_maps import take_maps
from labelkit.workflows.network.data import (
    PlainCrops,
    loader,
    loader_workers,
    prior_in_cells,
)
from labelkit.workflows.network.decode import confidence, height_at, refine
from labelkit.workflows.network.precision import supports_bf16


@dataclass(frozen=True, slots=True, eq=False)
class PredictionWithMaps:
    """The prediction for one instance, and the maps it was read from.

    Attributes:
        prediction: every keypoint has a location, whether present or not.
        to_cells: (2, 3) image pixels to cells of `response` and `heatmaps`.
        response: (K, h, w) response maps, peaks at most 1.
        heatmaps: (K, h, w) in 0 ... 1, off which the keypoints were read; (K, 0, 0) if they were
            read off the response maps.
        cams: (K, h', w') class activation maps, peaks at most 1; (K, 0, 0) without any.
        feature: of the object, see `labelkit.project.features`; NaN of a network without
            a `Backbone`.
    """

    prediction: Prediction
    to_cells: NDArray[np.float64]
    response: NDArray[np.float32]
    heatmaps: NDArray[np.float32]
    cams: NDArray[np.float32]
    feature: NDArray[np.float16]

    def take(self, columns: NDArray[np.int64]) -> PredictionWithMaps:
        """The prediction of other keypoints: (K,) their indices in this one, -1 for new ones."""
        return PredictionWithMaps(
            self.prediction.take(columns),
            self.to_cells,
            take_maps(self.response, columns),
            take_maps(self.heatmaps, columns),
            take_maps(self.cams, columns),
            self.feature,
        )


def predict(
    network: nn.Module,
    instances: Sequence[Instance],
    images_root: Path,
    skeleton: Skeleton,
    size_hw: tuple[int, int],
    *,
    batch_size: int = 64,
    flip_test: bool = True,
    precision: str = "full",
    evidence: NDArray[np.float64] | None = None,
) -> Iterator[PredictionWithMaps]:
    """Predict instance by instance, in the order given.

    Args:
        network: returns a `PoseOutput`; its `pixels` say how crops are fed to it, its `reader`
            which of its maps are read, and how.
        instances: to predict.
        images_root: folder below which the images lie.
        skeleton: of the network.
        size_hw: crop size in pixels.
        batch_size: crops at a time.
        flip_test: average with the prediction for the mirror image.
        precision: "full" or "bf16"; a device without bf16 computes in full precision.
        evidence: (N, K, 3) of another model, see `labelkit.project.teacher`; None without.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    reader: PoseReader = network.reader  # type: ignore[assignment]
    expected = None
    if reader.read_from == "response" and reader.pose_prior:
        expected = prior_in_cells(instances, skeleton, (size_hw[0] // 4, size_hw[1] // 4))
    pixels: Pixels = network.pixels  # type: ignore[assignment]
    crops = PlainCrops(images_root, instances, size_hw, pixels.interpolation)
    flip = None
    if flip_test:
        flip = torch.tensor(skeleton.flip_indices, device=device)
        flip[list(skeleton.unpaired_sides)] = -1
    workers = loader_workers() if len(crops) > batch_size else 0  # a single batch needs none
    batches = ahead(loader(crops, batch_size, workers))
    done = 0
    # Threads cut the next crops and run the network while the caller writes the last results.
    half = precision == "bf16" and supports_bf16()
    for rows in ahead(_rows(network, device, half, batches, size_hw, flip, expected, evidence)):
        for cell_xy, score, present, response, heatmaps, cams, affine, feature in rows:
            yield PredictionWithMaps(
                make_prediction(
                    instances[done].id,
                    apply_affine(invert_affine(affine), cell_xy),
                    np.clip(score, 0.0, 1.0),
                    present,
                ),
                affine,
                response,
                heatmaps,
                cams,
                feature,
            )
            done += 1


@torch.inference_mode()
def _rows(
    network: nn.Module,
    device: torch.device,
    half: bool,
    batches: Iterable[Mapping[str, Tensor]],
    size_hw: tuple[int, int],
    flip: Tensor | None,
    expected: Tensor | None,
    evidence: NDArray[np.float64] | None,
) -> Iterator[list[tuple[NDArray, ...]]]:
    """A row for each crop: keypoints in cells, scores, presence, the three maps, to_cells, feature.

    `expected` holds the pose prior of all crops, see `prior_in_cells`, and `evidence` what another
    model says of them.
    """
    reader: PoseReader = network.reader  # type: ignore[assignment]
    pixels: Pixels = network.pixels  # type: ignore[assignment]
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=half)
    backbone = next((part for part in network.modules() if isinstance(part, Backbone)), None)
    pooled: list[Tensor] = []  # of the batch; the image itself comes first, then its other views

    def keep(_module: nn.Module, _images: object, maps: tuple[Tensor, ...]) -> None:
        pooled.append(maps[-1].mean(dim=(-2, -1)).float())

    done = 0
    with nullcontext() if backbone is None else backbone.register_forward_hook(keep):
        for batch in batches:
            image = pixels(batch["image"].to(device, non_blocking=True))
            pooled.clear()
            with autocast:
                response, heatmaps, cams, presence = maps_of(network, image, flip)
                if reader.read_from == "heatmaps":
                    for angle in reader.rotations:
                        rotated = maps_of(network, rotate(image, angle), flip)[1]
                        heatmaps = heatmaps + rotate(rotated, -angle)
                    maps = heatmaps = heatmaps / (1 + len(reader.rotations))
                else:
                    maps, heatmaps = response, heatmaps.new_zeros(*heatmaps.shape[:2], 0, 0)
                prior = None if expected is None else expected[done : done + len(image)].to(device)
                scale = maps.shape[-1] / size_hw[1]
                to_cells = batch["affine"].numpy() * scale
                told = maps
                if evidence is not None:
                    told = beside(
                        maps, *_in_cells(evidence[done : done + len(image)], to_cells, maps)
                    )
                beliefs = reader(told, prior)
            done += len(image)
            xy, _ = refine(beliefs)
            score = confidence(maps, xy, height_at(maps, xy))
            numbers = (v.double().cpu().numpy() for v in (xy, score, presence))
            pictures = (v.float().cpu().numpy() for v in (response, heatmaps, cams))
            seen = (
                F.normalize(pooled[0], dim=1) if pooled else image.new_full((len(image), 1), np.nan)
            )
            features = projected(seen.cpu().numpy())
            yield list(zip(*numbers, *pictures, to_cells, features, strict=True))


def _in_cells(
    evidence: NDArray[np.float64], to_cells: NDArray[np.float64], maps: Tensor
) -> tuple[Tensor, Tensor]:
    """Places and standard deviations of evidence, from image pixels to cells of the maps."""
    xy = np.stack([apply_affine(*both) for both in zip(to_cells, evidence[..., :2], strict=True)])
    scale = np.sqrt(np.abs(np.linalg.det(to_cells[:, :, :2])))[:, None]
    parts = xy, evidence[..., 2] * scale
    return tuple(torch.from_numpy(part).to(maps) for part in parts)  # type: ignore[return-value]


def maps_of(
    network: nn.Module, image: Tensor, flip: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Response maps, heatmaps and CAMs with peaks of at most 1, presence (B, K) in 0..1.

    Averaged with the mirror image unless `flip`, (K,) which keypoint each becomes in it, is None; a
    keypoint that has no name there (-1) is read from the image alone.
    """
    if flip is not None:
        has_name = flip >= 0
        *straight, presence = maps_of(network, image, None)
        *mirrored, presence_mirrored = maps_of(network, image.flip(-1), None)
        response, heatmaps, cams = (
            torch.where(has_name[:, None, None], (one + other.flip(-1)[:, flip]) / 2, one)
            for one, other in zip(straight, mirrored, strict=True)
        )
        both = (presence + presence_mirrored[:, flip]) / 2
        return response, heatmaps, cams, torch.where(has_name, both, presence)
    output = network(image)
    response, cams = output.response.float(), output.cams.float()
    response = response / response.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    if cams.numel():
        cams = cams / cams.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    return response, output.heatmaps.float().clamp(0, 1), cams, output.logits.float().sigmoid()


def make_prediction(
    instance_id: str,
    xy: NDArray[np.float64],
    score: NDArray[np.float64],
    presence: NDArray[np.float64],
) -> Prediction:
    """One prediction; its instance score is the mean score of the keypoints predicted present.

    Args:
        instance_id: of the instance.
        xy: (K, 2) in image pixels.
        score: (K,) 0 none ... 1 certain, see `confidence`.
        presence: (K,) probability, 0 absent ... 1 present.
    """
    present = presence > PRESENT
    return Prediction(
        instance_id,
        Pose(xy, np.full(len(xy), VISIBLE), score),
        presence,
        float(score[present].mean()) if present.any() else 0.0,
    )
