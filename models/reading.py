"""Reading keypoints off maps: rotation test-time augmentation, pose prior, kinematic tree."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelkit.models.losses import render_heatmaps

#: Labelled poses count turned and scaled as much as training crops are, roughly.
_TURNS = torch.linspace(-math.pi / 6, math.pi / 6, 7)
_SCALES = torch.tensor((0.87, 1.0, 1.15))
#: Density of a displacement that no labelled pose shows, as a share of the likeliest one's.
_UNSEEN = 0.01
#: Displacements below which a pair of keypoints is left to the picture: ten mirrored poses.
_FEWEST = 20
#: Exponents of heatmap and density: neither is a probability, and the picture counts for more.
_EVIDENCE, _PRIOR = 2.0, 0.5


class KinematicTree(nn.Module):
    """Where keypoints lie to each other: a pictorial structure over heatmaps.

    A tree joins keypoints that lie most predictably to each other. Sum-product over it is exact
    (Felzenszwalb and Huttenlocher, IJCV 2005): a knee is believed to be where its map is high
    and where the maps of hip and ankle leave room for one. Before `fit` every place is as likely
    as any other, and the maps' peaks stay where they are.

    Args:
        num_keypoints: K.
        size_hw: rows and columns of the maps.
    """

    edges: Tensor
    log_density: Tensor

    def __init__(self, num_keypoints: int, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.size_hw = size_hw
        rows, columns = size_hw
        chain = torch.arange(num_keypoints - 1)
        self.register_buffer("edges", torch.stack((chain, chain + 1), dim=1))  # (K - 1, 2)
        shape = (num_keypoints - 1, 2 * rows - 1, 2 * columns - 1)
        self.register_buffer("log_density", torch.zeros(shape))  # of child minus parent

    def fit(self, xy: Tensor, present: Tensor) -> None:
        """Learn tree and displacements from labelled poses.

        Args:
            xy: (N, K, 2) in cells of the maps; anything where a keypoint is absent.
            present: (N, K) bool.
        """
        xy = xy.to(torch.float32)
        keypoints = xy.shape[1]
        cell = max(self.size_hw) / 24  # the unit in which places are told apart
        cost = torch.full((keypoints, keypoints), math.inf)
        for first in range(keypoints):
            for second in range(first):
                apart = _between(xy, present, first, second)
                if len(apart) > 2:
                    spread = torch.cov(apart.T) + cell**2 * torch.eye(2)
                    cost[first, second] = cost[second, first] = spread.logdet()
        self.edges.copy_(_spanning_tree(cost))
        for density, (parent, child) in zip(self.log_density, self.edges.tolist(), strict=True):
            apart = _between(xy, present, parent, child)
            density.zero_()
            if len(apart) >= _FEWEST:
                density.copy_(self._density(apart, cell))

    def _density(self, apart: Tensor, cell: float) -> Tensor:
        """(2 rows - 1, 2 columns - 1) log density of (N, 2) displacements, about 0 at its peak."""
        bandwidth = max(cell, float(apart.std(dim=0).mean()) * len(apart) ** (-1 / 6))  # Scott
        cos, sin = _TURNS.cos(), _TURNS.sin()
        turn = torch.stack((torch.stack((cos, sin), dim=1), torch.stack((-sin, cos), dim=1)), dim=1)
        views = torch.einsum("ni,tij,s->tsnj", apart, turn, _SCALES).flatten(0, 2)
        rows, columns = self.size_hw
        count = torch.zeros(2 * rows - 1, 2 * columns - 1)
        index = views.round().long() + torch.tensor((columns - 1, rows - 1))
        inside = ((index >= 0) & (index < torch.tensor((2 * columns - 1, 2 * rows - 1)))).all(1)
        column, row = index[inside].T
        count.index_put_((row, column), torch.ones(len(row)), accumulate=True)
        count = _blur(_blur(count, bandwidth).T, bandwidth).T
        return _PRIOR * (count / count.max().clamp_min(1e-12) + _UNSEEN).log()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, K, h, w) beliefs, each with a peak of 1, from (B, K, h, w) heatmaps.

        Raises:
            ValueError: if the maps are not of `size_hw`.
        """
        if tuple(maps.shape[2:]) != self.size_hw:
            raise ValueError(f"The tree is of {self.size_hw} maps, not {tuple(maps.shape[2:])}.")
        rows, columns = self.size_hw
        # Displacement (0, 0) first: what leaves the map on one side wraps into the padding.
        tables = F.pad(self.log_density.exp(), (0, 1, 0, 1)).roll((1 - rows, 1 - columns), (1, 2))
        spectra = torch.fft.rfft2(tables)

        def message(belief: Tensor, spectrum: Tensor) -> Tensor:
            moved = torch.fft.rfft2(belief, s=(2 * rows, 2 * columns)) * spectrum
            return _peak_one(torch.fft.irfft2(moved, s=(2 * rows, 2 * columns))[:, :rows, :columns])

        beliefs = list(_peak_one(maps.float().clamp_min(1e-4) ** _EVIDENCE).unbind(dim=1))
        upward = []
        tree = list(zip(self.edges.tolist(), spectra, strict=True))
        for (parent, child), spectrum in reversed(tree):
            upward.append(message(beliefs[child], spectrum.conj()))
            beliefs[parent] = beliefs[parent] * upward[-1]
        for (parent, child), spectrum in tree:
            others = _peak_one(beliefs[parent] / upward.pop())
            beliefs[child] = beliefs[child] * message(others, spectrum)
        return _peak_one(torch.stack(beliefs, dim=1))


