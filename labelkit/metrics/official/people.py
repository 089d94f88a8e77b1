"""Labelled people, and the results to score against them, as arrays over all images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The N labelled people of I images.

    Attributes:
        image_ids: I ids as the file writes them, ascending; images without people too.
        crowd_index: (I,) how much the people of an image overlap, 0 not at all ... 1 and more;
            NaN if the file does not give it.
        category_ids: C ids as the file writes them, of the categories that are scored.
        category: (N,) place of each person's category in `category_ids`.
        image: (N,) place of each person's image in `image_ids`.
        keypoints: (N, K, 3) x and y in pixels; v 0 unlabelled, 1 occluded, 2 visible.
        labelled: (N,) number of keypoints as the file counts them; a person with 0 is ignored.
        box_xywh: (N, 4) in pixels.
        area: (N,) of the segment in square pixels; NaN if the file gives none.
        crowd: (N,) the annotation covers a group of people that are not separated; it is ignored.
    """

    image_ids: tuple[int | str, ...]
    crowd_index: Floats
    category_ids: tuple[int | str, ...]
    category: Ints
    image: Ints
    keypoints: Floats
    labelled: Ints
    box_xywh: Floats
    area: Floats
    crowd: Bools

    @property
    def counted(self) -> Bools:
        """(N,) bool, who is scored; the others are neither missed nor found."""
        return (self.labelled > 0) & ~self.crowd


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """M predicted people of the same images, in the order of the file, which settles ties.

    Attributes:
        image: (M,) place of each result's image in `People.image_ids`.
        category: (M,) place of each result's category in `People.category_ids`.
        keypoints: (M, K, 3) x and y in pixels, then the score of the joint.
        score: (M,) of the person; higher is more certain.
        area: (M,) in square pixels, of the result's box or else of its keypoints' extent: the
            size range of a result that matches no person.
        crop_area: (M,) in square pixels, of the network's crop; OKS-NMS divides by it.
    """

    image: Ints
    category: Ints
    keypoints: Floats
    score: Floats
    area: Floats
    crop_area: Floats

    def __len__(self) -> int:
        return len(self.score)

    def take(self, order: Ints) -> Results:
        """The results at these places, in this order."""
        return Results(
            self.image[order],
            self.category[order],
            self.keypoints[order],
            self.score[order],
            self.area[order],
            self.crop_area[order],
        )
