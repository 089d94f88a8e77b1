"""A small data set, played from scratch and with the two ways to train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelkit.errors import UsageError
from labelkit.progress import Silent
from labelkit.project.project import open_project
from labelkit.project.rounds import rounds
from labelkit.store.ownership import open_store
from labelkit.workflows.measure.simulate import SimulateReport, simulate
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.simulation import arms
from labelkit.workflows.simulation.arms import FOREIGN, OURS, SCRATCH, SUPERVISED
from labelkit.workflows.synthetic.figures import generate

TINY = TrainingOptions(preset="tiny", backbone="test_resnet", epochs=1, pretrained=False)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    generate(folder, 12, seed=0, size=96)
    return folder


def run(figures: Path, **options) -> SimulateReport:
    return simulate(
        figures / "images",
        figures / "keypoints.json",
        Silent(),
        root=figures / "simulation",
        arms=[SUPERVISED.name, OURS.name],
        percents=(25.0,),
        options=TINY,
        **options,
    )


@pytest.mark.slow
def test_arms_are_real_projects_and_end_with_the_same_labels(figures: Path):
    report = run(figures)
    assert (report.objects, report.keypoints, report.seeds) == (12, 14, 1)
    assert list(report.rounds) == [SCRATCH.name, SUPERVISED.name, OURS.name]
    ends = [rows[-1] for rows in report.rounds.values()]
    assert all(end["accuracy"] > 0.95 for end in ends)  # noise of .01 and a tolerance of .05
    assert [end["ticks"] for end in ends] == [0, 0, 12 * 14]
    assert [len(rows) for rows in report.rounds.values()] == [1, 2, 3]
    assert report.share[SCRATCH.name].value == 1
    assert report.worth is None  # without the arm that has no ticks
    projects = sorted((figures / "simulation" / "projects").iterdir())
    kinds = [
        [it.plan.settings.get("network", "lofr") for it in rounds(open_project(p))]
        for p in projects
    ]
    assert kinds == [[], ["lofr", "lofr"], ["simple"]]
    document = json.loads(report.files[0].read_text("utf-8"))
    assert document["minutes"][OURS.name]["value"] == pytest.approx(report.minutes[OURS.name].value)
    assert len(document["curves"][SCRATCH.name][0]["accuracy"]) == 13
    assert report.files[1].read_text("utf-8").strip() == report.text()
    assert report.files[2].read_bytes()[:4] == b"\x89PNG"
    # Run again, it trains and asks nothing, and says the same.
    before = {path: path.stat().st_mtime_ns for p in projects for path in p.rglob("round.json")}
    assert run(figures).data() == report.data()
    assert before == {p: p.stat().st_mtime_ns for p in before}


@pytest.mark.slow
def test_stopped_in_a_training_it_labels_nothing_more_before_that(
    figures: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    options = {"root": figures / "stopped", "arms": [SUPERVISED.name], "percents": (25.0,)}
    inputs = figures / "images", figures / "keypoints.json", Silent()
    with monkeypatch.context() as patch:
        patch.setattr(arms, "run_round", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(*inputs, **options, options=TINY)
    (folder,) = (figures / "stopped" / "projects").glob("supervised-only*")
    with open_store(open_project(folder)) as store:
        labelled = store.head()
    assert 3 <= labelled < 12  # a quarter, and the dev set
    simulate(*inputs, **options, options=TINY)
    assert [it.plan.journal_head for it in rounds(open_project(folder))] == [labelled]


def test_predictions_of_another_model_are_corrected_from_the_first_object_on(figures: Path):
    options = {"root": figures / "foreign", "arms": [FOREIGN.name]}
    inputs = figures / "images", figures / "keypoints.json", Silent()
    with pytest.raises(UsageError) as caught:
        simulate(*inputs, **options)
    assert "--predictions FILE" in (caught.value.next_step or "")
    with pytest.raises(UsageError, match="missing"):
        simulate(*inputs, **options, predictions=figures / "missing.json")
    report = simulate(*inputs, **options, predictions=figures / "keypoints.json")
    # They are the truth: right before the first answer, and nothing is left to drag.
    assert report.minutes[FOREIGN.name].value == 0
    assert report.rounds[FOREIGN.name][0]["accuracy"] == 1


def test_a_model_with_other_keypoints_is_adapted_to_the_first_labels(
    figures: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arms, "FIRST_TAUGHT", 6)
    theirs = json.loads((figures / "keypoints.json").read_text("utf-8"))
    (category,) = theirs["categories"]
    category["keypoints"] = [f"landmark_{number}" for number in range(14)]
    category.pop("skeleton", None)
    file = figures / "landmarks.json"
    file.write_text(json.dumps(theirs), "utf-8")
    inputs = figures / "images", figures / "keypoints.json", Silent()
    options = {"root": figures / "adapted", "arms": [FOREIGN.name], "percents": (50.0,)}
    report = simulate(*inputs, **options, predictions=file)
    before, adapted, _ = report.rounds[FOREIGN.name]
    assert before["accuracy"] == 0  # no keypoint has its name
    assert adapted["accuracy"] > 0.9


def test_an_unknown_arm_is_refused(figures: Path):
    with pytest.raises(UsageError, match="magic"):
        simulate(
            figures / "images",
            figures / "keypoints.json",
            Silent(),
            root=figures / "other",
            arms=["magic"],
        )
    assert not (figures / "other").exists()
