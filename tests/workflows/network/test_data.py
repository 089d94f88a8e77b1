from collections import Counter

import numpy as np
import pytest
import torch
from builders import make_instance, make_pose, stick_skeleton, write_picture

from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import UNKNOWN, Pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.project.images import scan_images
from labelkit.workflows.network.crops import (
    PLAIN,
    Augmentation,
    CropView,
    crop_affine,
)
from labelkit.workflows.network.data import (
    Example,
    MixedSampler,
    PlainCrops,
    TrainingCrops,
    jitter_colours,
    loader,
    poses_in_cells,
)

SIZE_HW = (64, 64)
STILL = Augmentation(0.0, False)
SEEDS = range(40)


def make_sampler(located=range(4), answered=range(4, 20), **changes):
    options = {"batch_size": 8, "steps": 5, "located_share": 0.25, "located_odds": 1, "seed": 1}
    return MixedSampler(list(located), list(answered), **options | changes)


def batches(sampler):
    drawn = list(sampler)
    return [drawn[i : i + sampler.batch_size] for i in range(0, len(drawn), sampler.batch_size)]


@pytest.fixture
def picture(tmp_path):
    """One object in a noise picture of 100 x 80 pixels."""
    write_picture(tmp_path / "a.png", (100, 80))
    (image,) = scan_images(tmp_path).images
    return Instance(image, 0, Box(20.0, 10.0, 40.0, 60.0), "given", 2400.0)


def crops(tmp_path, example, augmentation=STILL):
    return TrainingCrops(tmp_path, [example], stick_skeleton(), SIZE_HW, augmentation)


# Which objects are drawn


def test_every_batch_holds_the_same_share_of_objects_with_locations():
    # A quarter of 8 is 2.
    for batch in batches(make_sampler()):
        assert sum(index < 4 for index, _ in batch) == 2


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.01, 1), (0.99, 7), (1.0, 7)])
def test_both_kinds_are_in_every_batch_whatever_the_share(share, expected):
    for batch in batches(make_sampler(range(1), range(1, 20), located_share=share)):
        assert sum(index < 1 for index, _ in batch) == expected


@pytest.mark.parametrize(
    ("located", "odds", "expected"),
    [
        (18, 1, 7),  # of 8, as chance would have it: not the quarter that is asked for
        (10, 1, 4),
        (10, 3, 6),  # 30 of 30 + 10
        (1, 3, 2),  # 3 of 3 + 19 is less than the quarter
        (19, 17, 7),  # one place is left for those without
    ],
)
def test_the_more_objects_have_locations_the_more_of_them_are_drawn(located, odds, expected):
    sampler = make_sampler(range(located), range(located, 20), located_odds=odds)
    for batch in batches(sampler):
        assert sum(index < located for index, _ in batch) == expected


def test_with_only_one_kind_batches_are_full_of_it():
    assert all(index < 4 for index, _ in make_sampler(answered=[]))
    assert all(index >= 4 for index, _ in make_sampler(located=[]))


def test_an_epoch_has_as_many_crops_as_it_says():
    sampler = make_sampler()
    assert len(sampler) == len(list(sampler)) == 5 * 8


def test_every_object_comes_once_before_any_comes_twice():
    # 5 batches of 6 answered ones: 30 draws from 16 objects, each once or twice.
    answered = [index for index, _ in make_sampler() if index >= 4]
    assert set(answered[:16]) == set(range(4, 20))
    assert set(Counter(answered).values()) == {1, 2}


def test_the_same_seed_and_epoch_draw_the_same_crops_and_others_do_not():
    first, again, other = make_sampler(), make_sampler(), make_sampler(seed=2)
    assert list(first) == list(again)
    assert list(first) != list(other)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_a_resumed_epoch_draws_what_the_uninterrupted_run_drew():
    through, resumed = make_sampler(), make_sampler()
    epochs = []
    for epoch in range(4):
        through.set_epoch(epoch)
        epochs.append(list(through))
    resumed.set_epoch(3)
    assert list(resumed) == epochs[3]


