"""A command killed at any moment loses no label, and finishes when it is run again.

Every command runs in its own process and dies by SIGKILL; see `warm`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, labelkit
from trained import Trained, copy_trained
from warm import KILLED, Warm

from labelkit.errors import ProjectError
from labelkit.project.predictions import read_predictions
from labelkit.project.project import lock_project, open_project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import COMPLETE, rounds, unfinished
from labelkit.store.label_store import LabelStore

pytestmark = pytest.mark.slow

#: Three epochs of two steps, so that the state of a training is saved and continued from.
TRAINING = (*TINY[:-1], "3")
#: How often each command is killed, and the seed of the moments.
KILLS, SEED = 20, 20261120
#: How often a busy team has saved each task of the large export.
SAVES = 60


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    starter = Warm(tmp_path_factory.mktemp("warm"))
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def corrected(trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A project whose first corrections are pulled, with a large export that is not yet."""
    folder = tmp_path_factory.mktemp("corrected")
    trained = copy_trained(trained_once, folder)
    export = trained.corrections()
    rows = json.loads(export.read_text("utf-8"))
    (folder / "large.json").write_text(json.dumps([_saved_often(row) for row in rows]), "utf-8")
    assert labelkit("pull", "--file", export, "--project", trained.project.root).code == 0
    trained.store.close()
    return trained


def _saved_often(row: dict[str, Any]) -> dict[str, Any]:
    (annotation,) = row["annotations"]
    saves = [{**annotation, "id": f"{annotation['id']}-{n}"} for n in range(SAVES)]
    return {**row, "annotations": saves}


def commands(folder: Path) -> dict[str, list[str | Path]]:
    """The commands to kill, in a copy of `corrected`; each has something left to do."""
    project = ("--project", folder / "project")
    labels = ("--labels", folder / "keypoints.json", "--labeled", "0%")
    return {
        "bootstrap": ["bootstrap", "--images", folder / "images", *labels, *TRAINING, *project],
        "retrain": ["retrain", "--labeled", "10%", *TRAINING, *project],
        "pull": ["pull", "--file", folder / "large.json", *project],
    }


def journal(folder: Path) -> list[tuple[Any, ...]]:
    """Every row of the journal in the database file, which must be intact."""
    path = folder / "project" / "labels.db"
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchall():
            return []
        return connection.execute("SELECT * FROM journal ORDER BY seq").fetchall()
    finally:
        connection.close()


