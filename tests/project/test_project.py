import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import make_project, stick_skeleton

from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import ProjectError
from labelkit.project.project import (
    BENCHMARK_FILE,
    create_project,
    default_project_root,
    find_project,
    lock_project,
    open_project,
)


def test_a_project_reads_back_as_it_was_made(tmp_path):
    project = make_project(tmp_path)
    assert open_project(project.root) == project
    assert (project.name, project.seed) == ("frames", 7)
    assert project.images_root == tmp_path.resolve() / "frames"
    assert project.skeleton == stick_skeleton()


def test_the_file_holds_relative_paths_only(tmp_path):
    project = make_project(tmp_path)
    text = (project.root / "labelkit.toml").read_text()
    assert 'images = "../frames"' in text
    assert str(tmp_path) not in text


def test_a_project_moved_with_its_images_works(tmp_path):
    before = make_project(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    after = open_project(tmp_path / "there" / "frames-labelkit")
    assert after.images_root == tmp_path.resolve() / "there" / "frames"
    assert after.skeleton == before.skeleton


def test_hostile_names_survive(tmp_path):
    images = tmp_path / "bilder \"ü\" \\ '猫' <&>?#%20"
    images.mkdir()
    names = ['na"se', "pfote\\n", "<b>&amp;", "猫\t", "\x7f"]
    skeleton = make_skeleton("s\"k'", names)
    project = create_project(tmp_path / 'p "q"', images, skeleton)
    assert open_project(project.root) == project


def test_a_second_project_in_the_same_folder_is_refused(tmp_path):
    project = make_project(tmp_path)
    with pytest.raises(ProjectError, match="is a labelkit project already"):
        create_project(project.root, project.images_root, stick_skeleton())


def test_images_folder_and_project_folder_cannot_be_the_same_or_missing(tmp_path):
    with pytest.raises(ProjectError, match="wants a folder of its own") as caught:
        create_project(tmp_path, tmp_path, stick_skeleton())
    assert f"{tmp_path.name}-labelkit" in caught.value.next_step
    with pytest.raises(ProjectError, match="is not a folder"):
        create_project(tmp_path / "p", tmp_path / "nothing", stick_skeleton())


def test_the_project_is_found_from_inside_above_and_beside_it(tmp_path):
    project = make_project(tmp_path)
    inside = project.root / "rounds" / "000"
    inside.mkdir(parents=True)
    for start in (project.root, inside, tmp_path, project.images_root):
        assert find_project(start) == project


def test_without_a_project_the_error_says_what_to_type(tmp_path):
    with pytest.raises(ProjectError, match="No labelkit project in") as caught:
        find_project(tmp_path)
    assert "--project DIR" in caught.value.next_step
    assert "labelkit bootstrap --images DIR" in caught.value.next_step
    with pytest.raises(ProjectError, match="is not a labelkit project") as caught:
        open_project(tmp_path / "nowhere")
    assert "labelkit bootstrap --images DIR" in caught.value.next_step


def test_the_folder_around_a_project_is_asked_back_with_the_path_to_type(tmp_path, monkeypatch):
    project = make_project(tmp_path / "a b")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="a b is not a labelkit project") as caught:
        open_project(Path("a b"))
    assert caught.value.next_step == f"Did you mean --project 'a b/{project.root.name}'?"


def test_of_several_projects_one_has_to_be_chosen(tmp_path):
    project = make_project(tmp_path)
    create_project(tmp_path / "other", project.images_root, stick_skeleton())
    with pytest.raises(ProjectError, match=r"2 labelkit projects: frames-labelkit, other"):
        find_project(tmp_path)
    (tmp_path / "other" / BENCHMARK_FILE).write_text("{}")
    assert find_project(tmp_path) == project


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "has format 2; this labelkit reads up to 1"),
        ("seed = 7", "", "has no 'seed'"),
        ("seed = 7", "seed = true", "seed = True is of the wrong kind"),
        ("seed = 7", "seed = ", "is not a TOML file"),
        ('"../frames"', '"/frames"', "is the absolute path /frames"),
        ('"right_paw", "tail"]', '"right_paw"]', "unknown keypoint 'tail'"),
    ],
)
def test_a_damaged_project_file_is_named_with_what_is_wrong(tmp_path, old, new, message):
    path = make_project(tmp_path).root / "labelkit.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProjectError, match=message):
        open_project(path.parent)


def test_the_store_is_in_the_project_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    monkeypatch.delenv("LABELKIT_DB", raising=False)
    assert project.store_url.startswith("sqlite:///")
    assert project.store_url.endswith("/frames-labelkit/labels.db")
    monkeypatch.setenv("LABELKIT_DB", "postgresql+psycopg://h/d")
    assert project.store_url == "postgresql+psycopg://h/d"


def test_images_in_a_read_only_folder_get_their_project_here(tmp_path, monkeypatch):
    (tmp_path / "shared" / "frames").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "shared").chmod(0o555)  # says "do not write" to root too
    made = default_project_root(tmp_path / "shared" / "frames")
    (tmp_path / "shared").chmod(0o755)
    assert made == tmp_path.resolve() / "here" / "frames-labelkit"


def test_bootstrap_puts_the_project_beside_the_images(tmp_path, monkeypatch):
    (tmp_path / "frames").mkdir()
    assert default_project_root(tmp_path / "frames") == tmp_path.resolve() / "frames-labelkit"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert default_project_root(tmp_path / "a" / "b") == tmp_path.resolve() / "b-labelkit"


def test_one_command_at_a_time_changes_a_project(tmp_path):
    project = make_project(tmp_path)
    command = [
        sys.executable,
        "-c",
        "import sys; from pathlib import Path\n"
        "from labelkit.project.project import lock_project, open_project\n"
        "with lock_project(open_project(Path(sys.argv[1]))): print('locked')",
        str(project.root),
    ]
    with lock_project(project):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Another labelkit command is at work" in other.stderr
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout == "locked\n"


@pytest.mark.parametrize("rank", ["RANK", "SLURM_PROCID", "LOCAL_RANK"])
def test_processes_that_help_with_a_training_work_under_the_first_ones_lock(
    tmp_path, monkeypatch, rank
):
    project = make_project(tmp_path)
    with lock_project(project):
        monkeypatch.setenv(rank, "0")
        with pytest.raises(ProjectError, match="Another"), lock_project(project):
            pass
        monkeypatch.setenv(rank, "1")
        with lock_project(project):
            pass
