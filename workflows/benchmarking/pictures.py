"""Pictures of a benchmark: curves, response maps, and the similarity of part features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelkit.domain.geometry import scale_affine
from labelkit.domain.pose import Pose
from labelkit.domain.selection import format_percent
from labelkit.domain.skeleton import Skeleton
from labelkit.files.atomic import atomic_path
from labelkit.project.images import image_file, open_upright
from labelkit.project.project import Project
from labelkit.workflows.intake.evaluation_set import EvaluationSet
from labelkit.workflows.network.crops import cut
from labelkit.workflows.reviewing.contact_sheet import contact_sheet, sheet_item

if TYPE_CHECKING:
    from labelkit.workflows.network.inference import PredictionWithMaps


def draw(
    project: Project,
    network: Any,
    found: Sequence[PredictionWithMaps],
    test: EvaluationSet,
    folder: Path,
) -> None:
    """Write maps.png (Figures 6 and 7 of the paper) and parts.png (Figure 5).

    Args:
        project: with the images of the test set.
        network: whose part features parts.png compares; left out if it has none.
        found: predictions to draw.
        test: the test set.
        folder: where the pictures go.
    """
    import torch

    from labelkit.models.parts.response import OUT_STRIDE

    items, crops = [], []
    for item in found:
        id_ = item.prediction.instance_id
        picture = open_upright(image_file(project.images_root, test.instances[id_].image.path))
        pose, truth = item.prediction.pose, test.truth[id_]
        shown = Pose(pose.xy, truth.visibility, pose.score)
        maps = (item.response, item.heatmaps)
        items.append(sheet_item(picture, item.to_cells, *maps, shown, truth))
        rows, columns = item.response.shape[1:]
        affine = scale_affine(item.to_cells, OUT_STRIDE)
        crops.append(cut(picture, affine, (rows * OUT_STRIDE, columns * OUT_STRIDE)))
    if not items:
        return
    contact_sheet(items, project.skeleton, folder / "maps.png", title="Response maps")
    device = next(network.parameters()).device
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(device)
    with torch.inference_mode():
        features = network(network.pixels(batch)).part_features.float()
    if features.shape[2]:
        unit = torch.nn.functional.normalize(features, dim=2)
        similarity = (unit @ unit.transpose(1, 2)).mean(dim=0).cpu().numpy()
        _matrix(similarity, network.skeleton, folder / "parts.png")


def _matrix(similarity: np.ndarray, skeleton: Skeleton, path: Path) -> None:
    axes, save = _figure(6.0, 5.4)
    image = axes.imshow(similarity, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(skeleton)), skeleton.keypoints, rotation=90)
    axes.set_yticks(range(len(skeleton)), skeleton.keypoints)
    axes.set_title("Cosine similarity of part features")
    axes.figure.colorbar(image, ax=axes)
    save(path)


def plot(
    title: str,
    rows: Mapping[str, Sequence[tuple[float | None, float, float]]],
    path: Path,
) -> None:
    """Draw a table: curves over the labelled percentage, or bars where no row has several.

    Args:
        title: of the picture.
        rows: name -> (percent, mean, deviation) of pck@0.2; percent None where no labels are used.
        path: of the PNG.
    """
    axes, save = _figure(9.5, 4.6)
    if any(len(points) > 1 for points in rows.values()):
        steps = sorted({p for points in rows.values() for p, *_ in points if p is not None})
        for name, points in rows.items():
            x, y, spread = zip(*points, strict=True)
            if None in x:
                axes.axhline(y[0], linestyle="--", color="#888888", label=name)
            else:
                places = [steps.index(percent) for percent in x]
                axes.errorbar(places, y, spread, marker="o", label=name, capsize=3)
        axes.set_xticks(range(len(steps)), [format_percent(percent) for percent in steps])
        axes.set_xlabel("instances with locations")
        axes.set_ylabel("PCK@0.2")
        # Beside the curves: a table has too many rows for a legend inside.
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        percents, means, spreads = zip(*(points[0] for points in rows.values()), strict=True)
        pairs = zip(rows, percents, strict=True)
        names = [f"{row}, {format_percent(p)}" if p else row for row, p in pairs]
        bars = axes.barh(names, means, xerr=spreads, color="#4c78a8")
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.margins(x=0.12)
        axes.invert_yaxis()
        axes.set_xlabel("PCK@0.2")
    axes.set_title(title)
    save(path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """Axes, and a function that writes them; no window and no global state of matplotlib."""
    from matplotlib.figure import Figure  # comes with pycocotools

    figure = Figure(figsize=(width, height), layout="constrained")

    def save(path: Path) -> None:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")

    return figure.add_subplot(), save
