"""How a training is set up where options leave it open: shape and mirroring of its crops."""

import json

import pytest

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.models.presets import PRESETS
from labelkit.workflows.rounds.settings import (
    TrainingOptions,
    note_on_mirroring,
    preset_of,
    resolve,
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
        (HALF_PAIRED, False, "left_paw"),
    ],
)
def test_crops_are_not_mirrored_where_a_side_has_no_partner(skeleton, mirror, named):
    settings = resolve(TINY, {}, skeleton)
    note = note_on_mirroring(settings, skeleton)
    assert settings["mirror"] is mirror
    assert named in note
    assert bool(note) is bool(named)
    assert ("--pairs" in note and "--mirror" in note) is bool(named)


@pytest.mark.parametrize("skeleton", [PAIRED, PLAIN, ONE_SIDED])
@pytest.mark.parametrize("mirror", [True, False])
def test_what_the_user_types_about_mirroring_wins_and_stays(skeleton, mirror):
    first = trained(skeleton, mirror=mirror)
    assert first["mirror"] is mirror
    assert resolve(TrainingOptions(), first, skeleton)["mirror"] is mirror


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
    assert (first["input_size"], first["rotation"]) == ([48, 192], 7.5)  # a quarter of 30 degrees
    assert json.loads(json.dumps(first)) == first
    preset = preset_of(first)
    assert (preset["input_size"], preset["training"]["rotation"]) == ((48, 192), 7.5)
    assert preset["lofr"]["rotation_tta"] == 5.0  # a quarter of 20 degrees
    assert PRESETS["tiny"]["lofr"]["rotation_tta"] == 20.0
    square = [Box(0, 0, 100, 100)] * 3
    assert resolve(TrainingOptions(), first, PAIRED, square) == first
    turned = resolve(TrainingOptions(preset="tiny", rotation=180.0), {}, PAIRED, FISH)
    assert (turned["input_size"], turned["rotation"]) == ([48, 192], 180.0)


def test_rounds_of_earlier_versions_and_square_objects_keep_the_presets_crop():
    before = resolve(TINY, {}, PAIRED)
    assert "input_size" not in before
    assert resolve(TrainingOptions(), before, PAIRED, FISH) == before
    assert resolve(TINY, {}, PAIRED, [Box(0, 0, 100, 110)]) == before
    assert preset_of(before)["input_size"] == (96, 96)


def test_the_crop_of_the_paper_stays_as_it_is():
    assert "input_size" not in resolve(TrainingOptions(preset="paper"), {}, PAIRED, FISH)
    plus = resolve(TrainingOptions(preset="plus"), {}, PAIRED, FISH)
    assert plus["input_size"] == [112, 432]