class PoseReader(nn.Module):
    """What is done with a network's maps before their peaks are read.

    Args:
        num_keypoints: K.
        size_hw: rows and columns of the maps.
        rotation_tta: degrees; crops rotated by as much either way are read too. 0 for none.
        kinematics: whether poses tell which peaks go together, see `KinematicTree`.
        pose_prior: how far keypoints lie from where the pose prior has them, one standard
            deviation, as a share of the maps' longer side; used where response maps are read.
            0 for no prior.

    Attributes:
        read_from: which of a network's maps: "heatmaps", or its "response" maps (attention) as
            long as the heatmaps have been taught no location.
    """

    def __init__(
        self,
        num_keypoints: int,
        size_hw: tuple[int, int],
        rotation_tta: float = 0.0,
        kinematics: bool = False,
        pose_prior: float = 0.0,
    ) -> None:
        super().__init__()
        self.rotations = (rotation_tta, -rotation_tta) if rotation_tta else ()  # degrees
        self.pose_prior = pose_prior
        self.read_from: Literal["heatmaps", "response"] = "heatmaps"
        self.tree = KinematicTree(num_keypoints, size_hw) if kinematics else None

    def forward(self, maps: Tensor, expected: Tensor | None = None) -> Tensor:
        """Maps whose peaks are the keypoints.

        Args:
            maps: (B, K, h, w) heatmaps or response maps, peaks at most 1.
            expected: (B, K, 2) where the pose prior has the keypoints, in cells; None where
                locations have been learned.

        Returns:
            (B, K, h, w).
        """
        if expected is not None:
            size_hw = (maps.shape[2], maps.shape[3])
            everywhere = torch.ones_like(expected[..., 0], dtype=torch.bool)
            near = render_heatmaps(expected, everywhere, size_hw, self.pose_prior * max(size_hw))
            maps = _peak_one(maps * near)
        return maps if self.tree is None else self.tree(maps)


def turn(maps: Tensor, degrees: Tensor | float, scale: Tensor | float = 1.0) -> Tensor:
    """Maps turned and magnified about their centres, 0 where nothing is known.

    Args:
        maps: (B, C, h, w).
        degrees: counter-clockwise on the screen, (B,) or one for all.
        scale: magnification, (B,) or one for all.

    Returns:
        (B, C, h, w) float32.
    """
    batch, _, height, width = maps.shape
    angle = torch.deg2rad(torch.as_tensor(degrees, device=maps.device).expand(batch))
    # From places of the new view to places of the old one, both -1 ... 1 over the map.
    cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
    rows = (
        torch.stack((cos, -sin * height / width, zero), dim=1),
        torch.stack((sin * width / height, cos, zero), dim=1),
    )
    theta = torch.stack(rows, dim=1).float()  # (B, 2, 3)
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    return F.grid_sample(maps.float(), grid, align_corners=False)


def _between(xy: Tensor, present: Tensor, first: int, second: int) -> Tensor:
    """(N', 2) from the first to the second keypoint, where both are present."""
    both = present[:, first] & present[:, second]
    return xy[both, second] - xy[both, first]


def _spanning_tree(cost: Tensor) -> Tensor:
    """(K - 1, 2) parents and children of the cheapest tree from keypoint 0 (Prim, 1957)."""
    inside, edges = [0], []
    while len(inside) < len(cost):
        outside = [keypoint for keypoint in range(len(cost)) if keypoint not in inside]
        best = cost[inside][:, outside].argmin().item()
        edge = (inside[int(best) // len(outside)], outside[int(best) % len(outside)])
        edges.append(edge)
        inside.append(edge[1])
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2)


def _blur(rows: Tensor, sigma: float) -> Tensor:
    """Each row of (R, C) smoothed by a Gaussian of `sigma` cells."""
    reach = math.ceil(3 * sigma)
    kernel = (-0.5 * (torch.arange(-reach, reach + 1) / sigma).square()).exp()
    return F.conv1d(rows[:, None], kernel[None, None] / kernel.sum(), padding=reach)[:, 0]


def _peak_one(maps: Tensor) -> Tensor:
    return (maps / maps.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)).clamp_min(1e-9)
