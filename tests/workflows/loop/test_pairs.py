"""Left and right: found by name, shown when a project is made, named by the user if need be."""

import pytest
from builders import write_picture
from lines import Lines
from trained import SKIP_NOTHING, TINY

from labelkit.errors import SkeletonError
from labelkit.project.project import open_project
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.bootstrap import bootstrap
from labelkit.workflows.upkeep.skeleton import edit_skeleton


@pytest.fixture
def frames(tmp_path):
    """Two pictures; beside them bug.toml, whose antennae have a side and no partner."""
    for number in range(2):
        write_picture(tmp_path / "frames" / f"{number}.png", (32, 24), seed=number)
    names = ["head", "wingL", "wingR", "left_feeler", "feelerOpposite"]
    (tmp_path / "bug.toml").write_text(f"keypoints = {names}")
    return tmp_path / "frames"


def run(frames, pairs=None):
    """The lines that bootstrap writes, and the pairs that the project has afterwards, by name."""
    progress = Lines()
    report = bootstrap(
        frames,
        progress,
        project_root=None,
        skeleton=str(frames.parent / "bug.toml"),
        labels=(),
        boxes="whole-image",
        percent=None,
        skip=SKIP_NOTHING,
        options=TINY,
        pairs=pairs,
    )
    skeleton = open_project(report.project).skeleton
    names = [(skeleton.keypoints[a], skeleton.keypoints[b]) for a, b in skeleton.pairs]
    return progress.lines, names


def test_a_new_project_shows_its_pairs_and_who_has_no_partner(frames):
    lines, pairs = run(frames)
    assert pairs == [("wingL", "wingR")]
    (made,) = [line for line in lines if "wingL/wingR" in line]
    assert "left_feeler" in made
    assert "frames-labelkit" in made


def test_pairs_can_be_typed_when_the_project_is_made_and_later(frames):
    _, pairs = run(frames, "wingL:wingR,left_feeler:feelerOpposite")
    assert pairs == [("wingL", "wingR"), ("left_feeler", "feelerOpposite")]
    lines, pairs = run(frames, "none")
    assert pairs == []
    assert any("wingL, wingR, left_feeler" in line for line in lines)


def test_what_was_typed_stays_when_bootstrap_runs_again_without_it(frames):
    run(frames, "none")
    assert run(frames)[1] == []


def test_a_pair_with_an_unknown_name_leaves_no_project_behind(frames):
    with pytest.raises(SkeletonError, match="'wingX'"):
        run(frames, "wingL:wingX")
    assert not (frames.parent / "frames-labelkit").exists()


def test_the_skeleton_of_before_an_edit_does_not_come_back_when_the_command_is_typed_again(frames):
    run(frames)
    project = open_project(frames.parent / "frames-labelkit")
    with open_store(project) as store:
        edit_skeleton(project, store, add=["sting"])
    run(frames)
    assert open_project(project.root).skeleton.keypoints[-1] == "sting"
