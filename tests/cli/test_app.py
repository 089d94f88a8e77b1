import errno
import json
import subprocess
import sys

import pytest
from builders import stick_skeleton, write_picture
from command_line import labelkit
from trained import Trained

from labelkit import __version__
from labelkit.errors import UsageError
from labelkit.metrics.table import METRICS
from labelkit.progress import Silent
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.export import export
from labelkit.workflows.loop.pull import pull
from labelkit.workflows.rounds.settings import TrainingOptions, check_options

EVALUATION = ["name", "labeled", *METRICS]


def at(trained: Trained):
    return ("--project", trained.project.root)


@pytest.fixture
def frames(tmp_path):
    """Two pictures and a skeleton file beside them."""
    for number in range(2):
        write_picture(tmp_path / "frames" / f"{number}.png", (32, 24), seed=number)
    (tmp_path / "stick.toml").write_text(stick_skeleton().to_toml())
    return tmp_path / "frames"


def files_below(folder):
    """Content and name of every file but the lock and SQLite's own."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock" and not path.name.startswith("labels.db-")
    }


# Exit codes


def test_0_for_a_command_that_did_its_job(trained):
    assert labelkit("status", *at(trained)).code == 0


def test_1_for_an_error_with_what_is_wrong_and_what_to_type(tmp_path):
    outcome = labelkit("status", "--project", tmp_path)
    assert (outcome.code, outcome.out) == (1, "")
    problem, next_step = outcome.err.splitlines()
    assert problem.startswith(f"error: {tmp_path} ")
    assert next_step.endswith(": labelkit bootstrap --images DIR")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["retrain", "--labeled", "ten"], "'ten'"),
        (["retrain", "--labeled", "120%"], "'120%'"),
        (["push"], "LABEL_STUDIO_URL"),
        (["pull"], "LABEL_STUDIO_URL"),
        (["evaluate", "--images", "x"], "--labels FILE"),
        (["serve", "--port", "99999"], "1024 to 65535"),
        (["retrain", "--now", "--epochs", "0"], "--epochs 1"),
        (["retrain", "--now", "--backbone", "resnet9000"], "'resnet9000'"),
    ],
)
def test_2_for_options_that_make_no_sense(trained, arguments, named, monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.setenv("LABELKIT_SERVE_PASSWORD", "0123456789" * 4)
    outcome = labelkit(*arguments, *at(trained))
    assert (outcome.code, outcome.out) == (2, "")
    assert named in outcome.err
    assert len(outcome.err.splitlines()) <= 3


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["retrain", "--preset", "huge"], "'huge' is not one of 'paper', 'plus', 'tiny'"),
        (["pull", "--take", "mine"], "'mine' is not one of 'theirs', 'ours'"),
        (
            ["export", "--format", "voc"],
            "'voc' is not one of 'coco', 'yolo', 'dlc', 'lightning-pose',",
        ),
        (["benchmark", "plain"], "'plain' is not one of 'location-free', 'semi-weak',"),
    ],
)
def test_2_for_a_value_that_is_no_choice_names_all_that_are(arguments, choices):
    outcome = labelkit(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert choices in outcome.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("bootstrap", "--images", "a", "--images", "b"), "--images"),
        (("evaluate", "--labels=a.json", "--images", "b", "--labels", "b.json"), "--labels"),
    ],
)
def test_2_for_an_option_that_takes_one_value_and_comes_twice(arguments, option):
    outcome = labelkit(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{option} is given 2 times" in outcome.err


def test_a_flag_may_come_twice_and_labels_any_number_of_times(tmp_path):
    arguments = ("bootstrap", "--images", tmp_path, "--skip-missing", "--skip-missing")
    outcome = labelkit(*arguments, "--labels", "a.json", "--labels", "b.json")
    assert "a.json" in outcome.err  # is missing
    assert "times" not in outcome.err


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (
            lambda *it: export(
                *it, Silent(), form="voc", predictions=False, output=None, dry_run=True
            ),
            "voc",
        ),
        (lambda *it: pull(*it, Silent(), file=None, take="mine"), "mine"),
        (lambda *it: check_options(TrainingOptions(preset="huge")), "huge"),
    ],
)
def test_the_workflows_refuse_such_a_value_too(trained, call, value):
    store = LabelStore.open(trained.project.store_url)
    with store, pytest.raises(UsageError, match=value):
        call(trained.project, store)


def test_2_for_scoring_a_file_with_evaluate_names_the_score_command_to_type():
    outcome = labelkit("evaluate", "--predictions", "my r.json", "--truth=t.json", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("labelkit score --predictions 'my r.json' --truth=t.json --json\n")


def test_2_for_options_that_do_not_exist():
    outcome = labelkit("status", "--colour")
    assert outcome.code == 2
    assert "--colour" in outcome.err


def test_2_for_an_option_that_is_missing():
    outcome = labelkit("bootstrap")
    assert outcome.code == 2
    assert "--images" in outcome.err


def test_3_while_people_have_to_label_first(frames, trained):
    asked = labelkit("bootstrap", "--images", frames, "--skeleton", frames.parent / "stick.toml")
    assert asked.code == 3
    assert labelkit("retrain", "--labeled", "10%", *at(trained)).code == 3
    assert labelkit("export", *at(trained)).code == 3
    assert labelkit("evaluate", *at(trained)).code == 3


def test_a_bug_of_ours_keeps_its_traceback(trained, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("labelkit.workflows.loop.status.status", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        labelkit("status", *at(trained))


def test_a_full_disk_is_an_error_that_names_the_place(trained, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    monkeypatch.setattr("labelkit.workflows.loop.status.status", full)
    outcome = labelkit("status", *at(trained))
    assert (outcome.code, outcome.out) == (1, "")
    assert "The disk is full at /data/x." in outcome.err


# What is printed where


def test_results_go_to_stdout_and_progress_to_stderr(frames, tmp_path):
    outcome = labelkit("bootstrap", "--images", frames, "--skeleton", tmp_path / "stick.toml")
    assert outcome.out.startswith(f"Project {tmp_path}/frames-labelkit: 2 images")
    made = f"Made the project {tmp_path}/frames-labelkit."
    assert outcome.err == f"{made} Left/right pairs: left_paw/right_paw.\n"


def test_with_json_stdout_is_json_alone_while_training_reports_on_stderr(trained, tmp_path):
    outcome = labelkit(
        "bootstrap",
        "--images",
        trained.images,
        "--labels",
        trained.truth_file,
        "--labeled",
        "0%",
        "--seed",
        "5",
        "--json",
        *at(trained),
    )
    document = json.loads(outcome.out)
    assert document["round"]["kind"] == "location-free"
    assert document["registered"]["new_labels"] == 24
    assert "Round 001: step 2/2  loss " in outcome.err


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["status"], {"project", "images", "instances", "rounds", "next_step", "queued"}),
        (["doctor"], {"checks"}),
        (["push", "--files"], {"kind", "tasks", "instances", "files", "control"}),
        (["export", "--with-predictions"], {"format", "file", "labelled", "predicted"}),
        (["retrain", "--labeled", "10%"], {"missing", "queued", "next_step"}),
    ],
)
def test_every_command_answers_machines_with_one_json_document(trained, arguments, keys):
    outcome = labelkit(*arguments, "--json", *at(trained))
    assert keys <= set(json.loads(outcome.out))
    assert outcome.err == ""


def test_pull_answers_machines_too(trained):
    outcome = labelkit("pull", "--file", trained.corrections(), "--json", *at(trained))
    document = json.loads(outcome.out)
    assert document["poses"] == document["added"] == document["annotations"]


def test_pull_ends_with_the_next_step_that_status_names(trained):
    pulled = labelkit("pull", "--file", trained.corrections(), *at(trained))
    last = pulled.out.splitlines()[-1]
    assert last == labelkit("status", *at(trained)).out.splitlines()[-1]
    assert last.startswith("Next: labelkit ")
    assert last != "Next: labelkit status"


def test_evaluate_gives_exactly_the_promised_keys(trained):
    assert labelkit("pull", "--file", trained.corrections(), *at(trained)).code == 0
    outcome = labelkit("evaluate", "--json", *at(trained))
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert list(document) == ["rows"]
    for row in document["rows"]:
        assert list(row) == EVALUATION
    assert [row["name"] for row in document["rows"]] == [
        "skeleton in box",
        "mean pose",
        "LOFR location-free",
    ]


def test_machines_get_names_as_they_are_and_not_escaped(frames, tmp_path):
    (tmp_path / "ça va").mkdir()
    outcome = labelkit(
        "bootstrap",
        "--images",
        frames,
        "--skeleton",
        tmp_path / "stick.toml",
        "--project",
        tmp_path / "ça va",
        "--json",
    )
    assert "ça va" in outcome.out
    assert json.loads(outcome.out)["round"] is None


# Dry runs


@pytest.mark.parametrize("arguments", [["push", "--files"], ["export", "--with-predictions"]])
def test_a_dry_run_writes_nothing(trained, arguments):
    before = files_below(trained.folder)
    outcome = labelkit(*arguments, "--dry-run", *at(trained))
    assert outcome.code == 0
    assert "Would write" in outcome.out
    assert files_below(trained.folder) == before


def test_the_former_name_of_with_predictions_still_works(trained):
    outcome = labelkit("export", "--predictions", "--dry-run", "--json", *at(trained))
    assert json.loads(outcome.out)["predicted"] > 0


# Which project


def test_the_project_around_the_current_folder_is_the_default(trained, monkeypatch):
    monkeypatch.chdir(trained.project.rounds_root)
    assert str(trained.project.root) in labelkit("status").out


def test_the_project_right_below_is_found_too(trained, monkeypatch):
    monkeypatch.chdir(trained.folder)
    assert str(trained.project.root) in labelkit("status").out


def test_a_second_command_waits_its_turn(trained):
    from labelkit.project.project import lock_project

    with lock_project(trained.project):
        outcome = labelkit("retrain", "--labeled", "10%", *at(trained))
        assert outcome.code == 1
        assert "Another labelkit command" in outcome.err
        assert labelkit("status", *at(trained)).code == 0


def test_the_version_is_printed():
    assert labelkit("--version") == (0, f"labelkit {__version__}\n", "")


def test_without_a_command_the_help_says_how_to_start():
    outcome = labelkit()
    assert "labelkit bootstrap --images DIR" in outcome.out + outcome.err


def test_as_a_program_it_ends_with_the_same_codes_and_no_traceback(tmp_path):
    code = "from labelkit.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "status"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: No labelkit project in ")
