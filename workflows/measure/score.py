"""`labelkit score`: a result file of any method, scored as its data set officially does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelkit.domain.skeleton import Skeleton, load_skeleton
from labelkit.errors import InputError, SkeletonError, UsageError
from labelkit.files.atomic import write_text
from labelkit.files.documents import load_json
from labelkit.formats.coco import tables
from labelkit.formats.coco_categories import keypoint_categories
from labelkit.formats.coco_people import read_people
from labelkit.formats.coco_results import check_joint_scores, one_result_each, read_results
from labelkit.formats.matlab.lsp import read_lsp, scored_part
from labelkit.formats.matlab.mat_file import load_mat
from labelkit.formats.matlab.mpii import read_mpii, read_release
from labelkit.formats.pose_list import (
    check_people,
    read_named_poses,
    read_pose_arrays,
    read_pose_list,
)
from labelkit.metrics.official.coco import coco_keypoint_scores
from labelkit.metrics.official.crowdpose import crowd_bin_scores, crowdpose_scores
from labelkit.metrics.official.lsp import lsp_scores, torso_lengths
from labelkit.metrics.official.mpii import head_sizes, mpii_scores
from labelkit.metrics.official.people import Bools, Floats, People, Results
from labelkit.metrics.official.rescoring import rescored, without_duplicates
from labelkit.metrics.table import markdown
from labelkit.progress import Progress
from labelkit.project.outputs import check_output
from labelkit.report import Report
from labelkit.workflows.intake.label_files import read_skeleton

Numbers = dict[str, float]

#: How a file of scores begins, see `ScoreReport.data`.
MARK = r'\A\{\s*"metric": "\w+",\s*"unit": "'

_COCO = "Give the data set's JSON file as --truth and COCO results, a JSON list, as --predictions."


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Rows with the same columns.

    Attributes:
        heading: of the first column, which names the rows.
        rows: names and numbers; integers are counts, NaN is undefined.
    """

    heading: str
    rows: tuple[tuple[str, Numbers], ...]

    def to_markdown(self, decimals: int) -> str:
        """The table in Markdown."""
        cells = [[self.heading, *self.rows[0][1]]]
        for name, numbers in self.rows:
            cells.append([name, *(_text(value, decimals) for value in numbers.values())])
        return markdown(cells)


@dataclass(frozen=True, slots=True)
class ScoreReport(Report):
    """The official numbers of one result file.

    Attributes:
        metric: coco, crowdpose, mpii, lsp or oks.
        scored: what was scored against what.
        unit: "0 to 1" or "percent".
        tables: the numbers.
        notes: rules that matter when numbers are compared.
    """

    metric: str
    scored: str
    unit: str
    tables: tuple[ScoreTable, ...]
    notes: tuple[str, ...]
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        decimals = 1 if self.unit == "percent" else 3
        tables = [table.to_markdown(decimals) for table in self.tables]
        return "\n".join([f"{self.scored}:\n", *tables, *self.notes]).rstrip("\n")

    def data(self) -> dict[str, Any]:
        """For machines; undefined numbers are None."""
        rows = [
            {"name": name, **{key: _defined(value) for key, value in numbers.items()}}
            for table in self.tables
            for name, numbers in table.rows
        ]
        return {
            "metric": self.metric,
            "unit": self.unit,
            "scored": self.scored,
            "rows": rows,
            "notes": list(self.notes),
        }


