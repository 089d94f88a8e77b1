import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from builders import make_image, make_project, write_picture
from command_line import labelkit
from trained import FIGURES

from labelkit.domain.instance import Box
from labelkit.progress import Silent
from labelkit.project.project import lock_project, open_project
from labelkit.project.rounds import begin_round, rounds
from labelkit.store.journal import (
    KEYPOINTS,
    SKIP,
    VISIBILITY,
    Entry,
    keypoints_content,
    visibility_content,
)
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.store.task_ledger import LedgerProject, LedgerTask, TaskLedger
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.register import register
from labelkit.workflows.loop.retrain import retrain
from labelkit.workflows.loop.status import status
from labelkit.workflows.review_and_label.queue import queue
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import read_queue, write_queue
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.rounds.start import start_of
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
    assert "(files)" in report.text()


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
    begin_round(trained.project, replace(first.plan, number=1, seed=5))
    report = status(trained.project, trained.store)
    assert (report.rounds[1]["round"], report.rounds[1]["status"]) == (1, "training")
    assert report.next_step.endswith("labelkit retrain --labeled 0% --now")
    outcome = labelkit("retrain", "--labeled", "0%", "--now", "--project", trained.project.root)
    assert outcome.code == 0
    assert [item.status for item in rounds(trained.project)] == ["complete"] * 2


def test_the_first_round_that_was_interrupted_continues_with_bootstrap(trained):
    (first,) = rounds(trained.project)
    shutil.rmtree(first.path)
    begin_round(trained.project, first.plan)
    report = status(trained.project, trained.store)
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
    before = asdict(status(trained.project, trained.store))  # notes which folders it looked into
    files = {p: p.read_bytes() for p in trained.project.root.rglob("*.json")}
    head = trained.store.head()
    assert asdict(status(trained.project, trained.store)) == before
    assert {p: p.read_bytes() for p in trained.project.root.rglob("*.json")} == files
    assert trained.store.head() == head


# One next step


def ticks(project, ids, annotator="ann", seconds=None, presence=(True,) * 4, one_task=False):
    """Visibility entries, each in an annotation of its own unless they share a task."""
    content = visibility_content(project.skeleton, presence)
    return [
        Entry(
            id_,
            VISIBILITY,
            content,
            "label-studio",
            "shared" if one_task else f"{annotator} {id_}",
            "1",
            annotator,
            "",
            seconds,
        )
        for id_ in ids
    ]


@pytest.fixture
def eighty(tmp_path):
    """A project of 80 pictures, each one object, before any answer."""
    project = make_project(tmp_path, pictures=80)
    with open_store(project) as store:
        register(
            project,
            store,
            Silent(),
            labels=[],
            boxes="whole-image",
            skip_unreadable=False,
            handling=Handling(),
        )
        yield project, store


def step(project, store):
    return status(project, store).next_step


def test_after_one_of_eighty_answers_the_next_step_is_to_tick_on(eighty):
    project, store = eighty
    bootstrap = f"labelkit bootstrap --images {project.images_root}"
    assert "labelkit push" in step(project, store)
    assert "30 objects" in step(project, store)
    first = start_of(project, read_snapshot(project, store)).ids
    store.record(ticks(project, first[:1]))
    assert "29 objects" in step(project, store)
    assert bootstrap not in step(project, store)
    for number, item in enumerate(first[1:]):
        even, third = number % 2 == 0, number % 3 == 0
        store.record(ticks(project, [item], presence=(even, third, True, True)))
    assert step(project, store) == f"Next: {bootstrap}"


def test_where_ticks_cannot_teach_the_next_step_is_keypoints(eighty):
    project, store = eighty
    store.record(ticks(project, start_of(project, read_snapshot(project, store)).ids))
    report = status(project, store)
    assert "0.00 bits" in report.next_step
    assert "labelkit push, place the keypoints of 5" in report.next_step
    assert report.queued == 50 + report.dev


def test_a_large_project_is_ticked_to_a_tenth_before_it_is_trained(eighty):
    project, store = eighty
    images = [make_image(f"more-{number}.png") for number in range(400)]
    first = start_of(project, read_snapshot(project, store)).ids
    for number, item in enumerate(first):
        even, third = number % 2 == 0, number % 3 == 0
        store.record(ticks(project, [item], presence=(even, third, True, True)))
    store.add_images(images)
    store.add_instances(NewInstance(i, Box(0, 0, 9, 9), "given", 81.0) for i in images)
    for image in images:  # so that none is gone
        shutil.copy(project.images_root / "0.png", project.images_root / image.path)
    assert "450 objects" in step(project, store)


def test_what_is_in_label_studio_already_is_not_to_be_pushed(eighty):
    project, store = eighty
    ids = start_of(project, read_snapshot(project, store)).ids
    ledger = TaskLedger(store.database, "http://127.0.0.1:8080")
    ledger.keep_project(LedgerProject("visibility", 7))
    tasks = [LedgerTask(n, (id_,), frozenset(), "boxes") for n, id_ in enumerate(ids, 1)]
    ledger.keep_tasks("visibility", tasks[:-1])
    assert "labelkit push" in step(project, store)
    ledger.keep_tasks("visibility", tasks)
    assert step(project, store).startswith(
        "Next: tick what can be seen of 30 objects at http://127.0.0.1:8080/projects/7, "
        "then labelkit pull"
    )
    assert "labelkit label" in step(project, store)


