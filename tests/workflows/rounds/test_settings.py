"""How a training is set up where options leave it open: shape and mirroring of its crops."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_pose, make_project
from safetensors.torch import save_file

from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.errors import UsageError
from labelkit.models.presets import PRESETS
from labelkit.project.project import open_project
from labelkit.workflows.rounds.settings import (
    WHERE_POSSIBLE,
    TrainingOptions,
    note_on_mirroring,
    parse_size,
    preset_of,
    resolve,
    with_remembered,
    without_locations,
)

TINY = TrainingOptions(preset="tiny")
PAIRED = make_skeleton("s", ["head", "wingL", "wingR"])
PLAIN = make_skeleton("s", ["head", "tail"])
ONE_SIDED = make_skeleton("s", ["head", "left_paw"])
HALF_PAIRED = make_skeleton("s", ["wingL", "wingR", "left_paw"])


def trained(skeleton: Skeleton, **options) -> dict:
    """Settings of a first round, as the next command finds them."""
    settings = resolve(TrainingOptions(preset="tiny", **options), {}, skeleton)
    return {**settings, "skeleton": {"keypoints": list(skeleton.keypoints)}}


@pytest.mark.parametrize(
    ("skeleton", "mirror", "named"),
    [
        (PAIRED, True, ""),
        (PLAIN, True, ""),
        (ONE_SIDED, False, "left_paw"),
        (HALF_PAIRED, True, "left_paw"),
    ],
)
def test_crops_are_not_mirrored_where_sides_have_no_partner(skeleton, mirror, named):
    settings = resolve(TINY, {}, skeleton)
    note = note_on_mirroring(settings, skeleton)
    assert settings["mirror"] is mirror
    assert named in note
    assert bool(note) is bool(named)
    assert ("--pairs" in note) is bool(named)
    assert ("--mirror" in note) is not mirror


@pytest.mark.parametrize("skeleton", [PAIRED, PLAIN, ONE_SIDED])
@pytest.mark.parametrize("mirror", [True, False])
def test_what_the_user_types_about_mirroring_wins_and_stays(skeleton, mirror):
    first = trained(skeleton, mirror=mirror)
    assert first["mirror"] is mirror
    assert resolve(TrainingOptions(), first, skeleton)["mirror"] is mirror


def faces(count: int, mirrored: bool) -> list[Pose]:
    """Poses of three keypoints, each turned a little; every other one mirrored, or none."""
    rng = np.random.default_rng(0)
    points = np.array([(0.0, 0.0), (4.0, 0.0), (0.0, 2.0)])
    made = []
    for number in range(count):
        angle = rng.normal(0, 0.1)
        turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
        xy = (points + rng.normal(0, 0.1, points.shape)) @ turn.T
        made.append(make_pose(xy * (-1 if mirrored and number % 2 else 1, 1)))
    return made


def test_crops_are_not_mirrored_where_mirror_images_are_unlike_all_labelled_poses():
    chin = make_skeleton("s", ["head", "tail", "chin"])
    one_way, both_ways = faces(20, mirrored=False), faces(20, mirrored=True)
    settings = resolve(TINY, {}, chin, poses=one_way)
    assert settings["mirror"] is False
    assert "--pairs" in note_on_mirroring(settings, chin)
    assert resolve(TINY, {}, chin, poses=both_ways)["mirror"]
    assert resolve(TINY, {}, chin, poses=one_way[:2])["mirror"]  # too few to tell
    assert resolve(TINY, {}, PAIRED, poses=one_way)["mirror"]  # sides swap their names
    assert resolve(TrainingOptions("tiny", mirror=True), {}, chin, poses=one_way)["mirror"]


def test_the_first_labels_decide_about_mirroring_after_ticks():
    chin = make_skeleton("s", ["head", "tail", "chin"])
    table = {"keypoints": list(chin.keypoints)}
    ticked = {**resolve(TINY, {}, chin), "skeleton": table}
    assert ticked["mirror"]
    located = {**resolve(TINY, ticked, chin, poses=faces(20, False)), "skeleton": table}
    assert located["mirror"] is False
    assert resolve(TINY, located, chin, poses=faces(40, False))["mirror"] is False


def test_naming_the_pairs_turns_mirroring_on_and_an_unpaired_side_turns_it_off():
    unpaired = make_skeleton("s", ["wingL", "wingR"], pairs=[])
    then = {**trained(unpaired), "skeleton": {"keypoints": ["wingL", "wingR"], "pairs": []}}
    assert then["mirror"] is False
    assert resolve(TrainingOptions(), then, make_skeleton("s", ["wingL", "wingR"]))["mirror"]
    assert not resolve(TrainingOptions(), trained(PLAIN), ONE_SIDED)["mirror"]


def test_a_round_of_an_earlier_version_mirrored_by_default():
    before = {"preset": "tiny", "mirror": True}
    assert resolve(TrainingOptions(), before, PAIRED)["mirror"]
    assert not resolve(TrainingOptions(), before, ONE_SIDED)["mirror"]
    assert not resolve(TrainingOptions(), {**before, "mirror": False}, PAIRED)["mirror"]


FISH = [Box(0, 0, 480, 120)] * 3


def test_the_first_training_fits_its_crops_to_elongated_boxes_and_later_ones_keep_them():
    first = resolve(TINY, {}, PAIRED, FISH)
    assert (first["input_size"], first["rotation"]) == ([64, 256], 7.5)  # a quarter of 30 degrees
    assert json.loads(json.dumps(first)) == first
    preset = preset_of(first)
    assert (preset["input_size"], preset["training"]["rotation"]) == ((64, 256), 7.5)
    assert preset["lofr"]["rotation_tta"] == 5.0  # a quarter of 20 degrees
    assert PRESETS["tiny"]["lofr"]["rotation_tta"] == 20.0
    square = [Box(0, 0, 100, 100)] * 3
    assert resolve(TrainingOptions(), first, PAIRED, square) == first
    turned = resolve(TrainingOptions(preset="tiny", rotation=180.0), {}, PAIRED, FISH)
    assert (turned["input_size"], turned["rotation"]) == ([64, 256], 180.0)


def test_square_objects_keep_the_presets_crop_and_rounds_of_earlier_versions_theirs():
    square = resolve(TINY, {}, PAIRED)
    assert preset_of(square)["input_size"] == (128, 128)
    assert resolve(TINY, {}, PAIRED, [Box(0, 0, 100, 110)]) == square
    assert resolve(TrainingOptions(), square, PAIRED, FISH) == square
    before = {key: value for key, value in square.items() if key != "input_size"}
    assert preset_of(before)["input_size"] == (96, 96)
    assert resolve(TrainingOptions(), before, PAIRED, FISH) == before


def test_the_crop_of_the_paper_stays_as_it_is():
    assert "input_size" not in resolve(TrainingOptions(preset="paper"), {}, PAIRED, FISH)
    plus = resolve(TrainingOptions(preset="plus"), {}, PAIRED, FISH)
    assert plus["input_size"] == [112, 432]


@pytest.mark.parametrize(
    ("typed", "size_hw"), [("160", (160, 160)), ("192x256", (256, 192)), ("96X96", (96, 96))]
)
def test_the_size_of_crops_is_typed_columns_first(typed, size_hw):
    assert parse_size(typed) == size_hw
    settings = resolve(TrainingOptions(preset="tiny", input_size=typed), {}, PAIRED, FISH)
    assert preset_of(settings)["input_size"] == size_hw


@pytest.mark.parametrize("typed", ["100", "16", "192x", "0x0", "-32", "large", "32x32x32"])
def test_a_size_that_networks_cannot_read_is_wrong_usage(typed):
    with pytest.raises(UsageError, match="--input-size"):
        resolve(TrainingOptions(preset="tiny", input_size=typed), {}, PAIRED)


def test_later_rounds_keep_the_size_until_another_is_typed():
    first = resolve(TrainingOptions(preset="tiny", input_size="160"), {}, PAIRED)
    assert resolve(TrainingOptions(), first, PAIRED, FISH) == first
    assert resolve(TrainingOptions(input_size="64x32"), first, PAIRED)["input_size"] == [32, 64]
    assert "input_size" not in resolve(TrainingOptions(input_size="96"), first, PAIRED)


# What a training starts from


def test_pretrained_weights_are_used_where_possible_unless_the_user_chose():
    assert resolve(TINY, {}, PAIRED)["pretrained"] == WHERE_POSSIBLE
    for chosen in (True, False):
        first = resolve(TrainingOptions(preset="tiny", pretrained=chosen), {}, PAIRED)
        assert first["pretrained"] is chosen
        assert resolve(TrainingOptions(), first, PAIRED) == first


def test_a_file_of_weights_is_remembered_relative_to_the_project(tmp_path):
    project = make_project(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    given = TrainingOptions(preset="tiny", weights=str(tmp_path / "mine.safetensors"))
    project, options = with_remembered(project, given)
    relative = Path(os.path.relpath(tmp_path / "mine.safetensors", project.root)).as_posix()
    assert options.weights == relative
    first = resolve(options, {}, PAIRED)
    assert (first["pretrained"], first["weights"]) == (True, relative)
    project, options = with_remembered(project, TrainingOptions())
    assert resolve(options, first, PAIRED) == first
    project, options = with_remembered(project, TrainingOptions(pretrained=False))
    assert "weights" not in resolve(options, first, PAIRED)


def test_weights_of_one_backbone_are_not_given_to_another(tmp_path):
    project = make_project(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    given = TrainingOptions(preset="tiny", weights=str(tmp_path / "mine.safetensors"))
    project, options = with_remembered(project, given)
    first = resolve(options, {}, PAIRED)
    project, options = with_remembered(project, TrainingOptions(backbone="resnet18"))
    later = resolve(options, first, PAIRED)
    assert (later["backbone"], "weights" in later) == ("resnet18", False)


def test_weights_that_do_not_fit_are_not_remembered(tmp_path):
    project = make_project(tmp_path)
    file = tmp_path / "mine.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(UsageError, match=r"does not fit test_vit: cls_token is missing"):
        with_remembered(project, TrainingOptions(backbone="test_vit", weights=str(file)))
    assert open_project(project.root).options == {}


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"weights": "gone.safetensors"}, "gone"),
        ({"weights": "w", "pretrained": False}, "--weights"),
    ],
)
def test_weights_that_are_not_there_or_not_to_be_used_are_wrong_usage(tmp_path, chosen, named):
    with pytest.raises(UsageError, match=named):
        with_remembered(make_project(tmp_path), TrainingOptions(**chosen))


def test_without_locations_the_more_is_absent_the_wider_keypoints_lie_around_the_prior():
    settings = resolve(TINY, {}, PAIRED)
    read = preset_of(without_locations(settings, absent=0.4))["lofr"]
    assert (read["response"], read["cam_stride"], read["cam_pool"]) == ("cam", 16, "lse")
    assert read["pose_prior"] == pytest.approx(0.16 + 0.35 * 0.4)
    whole = preset_of(without_locations(settings, absent=0.0))["lofr"]
    assert whole["pose_prior"] == pytest.approx(0.16)
    assert preset_of(settings)["lofr"]["cam_pool"] == "topk"  # with locations


def test_a_row_of_a_benchmark_and_the_paper_decide_themselves_how_nothing_located_is_read():
    settings = {**resolve(TINY, {}, PAIRED), "changes": {"lofr": {"cam_pool": "gap"}}}
    assert preset_of(without_locations(settings, absent=0.4))["lofr"]["cam_pool"] == "gap"
    settings = {**settings, "changes": {"lofr": {"pose_prior": 0.0}}}
    assert preset_of(without_locations(settings, absent=0.4))["lofr"]["pose_prior"] == 0.0
    paper = resolve(TrainingOptions(preset="paper"), {}, PAIRED)
    assert preset_of(without_locations(paper, absent=0.4)) == PRESETS["paper"] | {
        "input_size": preset_of(paper)["input_size"],
        "training": preset_of(paper)["training"],
    }


def test_a_small_project_has_a_least_number_of_steps_unless_epochs_are_chosen():
    default, preset = trained(PLAIN), PRESETS["tiny"]["training"]
    assert (default["epochs"], default["least_steps"]) == (preset["epochs"], 1500)
    assert resolve(TrainingOptions(), default, PLAIN)["least_steps"] == 1500
    same = resolve(TrainingOptions(epochs=preset["epochs"]), default, PLAIN)
    assert same["least_steps"] == 0
    assert resolve(TrainingOptions(preset="paper"), {}, PLAIN)["least_steps"] == 0


def test_a_round_of_an_earlier_version_keeps_the_epochs_that_were_chosen():
    then = {key: value for key, value in trained(PLAIN).items() if key != "least_steps"}
    assert resolve(TrainingOptions(), then, PLAIN)["least_steps"] == 1500
    chosen = resolve(TrainingOptions(), {**then, "epochs": 3}, PLAIN)
    assert (chosen["epochs"], chosen["least_steps"]) == (3, 0)


def test_minutes_stay_until_they_are_taken_back():
    first = trained(PLAIN, minutes=15.0)
    assert resolve(TrainingOptions(), first, PLAIN)["minutes"] == 15.0
    assert "minutes" not in resolve(TrainingOptions(minutes=0.0), first, PLAIN)
    with pytest.raises(UsageError, match="--minutes"):
        resolve(TrainingOptions(minutes=-1.0), {}, PLAIN)
