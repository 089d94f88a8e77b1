from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import make_image, make_instance, make_pose, stick_skeleton

from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import InputError
from labelkit.metrics.table import (
    METRICS,
    ResultRow,
    ResultTable,
    describe,
    evaluate_row,
    reference_lengths,
)

ROWS = (
    ResultRow("skeleton in box", None, {"median_px": 12.26, "pck@0.1": 0.125, "oks_ap": math.nan}),
    ResultRow("LOFR | semi-weak", "10%", {"median_px": 3.0, "pck@0.1": 0.5, "oks_ap": 0.4}),
)


def test_the_json_document_has_the_measures_of_every_row():
    assert json.loads(ResultTable(ROWS).to_json()) == {
        "rows": [
            {
                "name": "skeleton in box",
                "labeled": None,
                "median_px": 12.26,
                "pck@0.1": 0.125,
                "oks_ap": None,
            },
            {
                "name": "LOFR | semi-weak",
                "labeled": "10%",
                "median_px": 3.0,
                "pck@0.1": 0.5,
                "oks_ap": 0.4,
            },
        ]
    }
    assert ResultTable(()).as_dict() == {"rows": []}


def test_markdown_is_aligned_and_escapes_bars():
    assert ResultTable(ROWS).to_markdown() == (
        "| name              | labeled | median px | pck@0.1 | oks_ap |\n"
        "| ----------------- | ------: | --------: | ------: | -----: |\n"
        "| skeleton in box   |       - |      12.3 |   0.125 |      - |\n"
        "| LOFR \\| semi-weak |     10% |       3.0 |   0.500 |  0.400 |\n"
    )


def test_a_line_describes_the_measures_that_are_there():
    assert describe({"located": 3, "pck@0.2": 0.5, "oks_ap": None}) == "pck@0.2 0.500"
    assert describe({}) == ""
    measures = {"median_px": 3.04, "p90_px": 12.0, "median": 0.0304, "p90": 0.12, "pck@0.05": 0.7}
    assert describe(measures) == (
        "error 3.0 px (median), 12.0 px (90th percentile), 3.0% and 12.0% of the object, "
        "pck@0.05 0.700"
    )
    assert describe({"presence_map": 0.9, "presence_map_chance": 0.6}) == (
        "presence_map 0.900 (chance 0.600)"
    )


def two_instances():
    """Boxes of 40 x 30 (long side 40); nose, left paw, right paw, tail on a line."""
    instances = {item.id: item for item in (make_instance("a.png"), make_instance("b.png"))}
    xy = [(12, 25), (22, 25), (32, 25), (42, 25)]
    a, b = instances
    return instances, {a: make_pose(xy), b: make_pose(xy, [2, 2, 2, 0])}


def test_a_row_worked_by_hand():
    instances, truth = two_instances()
    a, b = instances
    # a: nose exact, paws exchanged (10 px off: lost), tail 6 px off (.2 x 40 = 8, .1 x 40 = 4).
    # b: nose and left paw exact, right paw 12 px off; the tail is absent and not scored.
    predictions = {
        a: Prediction(
            a, make_pose([(12, 25), (32, 25), (22, 25), (42, 31)]), [0.9, 0.8, 0.5, 0.9], 0.9
        ),
        b: Prediction(
            b, make_pose([(12, 25), (22, 25), (32, 37), (0, 0)]), [0.1, 0.9, 0.5, 0.2], 0.1
        ),
    }
    row = evaluate_row("ours", "10%", predictions, truth, instances, stick_skeleton())
    assert (row.name, row.labeled) == ("ours", "10%")
    # Errors: 0, 0, 0, 6, 10, 10, 12 pixels.
    assert (row["median_px"], row["median"]) == (6.0, pytest.approx(0.15))
    assert (row["p90_px"], row["p90"]) == (pytest.approx(10.8), pytest.approx(0.27))
    assert row["pck@0.02"] == row["pck@0.05"] == row["pck@0.1"] == pytest.approx(3 / 7)
    assert row["pck@0.2"] == pytest.approx(4 / 7)
    assert row["pck@0.2_lr_agnostic"] == pytest.approx(6 / 7)
    assert row["presence_map"] == 1.0  # only the tail has both answers
    # Area 1200. a: nose 1, paws exp(-100 / (2400 * .2^2)) = .353, tail exp(-36 / (2400 * .1^2))
    # = .223, mean .482: below .5, a miss. b: 1, 1, exp(-144 / 96) = .223, mean .741: a hit at
    # .50 to .70, ranked second, so precision 1/2 up to recall 1/2 at 5 of 10 thresholds.
    assert row["oks_ap"] == pytest.approx(51 / 101 / 2 * 5 / 10)