def test_images_that_are_gone_or_new_come_before_labelling(eighty):
    project, store = eighty
    (project.images_root / "0.png").rename(project.images_root / "zero.png")
    assert step(project, store) == "1 image cannot be found. Next: labelkit images relocate"
    (project.images_root / "zero.png").rename(project.images_root / "0.png")
    write_picture(project.images_root / "new.png", seed=500)
    report = status(project, store)
    assert report.new_images == 1
    assert report.next_step.endswith(f"labelkit bootstrap --images {project.images_root}")
    assert "80 (1 new in the folder)" in report.text()


def test_the_queue_then_a_training_then_the_export(trained):
    project, store = trained.project, trained.store
    queued = len(read_queue(project))
    assert f"labelkit push, correct {queued} objects" in step(project, store)
    pull_file(project, store, trained.corrections())
    assert step(project, store) == "Next: labelkit retrain"
    retrain(project, store, Silent(), percent=None, now=False, options=TrainingOptions())
    write_queue(project, [])
    assert step(project, store) == "Next: labelkit export --format coco"
    queue(project, store, strategy="manual")
    assert "labelkit queue --from-review" in step(open_project(project.root), store)


def test_the_dev_set_is_in_no_arm_of_the_effort(trained):
    project, store = trained.project, trained.store
    dev = read_snapshot(project, store).dev
    counts = dict.fromkeys(("clicks", "drags", "keys", "undos"), 2) | {"attention_s": 8.0}
    other = next(id_ for id_ in store.instances() if id_ not in dev)
    content = keypoints_content(project.skeleton, trained.truth[other])
    shown = {"arm": "control", "effort": counts}
    store.record(
        Entry(id_, KEYPOINTS, content, "label", id_, "1", shown=shown) for id_ in (*dev, other)
    )
    (row,) = status(project, store).effort
    assert (row["arm"], row["objects"], row["actions"]) == ("control", 1, 6.0)


def test_a_training_that_runs_is_waited_for(trained):
    (first,) = rounds(trained.project)
    begin_round(trained.project, replace(first.plan, number=1))
    code = (
        "import sys; from pathlib import Path\n"
        "from labelkit.project.project import lock_project, open_project\n"
        "with lock_project(open_project(Path(sys.argv[1]))):\n"
        "    print('locked', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(trained.project.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        report = status(trained.project, trained.store)
        assert report.next_step == "Round 001 is training now: wait until it has finished."
        assert report.round == 1
        other.communicate(b"\n")
    with lock_project(trained.project):  # as `labelkit queue` holds it
        assert "continue round 001" in step(trained.project, trained.store)


# Annotators


def test_each_annotator_has_what_is_done_and_how_long_the_rest_takes(eighty):
    project, store = eighty
    ids = start_of(project, read_snapshot(project, store)).ids
    store.record(ticks(project, ids[:4], "ann", 12.0, one_task=True))  # 3 s an object
    store.record(ticks(project, ids[4:5], "ann", 5.0))
    store.record(ticks(project, ids[5:6], "ann", 900.0))  # a break: the median ignores it
    store.record(ticks(project, ids[6:8], "ben"))
    store.record([Entry(ids[8], SKIP, {}, "label-studio", "x", "1", "ben")])
    report = status(project, store)
    assert report.people == (
        {
            "name": "ann",
            "ticked": 6,
            "located": 0,
            "skipped": 0,
            "seconds": 5.0,
            "rest_seconds": 110.0,  # 22 of the first 30
        },
        {
            "name": "ben",
            "ticked": 2,
            "located": 0,
            "skipped": 1,
            "seconds": None,
            "rest_seconds": None,
        },
    )
    (ann,) = [line for line in report.text().splitlines() if line.startswith("Annotator  ann:")]
    assert "5 s an object, about 1 min 50 s for the rest" in ann


def test_the_pace_is_that_of_the_work_that_waits(trained):
    ids = [item.instance_id for item in read_queue(trained.project)]
    pose = next(iter(trained.truth.values()))
    content = keypoints_content(trained.project.skeleton, pose)
    entry = Entry(ids[0], KEYPOINTS, content, "label-studio", "1", "1", "ann", "", 30.0)
    again = replace(entry, version="2", lead_time_s=40.0)  # an edit: its time holds the former
    trained.store.record([entry, again])
    (_, ann) = status(trained.project, trained.store).people
    assert (ann["name"], ann["located"], ann["seconds"]) == ("ann", 1, 40.0)
    assert ann["rest_seconds"] == 40.0 * (len(ids) - 1)


def test_the_current_round_is_named_by_its_number(trained, eighty):
    assert status(trained.project, trained.store).round == 0
    assert "round 000" in status(trained.project, trained.store).text()
    assert status(*eighty).round is None