def check_rounds(folder: Path) -> None:
    """Every round can be read, and a complete one has its predictions and maps."""
    project = open_project(folder / "project")
    for found in rounds(project):
        if found.status == COMPLETE:
            predictions = read_predictions(found.path / "predictions.parquet", project.skeleton)
            with MapReader(found.path / "maps" / "maps.parquet") as maps:
                assert set(maps) == set(predictions)


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that a finished command leaves, without times and trained numbers."""
    project = open_project(folder / "project")
    assert unfinished(project) is None
    with LabelStore.open(project.store_url) as store:
        entries = [recorded.entry for recorded in store.entries()]
        instances = list(store.instances())
    return {
        "entries": entries,
        "instances": instances,
        "rounds": [
            (r.plan.number, r.plan.kind, r.status, r.plan.labelled, r.plan.settings)
            for r in rounds(project)
        ],
        "files": sorted(
            str(path.relative_to(folder))
            for path in (folder / "project").rglob("*")
            # Files that a killed command was writing are removed after an hour.
            if path.is_file() and ".tmp" not in path.name and "labels.db" not in path.name
        ),
        "predicted": [
            sorted(read_predictions(r.path / "predictions.parquet", project.skeleton))
            for r in rounds(project)
        ],
        "queued": len(json.loads((project.root / "queue.json").read_text("utf-8"))["items"]),
    }


@pytest.mark.parametrize("name", ["bootstrap", "retrain", "pull"])
def test_a_command_killed_at_20_random_moments_keeps_every_label_and_then_finishes(
    warm, corrected, tmp_path, name
):
    """The command is killed repeatedly in one project; once it finishes, in a new copy of it.

    The moments cover the time that the undisturbed command takes: one in each twentieth of it.
    """
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(corrected.folder, undisturbed)
    before = journal(undisturbed)
    assert len(before) > 24
    ended = warm.run(commands(undisturbed)[name])
    assert ended.code == 0, ended.text
    expected = outcome(undisturbed)
    after = len(journal(undisturbed))
    chance = random.Random(f"{SEED} {name}")
    twentieths: list[int] = []
    killed, folder, kept = 0, tmp_path / "0", before
    shutil.copytree(corrected.folder, folder)
    for attempt in range(1, 4 * KILLS):
        twentieths = twentieths or chance.sample(range(20), 20)
        moment = (twentieths.pop() + chance.random()) / 20 * ended.seconds
        running = warm.start(commands(folder)[name])
        time.sleep(moment)
        running.kill()
        stopped = running.wait()
        when = f"seed {SEED}, attempt {attempt}, killed after {moment:.3f} s: {stopped.text}"
        rows = journal(folder)
        assert rows[: len(kept)] == kept, when
        assert len(rows) in (len(before), after), when  # all new labels, or none
        kept = rows
        check_rounds(folder)
        killed += stopped.code == KILLED
        if killed == KILLS:
            break
        if stopped.code != KILLED:  # it was faster
            assert stopped.code == 0, when
            assert outcome(folder) == expected, when
            shutil.rmtree(folder)
            folder, kept = tmp_path / str(attempt), before
            shutil.copytree(corrected.folder, folder)
    assert killed == KILLS, f"seed {SEED}"
    finished = warm.run(commands(folder)[name])
    assert finished.code == 0, f"seed {SEED}: {finished.text}"
    assert journal(folder)[: len(kept)] == kept, f"seed {SEED}"
    assert outcome(folder) == expected, f"seed {SEED}"


def test_bootstrap_killed_before_each_file_it_makes_continues_where_it_was(warm, trained, tmp_path):
    folder = tmp_path / "fresh"
    for name in ("images", "keypoints.json", "visibility.csv"):
        source = trained.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)  # type: ignore[operator]
    command = [
        *("bootstrap", "--images", folder / "images", "--project", folder / "project"),
        *("--skeleton", "lsp14", "--boxes", folder / "keypoints.json"),
        *("--labels", folder / "visibility.csv", *TRAINING),
    ]
    answers = 0
    for name, nth in (
        ("labelkit.toml", 1),
        ("labelled.json", 1),
        ("round.json", 1),
        ("model-unfinished.safetensors", 1),
        ("model-unfinished.safetensors", 2),
        ("model.safetensors", 1),
        ("model-unfinished.safetensors", 1),  # deleted, now that the model is there
        ("predictions.parquet", 1),
        ("maps.parquet", 1),  # the predictions are there, the maps are not
        ("metrics.json", 1),
        ("round.json", 1),
        ("queue.json", 1),
    ):
        ended = warm.run(command, die_at=(name, nth))
        assert ended.code == KILLED, f"{name}: {ended.text}"
        rows = journal(folder)
        assert len(rows) in (answers, 24)
        answers = len(rows)
        if name != "labelkit.toml":
            check_rounds(folder)
    ended = warm.run(command)
    assert ended.code == 0, ended.text
    assert ": step " not in ended.text
    found = outcome(folder)
    assert [number for number, *_ in found["rounds"]] == [0]
    assert found["predicted"] == [sorted(found["instances"])]
    assert not [name for name in found["files"] if "unfinished" in name]


def test_a_training_continues_after_the_last_saved_epoch(warm, corrected, tmp_path):
    shutil.copytree(corrected.folder, tmp_path / "w")
    command = commands(tmp_path / "w")["retrain"]
    ended = warm.run(command, die_at=("model-unfinished.safetensors", 2))
    assert ended.code == KILLED
    assert "step 2/6" in ended.text
    ended = warm.run(command)
    assert ended.code == 0, ended.text
    assert "step 2/6" not in ended.text
    assert "step 4/6" in ended.text


def test_a_command_that_changes_the_project_keeps_others_out_until_it_ends(
    warm, corrected, tmp_path
):
    shutil.copytree(corrected.folder, tmp_path / "w")
    command = commands(tmp_path / "w")
    running = warm.start(command["retrain"])
    while "step 2/6" not in running.log.read_text("utf-8"):
        time.sleep(0.01)
    second = labelkit(*command["retrain"])
    assert second.code == 1
    assert "Another labelkit command is at work" in second.err
    # Answers need not wait for a training.
    assert labelkit("status", "--project", tmp_path / "w" / "project").code == 0
    before = journal(tmp_path / "w")
    assert labelkit(*command["pull"]).code == 0
    assert len(journal(tmp_path / "w")) > len(before)
    running.kill()
    assert running.wait().code == KILLED


def test_the_lock_ends_with_a_killed_command_although_its_image_loaders_live_on(trained):
    script = """
import os, sys, time
from pathlib import Path
from labelkit.project.project import lock_project, open_project
with lock_project(open_project(Path(sys.argv[1]))):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(trained.project.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        helper = int(process.stdout.readline())
        try:
            with (
                pytest.raises(ProjectError, match="Another labelkit command"),
                lock_project(trained.project),
            ):
                pass
            process.kill()
            process.wait()
            with lock_project(trained.project):
                os.kill(helper, 0)  # still alive
        finally:
            os.kill(helper, signal.SIGKILL)


def test_pulling_twice_adds_nothing(corrected, tmp_path):
    shutil.copytree(corrected.folder, tmp_path / "w")
    command = [*commands(tmp_path / "w")["pull"], "--json"]
    first = labelkit(*command)
    rows = journal(tmp_path / "w")
    again = labelkit(*command)
    tasks = len(json.loads((tmp_path / "w" / "large.json").read_text("utf-8")))
    assert json.loads(first.out)["added"] == tasks * SAVES
    assert (json.loads(again.out)["added"], json.loads(again.out)["known"]) == (0, tasks * SAVES)
    assert journal(tmp_path / "w") == rows


@pytest.mark.parametrize("name", ["retrain", "pull"])
def test_a_command_that_can_no_longer_write_fails_and_finishes_once_there_is_space(
    warm, corrected, tmp_path, name
):
    shutil.copytree(corrected.folder, tmp_path / "w")
    before = journal(tmp_path / "w")
    ended = warm.run(commands(tmp_path / "w")[name], largest_file=100_000)
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text
    assert "run the same command again" in ended.text
    assert journal(tmp_path / "w") == before
    check_rounds(tmp_path / "w")
    assert warm.run(commands(tmp_path / "w")[name]).code == 0
