import shutil
from dataclasses import asdict, replace

from builders import make_project
from trained import FIGURES

from labelkit.progress import Silent
from labelkit.project.rounds import begin_round, rounds
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.loop.status import status
from labelkit.workflows.review_and_label.queue import queue
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import read_queue, write_queue
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.sync.pull_file import pull_file


def test_the_next_step_of_an_empty_project_is_bootstrap(tmp_path):
    project = make_project(tmp_path)
    with LabelStore.open(project.store_url) as store:
        report = status(project, store)
    assert (report.images, report.instances, report.rounds) == (0, 0, ())
    assert f"labelkit bootstrap --images {project.images_root}" in report.next_step
    assert report.text().endswith(report.next_step)


def test_with_an_empty_queue_the_next_step_is_that_of_status(trained, tmp_path):
    shutil.rmtree(trained.project.rounds_root)
    write_queue(trained.project, [])
    report = queue(trained.project, trained.store, from_review=False)
    assert report.queued == 0
    assert report.next_step == status(trained.project, trained.store).next_step
    assert f"labelkit bootstrap --images {trained.project.images_root}" in report.next_step
    project = make_project(tmp_path / "other")
    with LabelStore.open(project.store_url) as store:
        next_step = queue(project, store, from_review=False).next_step
        assert next_step == status(project, store).next_step


def test_it_counts_human_labels_and_what_waits(trained):
    report = status(trained.project, trained.store)
    assert (report.images, report.instances, report.answered) == (FIGURES,) * 3
    assert (report.located, report.dev_located, report.skipped) == (0, 0, 0)
    assert report.queued == len(read_queue(trained.project))
    assert report.annotators == {"": FIGURES}
    assert "(unnamed)" in report.text()


def test_it_shows_each_round_with_its_measures(trained):
    (first,) = status(trained.project, trained.store).rounds
    assert (first["round"], first["kind"], first["labeled"], first["status"]) == (
        0,
        "location-free",
        "0%",
        "complete",
    )
    assert "presence_map" in first["dev"]
    lines = status(trained.project, trained.store).text().splitlines()
    (line,) = [line for line in lines if line.startswith("Round 000")]
    for words in ("location-free", "0%", "complete", "presence_map"):
        assert words in line


def test_a_round_that_was_interrupted_is_the_next_thing_to_do(trained):
    (first,) = rounds(trained.project)
    begin_round(trained.project, replace(first.plan, number=1))
    report = status(trained.project, trained.store)
    assert (report.rounds[1]["round"], report.rounds[1]["status"]) == (1, "training")
    assert report.next_step.endswith(f"labelkit bootstrap --images {trained.images}")


def test_an_interrupted_round_with_locations_continues_with_the_command_of_status(trained):
    pull_file(trained.project, trained.store, trained.corrections())
    (first,) = rounds(trained.project)
    ids = tuple(read_snapshot(trained.project, trained.store).trainable)
    chosen = {"kind": "semi-weak", "labelled": ids, "labelled_share": len(ids) / FIGURES}
    settings = {**first.plan.settings, "rotation": 7.0}
    head = trained.store.head()
    plan = replace(first.plan, number=1, seed=5, settings=settings, journal_head=head, **chosen)
    begin_round(trained.project, plan)
    percent = f"{round(100 * len(ids) / FIGURES, 3)}%"
    next_step = status(trained.project, trained.store).next_step
    assert next_step.endswith(f"labelkit retrain --labeled {percent} --now")
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
    assert report.annotators["simulated annotator"] == queued
    assert "labelkit retrain" in report.next_step


def test_status_changes_nothing(trained):
    files = {p: p.read_bytes() for p in trained.project.root.rglob("*.json")}
    head = trained.store.head()
    assert asdict(status(trained.project, trained.store)) == asdict(
        status(trained.project, trained.store)
    )
    assert {p: p.read_bytes() for p in trained.project.root.rglob("*.json")} == files
    assert trained.store.head() == head