def score(
    predictions: Path,
    truth: Path,
    metric: str,
    progress: Progress,
    *,
    rescore: bool = False,
    crowd_bins: str | None = None,
    skeleton: str | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> ScoreReport:
    """Score a result file as the official code of its data set does; no project is needed.

    Args:
        predictions: COCO results for coco, oks and crowdpose; a MATLAB or JSON list of poses for
            mpii and lsp; poses by name for MPII's release; COCO results for lsp if the truth is
            COCO keypoints.
        truth: the data set's own file.
        metric: coco, crowdpose, mpii, lsp or oks.
        progress: shows that scoring is running; COCO's validation set takes seconds.
        rescore: first score people by box and joints, and drop duplicates.
        crowd_bins: edges of the Crowd Index, for example "0,0.1,0.8,1".
        skeleton: name or file, whose sigmas oks scores with; None takes those of the truth, or
            equal ones.
        output: also write the numbers there, as JSON.
        overwrite: also replace a file that holds no such numbers.

    Raises:
        UsageError: on an unknown metric, options that do not fit it, or an output that would
            replace another file.
        FormatError: on a file with wrong content.
        SkeletonError: if the skeleton has other keypoints than the truth.
        MissingDependencyError: if pycocotools or scipy is needed and not installed.
    """
    if metric not in METRICS:
        raise UsageError(f"There is no metric {metric!r}.", f"Metrics: {', '.join(METRICS)}.")
    if rescore and metric not in ("coco", "oks", "crowdpose"):
        raise UsageError(
            f"--rescore does not apply to {metric}, which ignores scores.",
            "Leave out --rescore.",
        )
    if crowd_bins is not None and metric != "crowdpose":
        raise UsageError(
            f"--crowd-bins applies to crowdpose, not to {metric}.", "Leave out --crowd-bins."
        )
    if skeleton is not None and metric != "oks":
        raise UsageError(
            f"--skeleton applies to oks; {metric} has a skeleton of its own.",
            "Leave out --skeleton, or type: --metric oks",
        )
    if output is not None:
        check_output(output, MARK, None, overwrite=overwrite)
    options = _Options(
        rescore,
        _edges(crowd_bins) if crowd_bins is not None else (),
        read_skeleton(skeleton, progress.line) if skeleton is not None else None,
    )
    with progress.bar(f"Scoring {predictions.name}"):
        report = METRICS[metric](predictions, truth, options)
    if output is not None:
        text = json.dumps(report.data(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(output, text)
    return report


class _Options(NamedTuple):
    """What a metric may be asked for."""

    rescore: bool
    edges: Sequence[float]
    skeleton: Skeleton | None


def _coco(predictions: Path, truth: Path, options: _Options) -> ScoreReport:
    skeleton = load_skeleton("coco17")
    people, results, notes = _people(predictions, truth, options, skeleton, "area")
    return _by_oks("coco", predictions, truth, people, results, skeleton, notes)


def _oks(predictions: Path, truth: Path, options: _Options) -> ScoreReport:
    skeleton, sigmas = _skeleton_of(truth, options.skeleton)
    people, results, notes = _people(predictions, truth, options, skeleton)
    notes = (*notes, sigmas)
    if without := int(np.isnan(people.area).sum()):
        box_area = people.box_xywh[:, 2] * people.box_xywh[:, 3]
        people = replace(people, area=np.where(np.isnan(people.area), box_area, people.area))
        notes = (*notes, f"The area of the box stands in for that of {without} segments.")
    return _by_oks("oks", predictions, truth, people, results, skeleton, notes)


def _by_oks(
    metric: str,
    predictions: Path,
    truth: Path,
    people: People,
    results: Results,
    skeleton: Skeleton,
    notes: tuple[str, ...],
) -> ScoreReport:
    numbers = coco_keypoint_scores(people, results, skeleton.sigmas)
    if (count := len(np.unique(people.category[people.counted]))) > 1:
        notes = (*notes, f"Mean of {count} categories, each scored by itself, as in COCO.")
    what = "COCO keypoints" if metric == "coco" else f"OKS of {len(skeleton)} keypoints"
    table = ScoreTable("predictions", ((predictions.name, numbers),))
    objects = "people" if metric == "coco" else "objects"
    scored = f"{what}, {_amount(people, results, truth, objects)}"
    return ScoreReport(metric, scored, "0 to 1", (table,), notes)


def _skeleton_of(truth: Path, given: Skeleton | None) -> tuple[Skeleton, str]:
    """The skeleton of a truth file with the sigmas to score with, and where they come from."""
    _, categories, rows = tables(_json(truth, _COCO), str(truth))
    found = keypoint_categories(categories, [row for row, _ in rows], str(truth), given).skeleton
    if given is not None:
        for keypoint in sorted(set(found.keypoints) ^ set(given.keypoints)):
            where = truth if keypoint in found.keypoints else f"the skeleton {given.name!r}"
            raise SkeletonError(
                f"{truth} and the skeleton {given.name!r} name different keypoints: {keypoint!r} "
                f"is only in {where}.",
                "Give the skeleton of the truth with --skeleton FILE.toml, or leave it out.",
            )
        sigmas = tuple(given.sigmas[given.index(keypoint)] for keypoint in found.keypoints)
        return replace(
            found, sigmas=sigmas
        ), f"The sigmas are those of the skeleton {given.name!r}."
    if len(set(found.sigmas)) > 1:
        return found, f"The sigmas are those of {truth}, whose skeleton is {found.name!r}."
    return found, (
        f"All keypoints have the sigma {found.sigmas[0]:g}; others come from --skeleton FILE.toml "
        "(sigmas = [...])."
    )


def _crowdpose(predictions: Path, truth: Path, options: _Options) -> ScoreReport:
    skeleton = load_skeleton("crowdpose14")
    people, results, notes = _people(predictions, truth, options, skeleton, "crowdIndex")
    levels = list(zip(("easy", "medium", "hard"), crowd_bin_scores(people, results), strict=True))
    numbers = crowdpose_scores(people, results)
    numbers |= {f"AP({level[0].upper()})": found.ap for level, found in levels}
    tables = [ScoreTable("predictions", ((predictions.name, numbers),))]
    rule = ", ".join(f"{level} {found.name} (images: {found.images})" for level, found in levels)
    notes = (
        *notes,
        f"By Crowd Index: {rule}.",
        "These are the limits of the official code; papers give 0.1 and 0.8.",
    )
    if options.edges:
        bins = crowd_bin_scores(people, results, options.edges)
        rows = [(found.name, {"images": found.images, "AP": found.ap}) for found in bins]
        tables.append(ScoreTable("Crowd Index", tuple(rows)))
        outside = len(people.image_ids) - sum(found.images for found in bins)
        if outside:
            notes = (*notes, f"In none of these bins: {outside} images.")
    scored = f"CrowdPose, {_amount(people, results, truth, 'people')}"
    return ScoreReport("crowdpose", scored, "0 to 1", tuple(tables), notes)


def _mpii(predictions: Path, truth: Path, options: _Options) -> ScoreReport:
    notes: tuple[str, ...] = ("Pelvis and thorax are left out; Mean is over all other keypoints.",)
    contents = _matlab(truth, "MPII's truth is its release, or gt_valid.mat.")
    if "RELEASE" in contents:
        advice = (
            "Name the people of the release in a JSON file: labelkit's documentation shows how."
        )
        named = read_named_poses(_json(predictions, advice), str(predictions))
        people, labelled = read_release(contents, list(named), str(truth))
        poses = np.stack(list(named.values()))
        notes = (*notes, f"In the images named, {labelled} people are labelled.")
    else:
        people = read_mpii(contents, str(truth))
        poses = _poses(predictions, 16)
        check_people(poses, len(people.xy), str(predictions))
    numbers = mpii_scores(poses, people.xy, people.labelled, head_sizes(people.head_box))
    return ScoreReport(
        "mpii",
        f"MPII, {len(people.xy)} people of {truth}, PCKh@0.5 in percent",
        "percent",
        (ScoreTable("predictions", ((predictions.name, numbers),)),),
        notes,
    )


def _lsp(predictions: Path, truth: Path, options: _Options) -> ScoreReport:
    lengths = {}
    if truth.suffix.lower() == ".mat":
        poses = _poses(predictions, 14)
        people = scored_part(read_lsp(load_mat(truth), str(truth)), len(poses))
        check_people(poses, len(people.xy), str(predictions))
        xy, counted = people.xy, people.counted
    else:
        named = read_people(load_json(truth), str(truth), load_skeleton("lsp14"))
        results = read_results(_json(predictions, _COCO), str(predictions), named)
        chosen, found = one_result_each(named, results, str(predictions))
        poses, xy = results.keypoints[found, :, :2], named.keypoints[chosen, :, :2]
        counted = named.keypoints[chosen, :, 2] > 0
        long_side = named.box_xywh[chosen, 2:].max(axis=1)
        lengths["box's long side"] = np.where(long_side > 0, long_side, np.nan)
    lengths = {"torso": torso_lengths(xy, counted), **lengths}
    rows = [
        (f"PCK@{threshold} of the {name}", _lsp_row(poses, xy, counted, length, threshold))
        for name, length in lengths.items()
        for threshold in (0.2, 0.1)
    ]
    return ScoreReport(
        "lsp",
        f"Leeds Sports Pose, {len(xy)} people of {truth}, in percent",
        "percent",
        (ScoreTable(predictions.name, tuple(rows)),),
        (
            "The torso reaches from the left shoulder to the right hip; people without one of "
            "them are left out of its rows.",
        ),
    )


METRICS: dict[str, Callable[[Path, Path, _Options], ScoreReport]] = {
    "coco": _coco,
    "crowdpose": _crowdpose,
    "mpii": _mpii,
    "lsp": _lsp,
    "oks": _oks,
}


def _lsp_row(
    poses: Floats, xy: Floats, counted: Bools, length: Floats, threshold: float
) -> Numbers:
    scores = lsp_scores(poses, xy, counted, length, threshold)
    return {"people": int((~np.isnan(length)).sum()), **scores}


def _people(
    predictions: Path, truth: Path, options: _Options, skeleton: Skeleton, *needs: str
) -> tuple[People, Results, tuple[str, ...]]:
    """The truth, the results to score, and notes on what was done to them."""
    people = read_people(_json(truth, _COCO), str(truth), skeleton, needs=needs)
    results = read_results(_json(predictions, _COCO), str(predictions), people)
    if not people.counted.any():
        return people, results, (f"No person has a keypoint in {truth}.",)
    if not options.rescore:
        return people, results, ()
    check_joint_scores(results, str(predictions))
    kept = without_duplicates(rescored(results), skeleton.sigmas)
    return (
        people,
        kept,
        (
            "Scores are box score x mean score of the joints above 0.2; OKS-NMS at 0.9 dropped "
            f"{len(results) - len(kept)} of {len(results)} results.",
        ),
    )


def _poses(predictions: Path, keypoints: int) -> Floats:
    if predictions.suffix.lower() == ".mat":
        return read_pose_arrays(load_mat(predictions), str(predictions), keypoints)
    return read_pose_list(load_json(predictions), str(predictions), keypoints)


def _json(path: Path, advice: str) -> Any:
    if path.suffix.lower() == ".mat":
        raise InputError(f"{path} is a MATLAB file, not JSON.", advice)
    return load_json(path)


def _matlab(truth: Path, advice: str) -> dict[str, Any]:
    if truth.suffix.lower() != ".mat":
        raise InputError(f"{truth} is not a MATLAB file.", advice)
    return load_mat(truth)


def _amount(people: People, results: Results, truth: Path, objects: str) -> str:
    return (
        f"{len(results)} results against {int(people.counted.sum())} labelled {objects} in "
        f"{len(people.image_ids)} images of {truth}"
    )


def _edges(text: str) -> tuple[float, ...]:
    try:
        edges = tuple(float(part) for part in text.split(","))
    except ValueError:
        edges = ()
    if len(edges) < 2 or any(not low < high for low, high in pairwise(edges)):
        raise UsageError(
            f"--crowd-bins {text!r} is not a list of ascending numbers.",
            "Give ascending edges, for example: --crowd-bins 0,0.1,0.8,1",
        )
    return edges


def _text(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.{decimals}f}"


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