def test_devices_share_one_order_and_each_gets_both_kinds():
    whole = make_sampler(batch_size=8)
    parts = [make_sampler(batch_size=4, rank=rank, world_size=2) for rank in (0, 1)]
    together = [item for pair in zip(*map(list, parts), strict=True) for item in pair]
    assert together == list(whole)
    for part in parts:
        for batch in batches(part):
            assert sum(index < 4 for index, _ in batch) == 1


# Crops and their targets


def test_a_crop_depends_on_its_index_and_seed_alone(tmp_path, picture):
    data = crops(tmp_path, Example(picture, np.ones(4, bool), None), Augmentation(180.0, True))
    first, again, other = data[0, 5], data[0, 5], data[0, 6]
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["image"], other["image"])


def test_an_object_without_locations_gives_its_answer_and_no_location(tmp_path, picture):
    answer = np.array([True, False, True, False])
    data = crops(tmp_path, Example(picture, answer, None))
    for seed in SEEDS:
        item = data[0, seed]
        assert item["presence"].tolist() == [1, 0, 1, 0]
        assert item["xy"].tolist() == [[0, 0]] * 4
        assert item["located"].tolist() == [0, 0, 0, 0]


def test_an_object_without_an_answer_has_no_targets(tmp_path, picture):
    unknown = np.full(4, UNKNOWN)
    item = crops(tmp_path, Example(picture, unknown, None))[0, 0]
    for known in ("presence", "answered", "xy", "located"):
        assert not item[known].any()
    assert crops(tmp_path, Example(picture, np.zeros(4, bool), None))[0, 0]["answered"].all()
    # Locations are an answer too.
    located = make_pose(((40, 40), (0, 0), (40, 42), (40, 38)), [2, 0, 1, 2])
    assert crops(tmp_path, Example(picture, unknown, located))[0, 0]["answered"].all()


def test_a_keypoint_that_the_skeleton_got_later_has_no_target_and_no_presence(tmp_path, picture):
    pose = make_pose(((40, 40), (0, 0), (0, 0), (41, 38)), [2, 0, UNKNOWN, 1])
    item = crops(tmp_path, Example(picture, pose.presence, pose))[0, 0]
    assert item["answered"].tolist() == [1, 1, 0, 1]
    assert item["located"].tolist() == [1, 1, 0, 1]
    assert item["presence"].tolist() == [1, 0, 0, 1]
    assert item["xy"][2].tolist() == [0, 0]
    without = Example(picture, np.array([1, 0, UNKNOWN, 1]), None)
    item = crops(tmp_path, without)[0, 0]
    assert item["answered"].tolist() == [1, 1, 0, 1]
    assert item["presence"].tolist() == [1, 0, 0, 1]


def test_a_mirror_image_swaps_what_is_known_of_the_sides(tmp_path, picture):
    example = Example(picture, np.array([1, 1, UNKNOWN, 0]), None)
    data = crops(tmp_path, example, Augmentation(0.0, True))
    answered = {tuple(data[0, seed]["answered"].tolist()) for seed in SEEDS}
    assert answered == {(1, 1, 0, 1), (1, 0, 1, 1)}


def test_a_tick_without_a_location_keeps_the_whole_box_in_the_crop(tmp_path, picture):
    """The box of `picture` is in the crop wherever a keypoint may be, so the tick stays true."""
    pose = make_pose(((40, 40), (0, 0), (0, 0), (41, 38)), [2, 0, UNKNOWN, 1])
    ticked = Example(picture, np.array([1, 0, 1, 1]), pose)
    data = crops(tmp_path, ticked, Augmentation(180.0, True))
    answers_only = crops(
        tmp_path, Example(picture, np.array([1, 0, 1, 1]), None), Augmentation(180.0, True)
    )
    for seed in SEEDS:
        assert torch.equal(data[0, seed]["image"], answers_only[0, seed]["image"])
        assert data[0, seed]["presence"].sum() == 3


def test_views_without_locations_keep_the_whole_box_so_that_the_answer_stays_true(
    tmp_path, picture, monkeypatch
):
    affines = []

    def remember(path, affine, size_hw, *rest):
        affines.append(affine)
        return np.zeros((*size_hw, 3), np.uint8)

    monkeypatch.setattr("labelkit.workflows.network.data.read_crop", remember)
    data = crops(tmp_path, Example(picture, np.ones(4, bool), None), Augmentation(180.0, True))
    for seed in SEEDS:
        data[0, seed]
    corners = np.array([(20, 10), (60, 10), (20, 70), (60, 70)], float)
    for affine in affines:
        there = apply_affine(affine, corners)
        assert (there >= -1e-6).all()
        assert (there <= 64 + 1e-6).all()


