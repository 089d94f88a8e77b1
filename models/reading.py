"""Reading keypoints off maps: rotation test-time augmentation, pose prior, kinematic tree."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelkit.models.losses import render_heatmaps

#: Rotations (radians) and scales of labelled poses, roughly those of training crops.
_ROTATIONS = torch.linspace(-math.pi / 6, math.pi / 6, 7)
_SCALES = torch.tensor((0.87, 1.0, 1.15))
#: Density of a displacement that no labelled pose has, as a share of the most likely one's.
_UNSEEN = 0.01
#: With fewer displacements, a pair of keypoints is left to the image: ten mirrored poses.
_FEWEST = 20
#: Exponents of heatmap and density: neither is a probability, and the image counts for more.
_EVIDENCE, _PRIOR = 2.0, 0.5
#: What is left of a map far from where another model has the keypoint, which may be wrong.
_ELSEWHERE = 0.1


class KinematicTree(nn.Module):
    """Where keypoints lie relative to each other: a pictorial structure over heatmaps.

    A tree joins the keypoints whose displacements vary least. Sum-product over it is exact
    (Felzenszwalb and Huttenlocher, IJCV 2005): a knee is where its map is high and where the maps
    of hip and ankle leave room for one. Before `fit` every displacement is equally likely, and the
    maps' peaks stay where they are.

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
        cell = max(self.size_hw) / 24  # the smallest distance that matters
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
        from scipy.ndimage import gaussian_filter

        bandwidth = max(cell, float(apart.std(dim=0).mean()) * len(apart) ** (-1 / 6))  # Scott
        cos, sin = _ROTATIONS.cos(), _ROTATIONS.sin()
        turn = torch.stack((torch.stack((cos, sin), dim=1), torch.stack((-sin, cos), dim=1)), dim=1)
        varied = torch.einsum("ni,tij,s->tsnj", apart, turn, _SCALES).flatten(0, 2)
        rows, columns = self.size_hw
        count = torch.zeros(2 * rows - 1, 2 * columns - 1)
        index = varied.round().long() + torch.tensor((columns - 1, rows - 1))
        inside = ((index >= 0) & (index < torch.tensor((2 * columns - 1, 2 * rows - 1)))).all(1)
        column, row = index[inside].T
        count.index_put_((row, column), torch.ones(len(row)), accumulate=True)
        reach = math.ceil(3 * bandwidth)
        blurred = gaussian_filter(count.numpy(), bandwidth, mode="constant", radius=reach)
        count = torch.from_numpy(blurred)
        return _PRIOR * (count / count.max().clamp_min(1e-12) + _UNSEEN).log()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, K, h, w) beliefs, each with a peak of 1, from (B, K, h, w) heatmaps.

        Raises:
            ValueError: if the maps are not of `size_hw`.
        """
        if tuple(maps.shape[2:]) != self.size_hw:
            raise ValueError(f"The tree needs {self.size_hw} maps, not {tuple(maps.shape[2:])}.")
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
    """What happens to a network's maps before their peaks are read.

    Args:
        num_keypoints: K.
        size_hw: rows and columns of the maps.
        rotation_tta: degrees of test-time augmentation: crops rotated by this much either way are
            read too. 0 for none.
        kinematics: whether poses decide which peaks go together, see `KinematicTree`.
        pose_prior: standard deviation of keypoints around the pose prior, as a share of the maps'
            longer side; used where response maps are read. 0 for no prior.

    Attributes:
        read_from: which of the network's maps: "heatmaps", or its "response" maps (attention)
            until heatmaps have been trained on any location.
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
            expected: (B, K, 2) keypoints of the pose prior, in cells; None once locations have
                been learned.

        Returns:
            (B, K, h, w).
        """
        if expected is not None:
            size_hw = (maps.shape[2], maps.shape[3])
            everywhere = torch.ones_like(expected[..., 0], dtype=torch.bool)
            near = render_heatmaps(expected, everywhere, size_hw, self.pose_prior * max(size_hw))
            maps = _peak_one(maps * near)
        return maps if self.tree is None else self.tree(maps)


def beside(maps: Tensor, cells: Tensor, spread: Tensor) -> Tensor:
    """Maps times (0.1 + a Gaussian of height 1), where another model has a keypoint.

    Args:
        maps: (B, K, h, w).
        cells: (B, K, 2) the other model's keypoints, in cells; NaN where it has none.
        spread: (B, K) standard deviations, in cells.

    Returns:
        (B, K, h, w), unchanged where there is no other keypoint.
    """
    rows, columns = maps.shape[2:]
    x = torch.arange(columns, device=maps.device) + 0.5 - cells[..., 0, None]  # (B, K, w)
    y = torch.arange(rows, device=maps.device) + 0.5 - cells[..., 1, None]  # (B, K, h)
    squared = x.square()[..., None, :] + y.square()[..., None]  # (B, K, h, w)
    near = torch.exp(-0.5 * squared / spread[..., None, None].square())
    return maps * (_ELSEWHERE + near).nan_to_num(nan=1.0)


def rotate(maps: Tensor, degrees: Tensor | float, scale: Tensor | float = 1.0) -> Tensor:
    """Maps rotated and magnified about their centres, 0 outside.

    Args:
        maps: (B, C, h, w).
        degrees: counter-clockwise on the screen, (B,) or one for all.
        scale: magnification, (B,) or one for all.

    Returns:
        (B, C, h, w) float32.
    """
    batch, _, height, width = maps.shape
    angle = torch.deg2rad(torch.as_tensor(degrees, device=maps.device).expand(batch))
    # From coordinates of the result to those of `maps`, both -1 ... 1 over the map.
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
    """(K - 1, 2) parents and children, from keypoint 0 outwards, of the cheapest tree."""
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    # Costs above 0: scipy takes 0 and infinity for no edge.
    cost = cost.double().nan_to_num(posinf=1e6)
    tree = minimum_spanning_tree((cost - cost.min() + 1).numpy())
    order, parents = breadth_first_order(tree, 0, directed=False)
    children = torch.from_numpy(order[1:]).long()
    return torch.stack((torch.from_numpy(parents).long()[children], children), dim=1)


def _peak_one(maps: Tensor) -> Tensor:
    return (maps / maps.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)).clamp_min(1e-9)
