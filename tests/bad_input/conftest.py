"""What bad input gets: one clear error with the item and the next step, and nothing is lost."""

import shutil

import pytest
from builders import stick_skeleton, write_picture
from command_line import labelkit
from team import SIZE, Team, answer_everything, journal


@pytest.fixture(scope="session")
def team_once(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("team"))
    for number in range(3):
        write_picture(team.frames / f"{number}.png", SIZE, seed=number)
    team.write("stick.toml", stick_skeleton().to_toml())
    assert team.bootstrap("--skeleton", team.folder / "stick.toml").code == 3
    export = answer_everything(team.project)
    assert labelkit("pull", "--file", export, "--project", team.project).code == 0
    return team


@pytest.fixture
def team(team_once, tmp_path):
    """A copy, whose answers are compared at the end of the test."""
    shutil.copytree(team_once.folder, tmp_path, dirs_exist_ok=True)
    copy = Team(tmp_path)
    before = journal(copy.project)
    assert len(before) == 3
    yield copy
    assert journal(copy.project)[:3] == before