def test_views_without_locations_do_not_depend_on_where_the_keypoints_are(tmp_path, picture):
    # The same object with unused keypoints in the store gets the same crops.
    without = Example(picture, np.array([True, True, True, False]), None)
    other_answer = Example(picture, np.array([False, False, False, True]), None)
    one, two = (
        crops(tmp_path, example, Augmentation(90.0, True)) for example in (without, other_answer)
    )
    assert all(torch.equal(one[0, seed]["image"], two[0, seed]["image"]) for seed in SEEDS)


def test_locations_move_with_the_crop(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(
        "labelkit.workflows.network.data.free_view", lambda rng, size_hw, augmentation: PLAIN
    )
    pose = make_pose(((40, 40), (20, 10), (60, 70), (30, 50)))
    item = crops(tmp_path, Example(picture, pose.present, pose))[0, 0]
    # The box is 40 x 60 around (40, 40); padded to 75 high it fills 64: .8533 pixels a pixel.
    scale = 64 / 75
    expected = [[(x - 40) * scale + 32, (y - 40) * scale + 32] for x, y in pose.xy.tolist()]
    assert item["xy"].numpy() == pytest.approx(np.array(expected), abs=1e-4)
    assert item["located"].tolist() == [1, 1, 1, 1]


def test_absent_keypoints_of_a_located_object_count_as_empty_maps(tmp_path, picture):
    pose = make_pose(((40, 40), (0, 0), (40, 42), (40, 38)), [2, 0, 1, 2])
    item = crops(tmp_path, Example(picture, pose.present, pose))[0, 0]
    assert item["presence"].tolist() == [1, 0, 1, 1]
    assert item["xy"][1].tolist() == [0, 0]
    assert item["located"].tolist() == [1, 1, 1, 1]


def test_a_located_keypoint_that_left_the_crop_is_absent_from_it(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(
        "labelkit.workflows.network.data.free_view", lambda rng, size_hw, augmentation: PLAIN
    )
    # 59 pixels to the right of the middle, where the crop shows 37.5 either way.
    pose = make_pose(((99, 40), (0, 0), (0, 0), (40, 40)), [2, 0, 0, 2])
    item = crops(tmp_path, Example(picture, pose.present, pose))[0, 0]
    assert item["presence"].tolist() == [0, 0, 0, 1]
    assert item["xy"].tolist() == [[0, 0], [0, 0], [0, 0], [32, 32]]


def test_no_located_crop_calls_a_point_present_that_lies_outside_of_it(tmp_path, picture):
    corners = make_pose(((20, 10), (60, 10), (20, 70), (60, 70)))
    data = crops(tmp_path, Example(picture, corners.present, corners), Augmentation(180.0, True))
    left = 0
    for seed in SEEDS:
        item = data[0, seed]
        inside = item["xy"][item["presence"] > 0]
        assert ((inside >= 0) & (inside <= 64)).all()
        left += int((item["presence"] == 0).sum())
    assert left > 0


def test_a_mirror_image_swaps_the_names_of_the_sides(tmp_path, picture, monkeypatch):
    pose = make_pose(((40, 40), (30, 40), (50, 45), (40, 60)), [2, 2, 0, 2])
    items = {}
    for mirrored in (False, True):
        view = CropView(mirrored=mirrored)
        monkeypatch.setattr(
            "labelkit.workflows.network.data.free_view",
            lambda rng, size, augmentation, view=view: view,
        )
        items[mirrored] = crops(tmp_path, Example(picture, pose.present, pose))[0, 0]
    assert items[False]["presence"].tolist() == [1, 1, 0, 1]
    assert items[True]["presence"].tolist() == [1, 0, 1, 1]
    x, y = items[False]["xy"][1].tolist()
    assert items[True]["xy"][2].tolist() == pytest.approx([64 - x, y])


def test_a_mirror_image_tells_nothing_of_a_side_without_a_partner(tmp_path, picture, monkeypatch):
    skeleton = make_skeleton("s", ["nose", "left_paw", "tail_l", "tail_r"])
    pose = make_pose(((40, 40), (30, 40), (50, 45), (40, 60)))
    view = CropView(mirrored=True)
    monkeypatch.setattr("labelkit.workflows.network.data.free_view", lambda *args: view)
    data = TrainingCrops(
        tmp_path, [Example(picture, pose.present, pose)], skeleton, (64, 64), Augmentation(0, True)
    )
    item = data[0, 0]
    for name in ("presence", "answered", "located"):
        assert item[name].tolist() == [1, 0, 1, 1]
    assert item["xy"][1].tolist() == [0, 0]
    _, present = poses_in_cells(data.examples, skeleton, (16, 16), mirror=True)
    assert present.tolist() == [[True] * 4, [True, False, True, True]]


def test_answers_are_mirrored_with_the_picture(tmp_path, picture):
    answer = np.array([True, True, False, True])
    data = crops(tmp_path, Example(picture, answer, None), Augmentation(0.0, True))
    answers = {tuple(data[0, seed]["presence"].tolist()) for seed in SEEDS}
    assert answers == {(1, 1, 0, 1), (1, 0, 1, 1)}


def test_without_mirroring_sides_never_change_names(tmp_path, picture):
    data = crops(tmp_path, Example(picture, np.array([True, True, False, True]), None))
    assert {tuple(data[0, seed]["presence"].tolist()) for seed in SEEDS} == {(1, 1, 0, 1)}


def test_colour_jitter_leaves_a_grey_picture_grey():
    grey = np.full((4, 4, 3), 100, np.uint8)
    changed = jitter_colours(np.random.default_rng(0), grey)
    assert changed.dtype == np.uint8
    assert (changed == changed[..., :1]).all()


def test_plain_crops_come_with_their_map_from_the_image(tmp_path, picture):
    item = PlainCrops(tmp_path, [picture], SIZE_HW)[0]
    assert item["image"].shape == (3, 64, 64)
    assert item["affine"].numpy() == pytest.approx(crop_affine(picture.box, SIZE_HW))


def test_batches_keep_the_order_of_the_instances(tmp_path):
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", (10, 10), seed=number)
    images = scan_images(tmp_path).images
    instances = [make_instance(image, box=(0, 0, 10 - n, 10)) for n, image in enumerate(images)]
    plain = PlainCrops(tmp_path, instances, SIZE_HW)
    (first, second) = loader(plain, 2, workers=0)
    together = torch.cat([first["affine"], second["affine"]])
    assert torch.equal(together, torch.stack([plain[n]["affine"] for n in range(3)]))


# Lessons of another model


def test_a_lesson_is_a_pseudo_label_with_its_scores_as_weights(tmp_path, picture):
    lesson = Pose(np.full((4, 2), 40.0), np.array([2, 2, -1, 2]), np.array([0.5, 1.0, 0.7, 0.0]))
    presence = np.array([1, -1, -1, -1], dtype=np.int8)
    taught = crops(tmp_path, Example(picture, presence, None, lesson))
    assert taught.pseudo_labels[0, :, 2].tolist() == [0.5, 1.0, 0.0, 0.0]
    item = taught[0, 3]
    assert item["located"].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert item["presence"].tolist() == [1, 1, 0, 0]
    assert item["answered"].tolist() == [1, 0, 0, 0]


def test_where_people_have_placed_keypoints_a_lesson_teaches_nothing(tmp_path, picture):
    human = make_pose([(30, 30)] * 4)
    lesson = make_pose([(40, 40)] * 4)
    taught = crops(tmp_path, Example(picture, np.ones(4, dtype=np.int8), human, lesson))
    assert not taught.pseudo_labels.any()


def test_the_tree_learns_from_lessons_where_nothing_is_labelled(picture):
    lesson = make_pose([(40, 40)] * 4)
    example = Example(picture, np.ones(4, dtype=np.int8), None, lesson)
    assert poses_in_cells([example], stick_skeleton(), (16, 16), False)[0].shape == (1, 4, 2)
