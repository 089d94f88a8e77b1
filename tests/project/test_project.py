import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_project, stick_skeleton

from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import ProjectError
from labelkit.project.project import (
    BENCHMARK_FILE,
    change_skeleton,
    create_project,
    default_project_root,
    find_project,
    lock_project,
    open_project,
    project_with_own_store,
    remember,
    take_back_project,
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


#: A project file as earlier versions wrote it.
EARLIER = """\
# A labelkit project. Paths are relative to this file: move it with its images.
format = 1
name = "frames"
images = "../frames"
seed = 7

[skeleton]
name = "stick"
keypoints = ["nose", "left_paw", "right_paw", "tail"]
links = [["nose", "left_paw"], ["nose", "right_paw"], ["nose", "tail"]]
pairs = [["left_paw", "right_paw"]]
sigmas = [0.05, 0.1, 0.1, 0.05]
layout = [[0.5, 0.1], [0.2, 0.4], [0.8, 0.4], [0.5, 0.9]]
"""


def test_a_project_file_of_an_earlier_version_reads_the_same(tmp_path):
    project = make_project(tmp_path)
    path = project.root / "labelkit.toml"
    assert path.read_text().splitlines()[0] == EARLIER.splitlines()[0]
    path.write_text(EARLIER)
    assert open_project(project.root) == replace(project, id="")


def test_what_the_user_chose_is_remembered_until_something_else_is_chosen(tmp_path):
    project = make_project(tmp_path)
    chosen = {"boxes": "whole-image", "preset": "tiny", "epochs": 3, "rotation": 5.0}
    project = remember(project, **chosen, pretrained=False, labeled=None)
    assert open_project(project.root) == project
    assert project.options == {**chosen, "pretrained": False}
    project = remember(project, epochs=4)
    assert open_project(project.root).options == {**chosen, "pretrained": False, "epochs": 4}


def test_another_preset_brings_its_own_backbone_and_epochs(tmp_path):
    project = remember(make_project(tmp_path), preset="tiny", backbone="resnet18", epochs=3)
    same = remember(project, preset="tiny", pretrained=False)
    assert same.options["epochs"] == 3
    other = remember(same, preset="plus")
    assert other.options == {"preset": "plus", "pretrained": False}
    assert remember(same, preset="plus", epochs=9).options["epochs"] == 9


def test_descriptions_of_keypoints_are_kept_in_the_project(tmp_path):
    project = make_project(tmp_path)
    texts = {"nose": "its tip", "left_paw": 'the "left" one'}
    described = make_skeleton("s", project.skeleton.keypoints, descriptions=texts)
    change_skeleton(project, described)
    assert open_project(project.root).skeleton == described


def test_remembering_keeps_the_skeleton_and_what_a_person_wrote_into_the_file(tmp_path):
    project = make_project(tmp_path)
    path = project.root / "labelkit.toml"
    path.write_text(path.read_text().replace('name = "frames"', 'name = "salmon"'))
    assert remember(project, epochs=4).name == "salmon"
    assert open_project(project.root).skeleton == stick_skeleton()


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("[options]\nepochs = 'ten'", "epochs = 'ten'"),
        ("[options]\npretrained = 1", "pretrained = 1"),
        ("[options]\nepochs = true", "epochs = True"),
        ("options = 3", "options = 3"),
        ("store = 'elsewhere.db'", "elsewhere.db"),
        ("id = 7", "id = 7"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(tmp_path, line, item):
    path = make_project(tmp_path).root / "labelkit.toml"
    lines = [text for text in path.read_text().splitlines() if not text.startswith("id")]
    path.write_text("\n".join(lines).replace("[skeleton]", f"{line}\n\n[skeleton]"))
    with pytest.raises(ProjectError, match=item) as caught:
        open_project(path.parent)
    assert str(path) in caught.value.problem


def test_a_project_that_is_taken_back_can_be_made_again(tmp_path):
    project = make_project(tmp_path)
    (project.root / "labels.db").write_text("")
    take_back_project(project)
    assert not project.root.exists()
    assert make_project(tmp_path).root == project.root


def test_a_project_with_its_own_store_stays_one_and_another_becomes_one(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELKIT_DB", "postgresql+psycopg://h/d")
    project = make_project(tmp_path)
    assert project.store_url == "postgresql+psycopg://h/d"
    for _ in range(2):
        own = project_with_own_store(project.root, project.images_root, project.skeleton)
        assert (own.id, own.store_url) == (project.id, own.own_store_url)
    made = project_with_own_store(tmp_path / "new", project.images_root, project.skeleton)
    assert open_project(made.root).store_url == made.own_store_url


def test_hostile_names_survive(tmp_path):
    images = tmp_path / "bilder \"ü\" \\ '猫' <&>?#%20"
    images.mkdir()
    names = ['na"se', "pfote\\n", "<b>&amp;", "猫\t", "\x7f"]
    skeleton = make_skeleton("s\"k'", names)
    project = create_project(tmp_path / 'p "q"', images, skeleton)
    assert open_project(project.root) == project


def test_a_second_project_in_the_same_folder_is_refused(tmp_path):
    project = make_project(tmp_path)
    with pytest.raises(ProjectError, match=str(project.root)) as caught:
        create_project(project.root, project.images_root, stick_skeleton())
    assert f"--project {project.root}" in caught.value.next_step


def test_images_folder_and_project_folder_cannot_be_the_same_or_missing(tmp_path):
    with pytest.raises(ProjectError, match=str(tmp_path)) as caught:
        create_project(tmp_path, tmp_path, stick_skeleton())
    assert f"--project {tmp_path.parent}/{tmp_path.name}-labelkit" in caught.value.next_step
    with pytest.raises(ProjectError, match="nothing"):
        create_project(tmp_path / "p", tmp_path / "nothing", stick_skeleton())


def test_the_project_is_found_from_inside_above_and_beside_it(tmp_path):
    project = make_project(tmp_path)
    inside = project.root / "rounds" / "000"
    inside.mkdir(parents=True)
    for start in (project.root, inside, tmp_path, project.images_root):
        assert find_project(start) == project


def test_without_a_project_the_error_names_what_to_type(tmp_path):
    with pytest.raises(ProjectError, match=str(tmp_path)) as caught:
        find_project(tmp_path)
    assert "--project DIR" in caught.value.next_step
    assert "labelkit bootstrap --images DIR" in caught.value.next_step
    with pytest.raises(ProjectError, match="nowhere") as caught:
        open_project(tmp_path / "nowhere")
    assert "labelkit bootstrap --images DIR" in caught.value.next_step


def test_the_folder_around_a_project_is_refused_with_the_path_to_type(tmp_path, monkeypatch):
    project = make_project(tmp_path / "a b")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="a b") as caught:
        open_project(Path("a b"))
    assert f"--project 'a b/{project.root.name}'" in caught.value.next_step


def test_one_of_several_projects_has_to_be_chosen(tmp_path):
    project = make_project(tmp_path)
    create_project(tmp_path / "other", project.images_root, stick_skeleton())
    with pytest.raises(ProjectError, match="frames-labelkit, other") as caught:
        find_project(tmp_path)
    assert "--project frames-labelkit" in caught.value.next_step
    (tmp_path / "other" / BENCHMARK_FILE).write_text("{}")
    assert find_project(tmp_path) == project


@pytest.mark.parametrize(
    ("old", "new", "item"),
    [
        ("format = 1", "format = 2", "format 2"),
        ("seed = 7", "", "'seed'"),
        ("seed = 7", "seed = true", "seed = True"),
        ("seed = 7", "seed = ", "TOML"),
        ('"../frames"', '"/frames"', "absolute path /frames"),
        ('    "tail",\n]\nlinks', "]\nlinks", "'tail'"),
    ],
)
def test_a_damaged_project_file_is_named_with_what_is_wrong(tmp_path, old, new, item):
    path = make_project(tmp_path).root / "labelkit.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProjectError, match=item) as caught:
        open_project(path.parent)
    assert str(path) in caught.value.problem


def test_the_store_is_in_the_project_unless_the_environment_names_another(tmp_path, monkeypatch):
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
    (tmp_path / "shared").chmod(0o555)  # for root too
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
    assert f"ProjectError: Another labelkit command is at work in {project.root}" in other.stderr
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout == "locked\n"


def test_commands_of_different_work_run_side_by_side(tmp_path):
    project = make_project(tmp_path)
    with lock_project(project), lock_project(project, "sync"):
        with pytest.raises(ProjectError, match="Another"), lock_project(project, "sync"):
            pass
        with pytest.raises(ProjectError, match="Another"), lock_project(project):
            pass


def test_a_lock_leaves_no_handler_behind(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    with lock_project(project):
        pass
    handlers = []
    monkeypatch.setattr(os, "register_at_fork", lambda **handler: handlers.append(handler))
    for _ in range(3):
        with lock_project(project):
            pass
    assert handlers == []


@pytest.mark.parametrize("reason", [errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_keeps_no_command_out(tmp_path, monkeypatch, reason):
    def no_locks(*_):
        raise OSError(reason, os.strerror(reason))

    project = make_project(tmp_path)
    monkeypatch.setattr("fcntl.flock", no_locks)
    with lock_project(project), lock_project(project):
        pass


def test_a_project_that_cannot_be_written_is_refused_with_its_reason(tmp_path):
    project = make_project(tmp_path)
    (project.root / ".lock").mkdir()
    with pytest.raises(ProjectError, match=r"\.lock .*directory") as caught, lock_project(project):
        pass
    assert "writable" in caught.value.next_step


@pytest.mark.parametrize("rank", ["RANK", "SLURM_PROCID", "LOCAL_RANK"])
def test_additional_processes_of_a_training_work_under_the_lock_of_the_first(
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
