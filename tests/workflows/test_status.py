import shutil
from dataclasses import asdict, replace

from builders import make_project
from trained import FIGURES

from labelkit.progress import Silent
from labelkit.project.rounds import begin_round, rounds
from labelkit.store.label_store import LabelStore
from labelkit.workflows.queue import queue
from labelkit.workflows.retrain import retrain
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import read_queue, write_queue
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.status import status
from labelkit.workflows.sync.pull_file import pull_file


def test_an_empty_project_says_to_find_objects(tmp_path):
    project = make_project(tmp_path)
    with LabelStore.open(project.store_url) as store:
        report = status(project, store)
    assert (report.images, report.instances, report.rounds) == (0, 0, ())
    assert "Next: labelkit bootstrap --images" in report.text()


def test_an_empty_queue_is_followed_by_what_the_status_says(trained, tmp_path):
    shutil.rmtree(trained.project.rounds_root)
    write_queue(trained.project, [])
    said = f"Next: labelkit bootstrap --images {trained.project.images_root}"
    report = queue(trained.project, trained.store, from_review=False)
    assert (report.queued, report.text().splitlines()[-1]) == (0, said)
    project = make_project(tmp_path / "other")
    with LabelStore.open(project.store_url) as store:
        text = queue(project, store, from_review=False).text()
        assert text.splitlines()[-1] == status(project, store).next_step


def test_it_counts_what_humans_said_and_what_waits(trained):
    report = status(trained.project, trained.store)
    assert (report.images, report.instances, report.answered) == (FIGURES,) * 3
    assert (report.located, report.dev_located, report.skipped) == (0, 0, 0)
    assert report.queued == len(read_queue(trained.project))
    assert report.annotators == {"": FIGURES}
    assert "(unnamed) 24" in report.text()


def test_it_shows_each_round_with_its_measures(trained):
    (first,) = status(trained.project, trained.store).rounds
    assert (first["round"], first["kind"], first["labeled"], first["status"]) == (
        0,
        "location-free",
        "0%",
        "complete",
    )
    assert "Round 000  location-free at 0%, complete; dev: presence_map" in (
        status(trained.project, trained.store).text()
    )


def test_a_round_that_was_interrupted_is_the_next_thing_to_do(trained):
    (first,) = rounds(trained.project)
    begin_round(trained.project, replace(first.plan, number=1))
    text = status(trained.project, trained.store).text()
    assert "Round 001  location-free at 0%, training" in text
    again = f"labelkit bootstrap --images {trained.images}"
    assert text.endswith(f"Next: if round 001 is not training now: {again}")


def test_an_interrupted_round_with_locations_goes_on_as_status_says(trained):
    pull_file(trained.project, trained.store, trained.corrections())
    (first,) = rounds(trained.project)
    ids = tuple(read_snapshot(trained.project, trained.store).trainable)
    chosen = {"kind": "semi-weak", "labelled": ids, "labelled_share": len(ids) / FIGURES}
    settings = {**first.plan.settings, "rotation": 7.0}
    head = trained.store.head()
    plan = replace(first.plan, number=1, seed=5, settings=settings, journal_head=head, **chosen)
    begin_round(trained.project, plan)
    percent = f"{round(100 * len(ids) / FIGURES, 3)}%"
    text = status(trained.project, trained.store).text()
    assert text.endswith(f"labelkit retrain --labeled {percent} --now")
    retrain(
        trained.project,
        trained.store,
        Silent(),
        percent=float(percent[:-1]),
        now=True,
        options=TrainingOptions(),
    )
    (_, done) = rounds(trained.project)
    assert (done.plan, done.status) == (plan, "complete")


def test_corrections_count_and_leave_the_queue(trained):
    queued = len(read_queue(trained.project))
    pull_file(trained.project, trained.store, trained.corrections())
    report = status(trained.project, trained.store)
    assert (report.located, report.queued) == (queued, 0)
    assert report.dev_located == report.dev == 2
    assert f"{queued - 2} instances (" in report.text()
    assert "compared by, 2 of 2" in report.text()
    assert report.annotators["simulated annotator"] == queued
    assert "Next: labelkit retrain" in report.text()


def test_looking_changes_nothing(trained):
    files = {p: p.read_bytes() for p in trained.project.root.rglob("*.json")}
    head = trained.store.head()
    assert asdict(status(trained.project, trained.store)) == asdict(
        status(trained.project, trained.store)
    )
    assert {p: p.read_bytes() for p in trained.project.root.rglob("*.json")} == files
    assert trained.store.head() == head
