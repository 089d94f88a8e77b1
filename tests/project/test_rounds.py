import json
import shutil
from dataclasses import replace

import pytest
from builders import make_project

from labelkit.errors import ProjectError
from labelkit.project.project import open_project
from labelkit.project.rounds import (
    RoundPlan,
    abandon_round,
    begin_round,
    finish_round,
    latest_complete,
    locked_labelled,
    next_round_number,
    read_round,
    rounds,
    unfinished,
)


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def make_plan(number=0, labelled=(), **more):
    kind = "semi-weak" if labelled else "location-free"
    settings = {"preset": "tiny", "size": (96, 96)}
    return replace(RoundPlan(number, kind, tuple(labelled), 0.1, 5, settings, 3), **more)


def test_a_project_without_rounds_has_none(project):
    assert rounds(project) == []
    assert unfinished(project) is None
    assert latest_complete(project) is None
    assert locked_labelled(project) == []
    assert next_round_number(project) == 0


def test_a_round_is_locked_when_it_begins_and_complete_when_it_ends(project):
    path = begin_round(project, make_plan(labelled=["b-0", "a-0"]))
    assert path == project.root / "rounds" / "000"
    assert json.loads((path / "labelled.json").read_text()) == {
        "seed": 3,
        # sha256 of "b-0\na-0"
        "hash": "1ce24900c791b8fa9d6daef371eeec068d05a3e0e7aa63be940eb3aad3e1d4ad",
        "instances": ["b-0", "a-0"],
    }
    assert unfinished(project).path == path
    finish_round(path, {"pck@0.2": 0.5})
    assert unfinished(project) is None
    (found,) = rounds(project)
    assert found == latest_complete(project) == read_round(path)
    assert (found.status, dict(found.facts)) == ("complete", {"pck@0.2": 0.5})
    assert found.started_at <= found.finished_at
    assert next_round_number(project) == 1


def test_the_same_plan_continues_the_unfinished_round(project):
    path = begin_round(project, make_plan())
    (path / "last.ckpt").write_text("")
    assert begin_round(project, make_plan()) == path
    assert (path / "last.ckpt").exists()


def test_another_plan_has_to_wait_for_the_unfinished_round(project):
    path = begin_round(project, make_plan())
    with pytest.raises(ProjectError, match=r"Round 000 .*not finished"):
        begin_round(project, make_plan(seed=4))
    abandon_round(path, "other settings")
    assert begin_round(project, make_plan(1, seed=4)).name == "001"


def test_a_finished_round_never_changes(project):
    path = begin_round(project, make_plan())
    finish_round(path, {})
    before = (path / "round.json").read_bytes()
    with pytest.raises(ProjectError, match="Round 000 is complete") as caught:
        finish_round(path, {"better": True})
    assert "labelkit retrain" in caught.value.next_step
    with pytest.raises(ProjectError, match="Round 000 is complete"):
        abandon_round(path, "")
    with pytest.raises(ProjectError, match="001, not 000"):
        begin_round(project, make_plan())
    assert (path / "round.json").read_bytes() == before


def test_facts_that_json_cannot_hold_leave_the_round_unfinished(project):
    path = begin_round(project, make_plan())
    with pytest.raises(ValueError, match="not JSON compliant"):
        finish_round(path, {"loss": float("nan")})
    assert unfinished(project).path == path


def test_locked_instances_keep_the_order_in_which_they_were_first_locked(project):
    for number, labelled in enumerate((["c", "a"], ["c"], ["c", "a", "d", "b"], [])):
        finish_round(begin_round(project, make_plan(number, labelled)), {})
    abandon_round(begin_round(project, make_plan(4, ["z"])), "never trained")
    assert locked_labelled(project) == ["c", "a", "d", "b"]


def test_a_kill_while_a_round_begins_leaves_none(project):
    path = begin_round(project, make_plan())
    (path / "round.json").unlink()
    assert rounds(project) == []
    assert begin_round(project, make_plan(labelled=["a"])) == path
    assert locked_labelled(project) == ["a"]


def test_rounds_are_found_after_the_project_moved(project, tmp_path):
    begin_round(project, make_plan(labelled=["a"]))
    shutil.move(project.root, tmp_path / "elsewhere")
    assert locked_labelled(open_project(tmp_path / "elsewhere")) == ["a"]


def test_a_changed_list_of_locked_instances_is_noticed(project):
    path = begin_round(project, make_plan(labelled=["a", "b"]))
    text = (path / "labelled.json").read_text()
    (path / "labelled.json").write_text(text.replace('"b"', '"c"'))
    with pytest.raises(ProjectError, match=r"labelled\.json"):
        rounds(project)


@pytest.mark.parametrize("name", ["round.json", "labelled.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '"text"', "\xff"])
def test_a_damaged_file_is_named(project, name, content):
    path = begin_round(project, make_plan())
    (path / name).write_text(content, encoding="latin-1")
    with pytest.raises(ProjectError, match=r"rounds/000 is damaged") as caught:
        rounds(project)
    assert "backup" in caught.value.next_step


def test_a_folder_that_was_moved_away_does_not_count(project):
    path = begin_round(project, make_plan())
    path.rename(path.with_name("000.bak"))
    assert rounds(project) == []


def test_a_round_of_an_unknown_kind_is_refused():
    with pytest.raises(ProjectError, match=r"location-free or semi-weak.*'magic'"):
        make_plan(kind="magic")
