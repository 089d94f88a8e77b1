from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from builders import make_instance, make_pose, stick_skeleton

from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.errors import InputError
from labelkit.metrics.table import ResultRow, ResultTable, evaluate_row

ROWS = (
    ResultRow("skeleton in box", None, 0.25, 0.125, 0.5, 0.0, math.nan),
    ResultRow("LOFR | semi-weak", "10%", 0.8125, 0.5, 0.875, 0.4, 1.0),
)


def test_the_json_document_has_exactly_these_keys():
    assert json.loads(ResultTable(ROWS).to_json()) == {
        "rows": [
            {
                "name": "skeleton in box",
                "labeled": None,
                "pck@0.2": 0.25,
                "pck@0.1": 0.125,
                "pck@0.2_lr_agnostic": 0.5,
                "oks_ap": 0.0,
                "presence_map": None,
            },
            {
                "name": "LOFR | semi-weak",
                "labeled": "10%",
                "pck@0.2": 0.8125,
                "pck@0.1": 0.5,
                "pck@0.2_lr_agnostic": 0.875,
                "oks_ap": 0.4,
                "presence_map": 1.0,
            },
        ]
    }
    assert ResultTable(()).as_dict() == {"rows": []}


def test_markdown_is_aligned_and_escapes_bars():
    assert ResultTable(ROWS).to_markdown() == (
        "| name              | labeled | pck@0.2 | pck@0.1 | pck@0.2_lr_agnostic | oks_ap "
        "| presence_map |\n"
        "| ----------------- | ------: | ------: | ------: | ------------------: | -----: "
        "| -----------: |\n"
        "| skeleton in box   |       - |   0.250 |   0.125 |               0.500 |  0.000 "
        "|            - |\n"
        "| LOFR \\| semi-weak |     10% |   0.812 |   0.500 |               0.875 |  0.400 "
        "|        1.000 |\n"
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
    assert row.pck_02 == pytest.approx(4 / 7)
    assert row.pck_01 == pytest.approx(3 / 7)
    assert row.pck_02_lr_agnostic == pytest.approx(6 / 7)
    assert row.presence_map == 1.0  # only the tail has both answers
    # Area 1200. a: nose 1, paws exp(-100 / (2400 * .2^2)) = .353, tail exp(-36 / (2400 * .1^2))
    # = .223, mean .482: below .5, a miss. b: 1, 1, exp(-144 / 96) = .223, mean .741: a hit at
    # .50 to .70, ranked second, so precision 1/2 up to recall 1/2 at 5 of 10 thresholds.
    assert row.oks_ap == pytest.approx(51 / 101 / 2 * 5 / 10)


def test_exact_predictions_score_one_and_pose_priors_have_no_presence():
    instances, truth = two_instances()
    xy = np.stack([pose.xy for pose in truth.values()])
    priors = prior_predictions(list(truth), xy, [math.nan] * 4)
    row = evaluate_row("truth", None, priors, truth, instances, stick_skeleton())
    assert row.as_dict() == {
        "name": "truth",
        "labeled": None,
        "pck@0.2": 1.0,
        "pck@0.1": 1.0,
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
    assert row.pck_02 == 1.0


def test_an_instance_without_prediction_is_an_error_and_not_a_smaller_set():
    instances, truth = two_instances()
    first = next(iter(truth))
    with pytest.raises(InputError, match=f"ours: 2 of 2 .*{first}"):
        evaluate_row("ours", None, {}, truth, instances, stick_skeleton())


def test_an_empty_evaluation_set_gives_undefined_numbers():
    row = evaluate_row("ours", "5%", {}, {}, {}, stick_skeleton())
    assert list(row.as_dict().values()) == ["ours", "5%", None, None, None, None, None]


def test_without_pycocotools_only_its_column_is_undefined(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    instances, truth = two_instances()
    xy = np.stack([pose.xy for pose in truth.values()])
    priors = prior_predictions(list(truth), xy, [0.5] * 4)
    row = evaluate_row("truth", None, priors, truth, instances, stick_skeleton())
    assert math.isnan(row.oks_ap)
    assert (row.pck_02, row.presence_map) == (1.0, 0.5)
