"""Detect people with torchvision's detector, for images without boxes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from labelkit.domain.instance import Box, Image, check_box
from labelkit.errors import InputError, MissingDependencyError
from labelkit.project.images import open_upright

if TYPE_CHECKING:
    from torch import nn

DETECTOR = "fasterrcnn_mobilenet_v3_large_fpn"

#: COCO's category number of a person, which is what the detector was trained on.
PERSON = 1

#: The detector finds at most this many objects an image.
MAX_BOXES = 100


def load_detector(on_notice: Callable[[str], None]) -> nn.Module:
    """The detector with its published weights, downloaded once and then kept.

    Args:
        on_notice: called before the first download, with the origin and licence of the weights.

    Raises:
        MissingDependencyError: if the weights cannot be downloaded or read.
    """
    import torch
    from torchvision.models.detection import (
        FasterRCNN_MobileNet_V3_Large_FPN_Weights,
        fasterrcnn_mobilenet_v3_large_fpn,
    )

    url = FasterRCNN_MobileNet_V3_Large_FPN_Weights.DEFAULT.url
    kept = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not kept.exists():
        on_notice(
            f"Downloading the person detector {DETECTOR} (74 MB) from {url}\n"
            "Code: torchvision, BSD 3-clause. Weights: trained on ImageNet (terms: non-commercial "
            "research) and COCO 2017 (annotations CC BY 4.0, images under their owners' Flickr "
            "licences); check that this suits your use."
        )
    try:
        # The file's hash is checked, and weights_only reads tensors but runs no pickled code.
        # torch.hub prints what on_notice was told, on stdout or stderr by version.
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            weights = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    except (pickle.UnpicklingError, EOFError) as error:
        raise MissingDependencyError(
            f"{kept} is not the person detector's weights.", "Delete it and try again."
        ) from error
    except (OSError, RuntimeError) as error:
        raise MissingDependencyError(
            f"The weights of the person detector cannot be downloaded from {url} "
            f"({str(error).strip() or type(error).__name__}).",
            "Take boxes from elsewhere: --boxes whole-image or --boxes FILE (COCO). "
            f"Or put the file at {kept}.",
        ) from error
    detector = fasterrcnn_mobilenet_v3_large_fpn(
        weights=None, weights_backbone=None, box_detections_per_img=MAX_BOXES
    )
    detector.load_state_dict(weights)
    return detector


def detect(
    images: Iterable[Image],
    images_root: Path,
    detector: nn.Module,
    *,
    score_threshold: float = 0.7,
) -> Iterator[tuple[Image, list[tuple[Box, float]]]]:
    """Boxes of the people in each image, the most confident first.

    Args:
        images: read one at a time, so that memory does not grow with their number.
        images_root: the folder that image paths are below.
        detector: from `load_detector`; runs on a GPU if there is one.
        score_threshold: boxes with a lower confidence (0 ... 1) are left out.

    Yields:
        Each image with its (box, score) list, which may be empty.
    """
    import torch
    from torchvision.transforms.v2.functional import pil_to_tensor

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector = detector.to(device).eval()
    for image in images:
        picture = pil_to_tensor(open_upright(images_root / image.path)).to(device) / 255
        with torch.inference_mode():
            found = detector([picture])[0]
        people = (found["labels"] == PERSON) & (found["scores"] >= score_threshold)
        corners, scores = found["boxes"][people].tolist(), found["scores"][people].tolist()
        yield image, list(_boxes(image, corners, scores))


def _boxes(
    image: Image, corners: list[list[float]], scores: list[float]
) -> Iterator[tuple[Box, float]]:
    """Corner boxes as left, top, width, height inside the image; empty ones are dropped."""
    for (left, top, right, bottom), score in zip(corners, scores, strict=True):
        try:
            box = check_box(Box(left, top, right - left, bottom - top), image)
        except InputError:
            continue
        yield box, score
