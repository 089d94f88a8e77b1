"""`labelkit report`: both arms, keypoints, rounds and the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import stick_skeleton, write_picture
from command_line import labelkit
from labelling import PLACES, SIZE_WH, Bench, bench_of, chromium_page, make_bench
from mongo import chromium

from labelkit.domain.selection import DevDraw
from labelkit.errors import UsageError
from labelkit.project.predictions import iter_predictions, write_predictions
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import KEYPOINTS, Entry
from labelkit.workflows.measure.report import GO_ON, STOP, UNKNOWN, LedgerReport, page, report
from labelkit.workflows.rounds.label_snapshot import read_snapshot

ORIGINS = {"nose": "untouched", "left_paw": "changed", "right_paw": "followed", "tail": "new"}


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Iterator[Bench]:
    """30 images of 10 objects; a third had no pre-annotation and took 40 or 42 s, others 20 or 22.

    The first round predicts 40 px beside all labels, the second, of 10 % more, on them. Two images
    are the dev set.
    """
    bench = make_objects(tmp_path_factory.mktemp("report"), images=30)
    with bench.store:
        images = [image.id for image in bench.store.images()]
        bench.store.keep_dev_draw(DevDraw(0.0, frozenset(images[:2])))
        away = at(bench, 40)
        bench.store.record([answer(bench, n, n % 3 == 0, content=away) for n in range(300)])
        plan = RoundPlan(1, "semi-weak", tuple(bench.ids[-30:]), 0.1, bench.store.head(), {}, 0)
        path, skeleton = begin_round(bench.project, plan), bench.project.skeleton
        first = bench.project.rounds_root / "000" / "predictions.parquet"
        moved = [
            replace(row, pose=replace(row.pose, xy=row.pose.xy + np.array([40, 0])))
            for row in iter_predictions(first, skeleton)
        ]
        write_predictions(path / "predictions.parquet", moved, skeleton)
        finish_round(path, {})
        yield bench


def make_objects(folder: Path, images: int) -> Bench:
    for number in range(images):
        write_picture(folder / "frames" / f"{number}.png", SIZE_WH, seed=number)
    return bench_of(folder, stick_skeleton(), objects=10)


def at(bench: Bench, away: float) -> dict[str, list[float]]:
    """Keypoints so many pixels to the right of where the first round predicts them."""
    names = bench.project.skeleton.keypoints
    return {name: [x + away, y, 2] for name, (x, y) in zip(names, PLACES, strict=True)}


def answer(bench: Bench, number: int, blank: bool, **changes) -> Entry:
    names = bench.project.skeleton.keypoints
    seconds = (40.0 if blank else 20.0) + 2 * (number // 3 % 2)
    shown = {
        "arm": "control" if blank else "prediction",
        "model_version": "" if blank else "round-000",
        "origins": dict.fromkeys(names, "new") if blank else ORIGINS,
        "effort": {"clicks": 4 * blank, "drags": 1, "keys": 1, "undos": 0, "attention_s": seconds},
    }
    given = {
        "kind": KEYPOINTS,
        "content": at(bench, 0),
        "source": "label",
        "version": "1",
        "annotator": "anna",
        "lead_time_s": seconds,
        "shown": shown,
    } | changes
    return Entry(bench.ids[number], reference=bench.ids[number], **given)


def run(bench: Bench, **options) -> LedgerReport:
    return report(bench.project, bench.store, **options)


def test_both_arms_are_compared_without_the_dev_set(played):
    seconds, actions = run(played).savings
    assert seconds["objects"] == actions["objects"] == (187, 93)
    assert seconds["means"] == pytest.approx((21, 41), abs=0.1)
    assert actions["means"] == (2.0, 6.0)
    assert actions["once"] == actions["always"] == (4.0, 4.0, 4.0)
    assert seconds["always"].low < seconds["once"].low < 20 < seconds["once"].high


def test_shares_of_what_became_of_keypoints_are_by_round(played):
    rows = {row["keypoint"]: row for row in run(played).keypoints}
    assert list(rows) == ["", *played.project.skeleton.keypoints]
    assert (rows[""]["answers"], rows[""]["moved"]) == (800, 0.25)
    assert (rows["nose"]["round"], rows["nose"]["answers"]) == ("round-000", 200)
    fates = ("untouched", "moved", "followed", "added", "removed")
    assert [rows["left_paw"][fate] for fate in fates] == [0, 1, 0, 0, 0]
    assert rows["tail"]["added"] == rows["right_paw"]["followed"] == 1


def test_with_too_few_objects_without_pre_annotation_nothing_is_concluded(tmp_path: Path):
    bench = make_objects(tmp_path, images=1)
    with bench.store:
        bench.store.keep_dev_draw(DevDraw(0.0))
        first = run(bench).savings[0]
        assert (first["objects"], first["means"], first["once"]) == ((0, 0), (None, None), None)
        assert "30 more" in run(bench).findings[0]
        assert "300" not in run(bench).findings[0]  # the project has 10 objects
        bench.store.record([answer(bench, n, n < 2) for n in range(10)])
        found = run(bench)
    assert found.savings[0]["objects"] == (8, 2)
    assert "28 more" in found.findings[0]


def test_an_annotator_with_one_object_without_pre_annotation_keeps_a_row(tmp_path: Path):
    bench = make_objects(tmp_path, images=1)
    with bench.store:
        bench.store.keep_dev_draw(DevDraw(0.0))
        bench.store.record([answer(bench, n, n < 2) for n in range(5)])
        more = [answer(bench, n, n == 5, annotator="berta") for n in range(5, 8)]
        bench.store.record(more)
        found = run(bench)
    row = next(row for row in found.savings if row["annotator"] == "berta")
    assert (row["objects"], row["means"], row["once"]) == ((2, 1), (20.0, 42.0), None)
    (cells,) = (line for line in found.text().splitlines() if "seconds berta" in line)
    assert [cell.strip() for cell in cells.split("|")[2:-1]] == ["2 + 1", "20.0", "42.0", "-", "-"]


def test_time_that_was_not_measured_is_not_nought_and_one_object_has_no_interval(tmp_path: Path):
    bench = make_objects(tmp_path, images=1)
    with bench.store:
        image = bench.store.images()[0].id
        bench.store.keep_dev_draw(DevDraw(0.0, frozenset([image])))
        content = at(bench, 0)
        bench.store.record(
            [Entry(bench.ids[0], KEYPOINTS, content, "file:keypoints.json", bench.ids[0], "1")]
        )
        plan = RoundPlan(1, "semi-weak", tuple(bench.ids[1:]), 0.9, bench.store.head(), {}, 0)
        path = begin_round(bench.project, plan)
        first = bench.project.rounds_root / "000" / "predictions.parquet"
        found = iter_predictions(first, bench.project.skeleton)
        write_predictions(path / "predictions.parquet", found, bench.project.skeleton)
        finish_round(path, {})
        made = run(bench, hourly_rate=30.0)
    newest = made.rounds[-1]
    assert (newest["objects"], newest["hours"], newest["cost"]) == (1, None, None)
    assert page(made)
    (cells,) = (line for line in made.text().splitlines() if line.startswith("| 001"))
    assert [cell.strip() for cell in cells.split("|")[3:-1]] == ["-", "-", "1", "100.00 [-]"]
    assert "in percent" in made.text()


def test_a_second_label_shows_what_pre_annotation_does_to_accuracy(tmp_path: Path):
    # Three quarters of the way from the prediction to the truth, so a quarter of the error stays:
    # 5 pixels of a box of 200. Four objects were labelled without prediction, and rightly.
    bench = make_objects(tmp_path, images=1)
    known = {"content": at(bench, 20), "source": "file:true.json", "annotator": "", "shown": {}}
    with bench.store:
        bench.store.record(
            [answer(bench, n, n < 4, content=at(bench, 20 if n < 4 else 15)) for n in range(10)]
        )
        bench.store.record([answer(bench, n, False, **known) for n in range(10)])
        found = run(bench)
    error, rows = found.savings[-1], found.anchoring
    assert (error["unit"], error["objects"], error["means"]) == ("error", (6, 4), (2.5, 0.0))
    assert error["always"] == (-2.5, -2.5, -2.5)
    names = bench.project.skeleton.keypoints[:3]  # no prediction of the tail was shown
    points = [("", 18), *((name, 6) for name in names)]
    assert [(row["keypoint"], row["points"]) for row in rows] == points
    assert rows[0]["share"] == pytest.approx((0.25, 0.25, 0.25))


def test_the_curve_is_against_percentage_hours_and_money(played):
    first, second = run(played, hourly_rate=30.0).rounds
    assert (first["percent"], first["hours"], first["cost"], first["right"].mean) == (0, 0, 0, 0)
    assert (second["percent"], second["objects"], second["right"]) == (10, 20, (1, 1, 1))
    # 200 times 20 or 22 s, and 100 times 40 or 42 s.
    assert second["hours"] == pytest.approx((200 * 21 + 100 * 41) / 3600)
    assert second["cost"] == pytest.approx(30 * second["hours"])


def learned(folder: Path, rights: list[int], settings: dict | None = None) -> Bench:
    """Rounds of 5, 10, 20 and 40 % of 100 objects, with so many of four keypoints right.

    The dev set is 40 objects of four images; as many others are labelled as the last round took.
    """
    bench = make_objects(folder, images=10)
    images, skeleton = [image.id for image in bench.store.images()], bench.project.skeleton
    bench.store.keep_dev_draw(DevDraw(0.0, frozenset(images[:4])))
    dev = read_snapshot(bench.project, bench.store).dev
    numbers = [n for n, id_ in enumerate(bench.ids) if id_ in dev]
    numbers += [n for n, id_ in enumerate(bench.ids) if id_ not in dev][
        : round(2.5 * 2 ** len(rights))
    ]
    bench.store.record([answer(bench, n, n % 2 == 0) for n in numbers])
    rows = [*iter_predictions(bench.project.rounds_root / "000" / "predictions.parquet", skeleton)]
    for number, right in enumerate(rights, start=1):
        share = 0.025 * 2**number
        taught, head = tuple(bench.ids[: round(100 * share)]), bench.store.head()
        plan = RoundPlan(number, "semi-weak", taught, share, head, settings or {}, 0)
        path = begin_round(bench.project, plan)
        away = np.where(np.arange(4) < right, 0.0, 40.0)[:, None] * [1.0, 0.0]
        moved = [replace(row, pose=replace(row.pose, xy=row.pose.xy + away)) for row in rows]
        write_predictions(path / "predictions.parquet", moved, skeleton)
        finish_round(path, {})
    return bench


@pytest.mark.parametrize(
    ("rights", "decision"), [([1, 2, 3], GO_ON), ([2], UNKNOWN), ([2, 2, 2, 2], STOP)]
)
def test_a_curve_fitted_to_the_rounds_says_what_one_per_cent_brings(
    tmp_path: Path, rights: list[int], decision: str
):
    bench = learned(tmp_path, rights)
    with bench.store:
        found = run(bench, hourly_rate=30.0)
    ahead, gain = found.next_percent, found.next_percent["right"]
    assert (ahead["rounds"], ahead["objects"], found.decision) == (len(rights), 1, decision)
    # One object, of 20 or 22 seconds.
    assert ahead["hours"] == pytest.approx(21 / 3600, abs=3e-4)
    assert ahead["cost"] == pytest.approx(30 * ahead["hours"])
    assert 0 < gain.low < gain.mean < gain.high
    assert found.curve[0]["percent"] == pytest.approx(5)
    first, *_, last = (row["right"] for row in found.curve)
    assert first.mean == pytest.approx(rights[0] / 4, abs=0.06)
    assert last.mean > first.mean


def test_only_networks_trained_alike_are_one_curve(tmp_path: Path):
    bench = learned(tmp_path, [1, 2], {"preset": "tiny"})
    with bench.store:
        plan = RoundPlan(3, "semi-weak", tuple(bench.ids[:5]), 0.05, 1, {"preset": "plus"}, 0)
        path = begin_round(bench.project, plan)
        (path / "predictions.parquet").write_bytes(
            (bench.project.rounds_root / "002" / "predictions.parquet").read_bytes()
        )
        finish_round(path, {})
        assert run(bench).next_percent["rounds"] == 1


@pytest.mark.parametrize("what", ["all is labelled", "no round", "earlier poses are served"])
def test_without_labels_to_give_or_a_network_that_learned_nothing_is_expected(
    played: Bench, tmp_path: Path, what: str
):
    if what == "all is labelled":
        found = run(played)
    else:
        with (bench := learned(tmp_path, [])).store:
            if what == "earlier poses are served":
                plan = RoundPlan(1, "semi-weak", tuple(bench.ids[:5]), 0.05, 1, {}, 0)
                path = begin_round(bench.project, plan)
                (path / "predictions.parquet").write_bytes(
                    (bench.project.rounds_root / "000" / "predictions.parquet").read_bytes()
                )
                finish_round(path, {"serves": "round 000"})
            found = run(bench)
    assert (found.next_percent, found.curve, found.decision) == (None, (), UNKNOWN)


def test_a_negative_rate_and_another_file_are_refused(played, tmp_path: Path):
    with pytest.raises(UsageError, match="-1"):
        run(played, hourly_rate=-1.0)
    notes = tmp_path / "notes.html"
    notes.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        run(played, output=notes)


def test_the_command_writes_the_page_again_and_prints_json(played, tmp_path: Path):
    file = tmp_path / "report.html"
    arguments = ["--output", file, "--json", "--project", played.project.root]
    assert labelkit("report", *arguments).code == 0
    found = json.loads(labelkit("report", *arguments).out)
    assert found["file"] == str(file)
    assert found["savings"][1]["always"] == [4.0, 4.0, 4.0]


def test_an_empty_project_has_a_report(tmp_path: Path):
    bench = make_bench(tmp_path, pictures=1, predicted=False)
    with bench.store:
        found = run(bench)
    assert found.rounds == found.keypoints == found.anchoring == ()
    assert "<table" not in page(found)


def test_a_browser_shows_the_page_without_an_error_or_a_request(tmp_path: Path):
    file = tmp_path / "report.html"
    bench = learned(tmp_path, [1, 2, 3])
    with bench.store:
        run(bench, output=file, hourly_rate=30.0)
    with chromium_page(chromium()) as browser:
        opened = browser.new_page()
        problems, asked = [], []
        opened.on("console", lambda message: problems.append(message.text))
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(file.as_uri())
        assert opened.locator("figure svg").count() == 2
        assert opened.locator(".fitted[points*=',']").count() == 1
        assert opened.locator("table").count() == 3
        assert opened.pdf().startswith(b"%PDF")
    assert not problems
    assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}