def test_exact_predictions_score_one_and_pose_priors_have_no_presence():
    instances, truth = two_instances()
    xy = np.stack([pose.xy for pose in truth.values()])
    priors = prior_predictions(list(truth), xy, [math.nan] * 4)
    row = evaluate_row("truth", None, priors, truth, instances, stick_skeleton())
    assert row.as_dict() == {
        "name": "truth",
        "labeled": None,
        **{"median_px": 0.0, "p90_px": 0.0, "median": 0.0, "p90": 0.0},
        **{"pck@0.02": 1.0, "pck@0.05": 1.0, "pck@0.1": 1.0, "pck@0.2": 1.0},
        "pck@0.2_lr_agnostic": 1.0,
        "oks_ap": pytest.approx(1.0),
        "presence_map": None,
    }


def test_instances_without_truth_do_not_count():
    instances, truth = two_instances()
    a, b = truth
    xy = np.stack([truth[a].xy, truth[b].xy + 500])
    predictions = prior_predictions([a, b], xy, [math.nan] * 4)
    row = evaluate_row("one", None, predictions, {a: truth[a]}, instances, stick_skeleton())
    assert row["pck@0.2"] == 1.0


def test_an_instance_without_prediction_is_an_error_and_not_a_smaller_set():
    instances, truth = two_instances()
    first = next(iter(truth))
    with pytest.raises(InputError, match=f"ours: 2 of 2 .*{first}"):
        evaluate_row("ours", None, {}, truth, instances, stick_skeleton())


def test_an_empty_evaluation_set_gives_undefined_numbers():
    row = evaluate_row("ours", "5%", {}, {}, {}, stick_skeleton())
    assert list(row.as_dict().values()) == ["ours", "5%", *[None] * len(METRICS)]


def test_without_pycocotools_only_its_column_is_undefined(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    instances, truth = two_instances()
    xy = np.stack([pose.xy for pose in truth.values()])
    priors = prior_predictions(list(truth), xy, [0.5] * 4)
    row = evaluate_row("truth", None, priors, truth, instances, stick_skeleton())
    assert math.isnan(row["oks_ap"])
    assert (row["pck@0.2"], row["presence_map"]) == (1.0, 0.5)


def test_a_skeleton_without_pairs_has_no_column_for_exchanged_sides():
    instances, truth = two_instances()
    skeleton = make_skeleton("fish", ["nose", "fin", "back", "tail"])
    xy = np.stack([pose.xy for pose in truth.values()])
    row = evaluate_row(
        "t", None, prior_predictions(list(truth), xy, [0.5] * 4), truth, instances, skeleton
    )
    assert list(row.measures) == [key for key in METRICS if "agnostic" not in key]


def test_whole_image_boxes_measure_by_the_extent_of_the_keypoints():
    image = make_image(width=1000, height=800)
    whole = [
        replace(make_instance(image, n, box=(0, 0, 1000, 800)), box_source="whole-image")
        for n in range(3)
    ]
    given = make_instance(image, 3, box=(10, 10, 60, 80))
    poses = [
        make_pose([(100, 100), (140, 100), (100, 130), (140, 130)]),  # 40 x 30
        make_pose([(100, 100), (120, 100), (100, 100), (120, 100)]),  # 20 x 0
        make_pose([(100, 100), (0, 0), (0, 0), (0, 0)], [2, 0, 0, 0]),  # a single point
        make_pose([(20, 20), (30, 20), (40, 20), (50, 20)]),
    ]
    length, area = reference_lengths(poses, [*whole, given])
    # The median extent is 30 (of 40 and 20), so no length is below 15.
    assert length.tolist() == [40.0, 20.0, 15.0, 80.0]
    assert area.tolist() == pytest.approx(
        [0.53 * 40 * 30, 0.53 * 20 * 5, 0.53 * 3.75 * 3.75, given.area]
    )


def test_whole_image_boxes_without_any_extent_measure_by_the_box():
    image = make_image(width=100, height=80)
    whole = replace(make_instance(image, 0, box=(0, 0, 100, 80)), box_source="whole-image")
    length, area = reference_lengths([make_pose([(1, 1), (0, 0)], [2, 0])], [whole])
    assert (length.tolist(), area.tolist()) == ([100.0], [whole.area])
