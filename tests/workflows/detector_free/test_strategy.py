"""The training strategy, piece by piece, with numbers worked by hand and no trained network."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from labelkit.models.detector_free.instances import Instances, labelled
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.models.detector_free.maps import draw
from labelkit.workflows.detector_free.strategy import (
    BURN_IN,
    DECAYS,
    LONG,
    RAMP,
    RATE,
    STRATEGIES,
    WEIGHT,
    ScoreThreshold,
    Taught,
    View,
    chosen,
    confident,
    ema_decay,
    heatmap_consistency,
    in_view,
    keeping_statistics,
    move,
    ramp,
    random_view,
    spread,
    strong_pixels,
    taught,
    teacher_of,
    unlabelled_loss,
    update_teacher,
    warp,
)

IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
#: Left and right of a canvas of 64 pixels exchanged.
MIRROR = torch.tensor([[[-1.0, 0.0, 64.0], [0.0, 1.0, 0.0]]])
NOT_MIRRORED, MIRRORED = torch.tensor([False]), torch.tensor([True])
SIZE = (64, 64)


def objects(
    xy: list[list[list[float]]], confidence: list[list[float]], score: list[float]
) -> Instances:
    """Objects as a network finds them."""
    sure = torch.tensor(confidence)
    return Instances(
        torch.tensor(xy), torch.ones(sure.shape, dtype=torch.int8), sure, torch.tensor(score)
    )


TRIANGLE = [[10.0, 10.0], [50.0, 10.0], [30.0, 50.0]]


def one_object(confidence: float = 0.9, score: float = 0.8, shift: float = 0.0) -> Instances:
    xy = [[x + shift, y] for x, y in TRIANGLE]
    return objects([xy], [[confidence] * 3], [score])


def test_the_four_rows_are_both_signals_each_alone_and_neither():
    assert [(s.heatmaps, s.instances) for s in STRATEGIES.values()] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert not STRATEGIES["supervised-only"].uses_unlabelled


def test_the_weight_is_nothing_in_burn_in_and_rises_to_its_full_value():
    steps = 1000
    assert ramp(0, steps) == ramp(round(BURN_IN * steps) - 1, steps) == 0
    assert ramp(round(BURN_IN * steps), steps) == pytest.approx(WEIGHT * math.exp(-5))
    half = ramp(round((BURN_IN + RAMP / 2) * steps), steps)
    assert half == pytest.approx(WEIGHT * math.exp(-5 / 4))
    assert ramp(round((BURN_IN + RAMP) * steps), steps) == ramp(steps, steps) == WEIGHT


def test_the_teacher_follows_ever_more_slowly_and_faster_in_short_trainings():
    assert ema_decay(LONG, LONG) == DECAYS[1]
    assert ema_decay(round(BURN_IN * LONG), LONG) == pytest.approx(DECAYS[0])
    # A hundredth of the steps forgets a hundred times as fast.
    assert ema_decay(LONG // 100, LONG // 100) == pytest.approx(1 - 100 * (1 - DECAYS[1]))
    assert ema_decay(0, LONG) == 0  # a copy at first
    decays = [ema_decay(step, LONG) for step in range(0, LONG, 500)]
    assert decays == sorted(decays)


def test_the_teacher_moves_its_weights_and_running_means_and_has_no_gradient():
    student = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    teacher = copy.deepcopy(student)
    with torch.no_grad():
        student[0].weight.fill_(1.0)
        teacher[0].weight.fill_(0.0)
        student[1].running_mean.fill_(4.0)
        student[1].num_batches_tracked.fill_(7)
    update_teacher(teacher, student, 0.75)
    assert teacher[0].weight.item() == 0.25
    assert teacher[1].running_mean.item() == 1.0
    assert teacher[1].num_batches_tracked.item() == 7


def test_a_point_drawn_on_a_canvas_is_where_the_map_takes_it_in_every_view():
    generator = torch.Generator().manual_seed(0)
    view = random_view(8, (64, 96), mirror=True, generator=generator)
    assert view.mirrored.any()
    assert not view.mirrored.all()
    point = torch.tensor([[50.0, 30.0]])
    cells = (point / 4).expand(8, 1, 2)
    maps = draw(cells, torch.ones(8, 1, dtype=torch.bool), (16, 24))
    warped = warp(maps, view.affine, (64, 96))
    for index in range(8):
        x, y = (move(point, view.affine[index])[0] / 4).tolist()
        row, column = divmod(int(warped[index, 0].argmax()), 24)
        assert abs(column + 0.5 - x) <= 1
        assert abs(row + 0.5 - y) <= 1


def test_a_view_mirrors_only_where_a_mirror_image_is_valid():
    generator = torch.Generator().manual_seed(0)
    view = random_view(50, SIZE, mirror=False, generator=generator)
    assert not view.mirrored.any()
    assert (view.affine[:, :, :2].det() > 0).all()


def test_a_mirrored_map_is_the_map_read_backwards_and_a_shift_leaves_nothing_behind():
    maps = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    assert torch.allclose(warp(maps, MIRROR, SIZE), maps.flip(3), atol=1e-4)
    shifted = IDENTITY.clone()
    shifted[0, 0, 2] = 32.0  # half a canvas to the right
    moved = warp(torch.ones(1, 1, 16, 16), shifted, SIZE)
    assert moved[..., :8].max() == 0
    assert moved[..., 8:].min().item() == pytest.approx(1)


def test_strong_pixels_have_the_canvas_size_and_the_same_ones_for_the_same_generator():
    canvases = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    view = View(IDENTITY.expand(2, 2, 3), torch.zeros(2, dtype=torch.bool))
    first, second = (
        strong_pixels(canvases, view, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert first.dtype == torch.uint8
    assert first.shape == canvases.shape
    assert torch.equal(first, second)
    assert not torch.equal(first, canvases)


def test_only_the_surroundings_of_high_peaks_are_confident():
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 8, 8], maps[0, 0, 1, 1] = 0.9, 0.3
    mask = confident(maps)
    assert mask[0, 0, 5:12, 5:12].all()
    assert mask.sum() == 49


def test_consistency_is_zero_for_the_same_maps_and_ignores_what_the_teacher_is_not_sure_of():
    teacher = draw(torch.tensor([[[8.5, 8.5], [3.5, 3.5]]]), torch.ones(1, 2).bool(), (16, 16))
    teacher[:, 1] *= 0.3
    view, flip = View(IDENTITY, NOT_MIRRORED), (0, 1)
    assert heatmap_consistency(teacher, teacher, view, flip, SIZE) < 1e-9
    other = teacher.clone()
    other[:, 1] = 1.0  # all wrong, where there is no confident peak
    assert heatmap_consistency(other, teacher, view, flip, SIZE) < 1e-9
    other = teacher.clone()
    other[:, 0] = 0.0
    missed = heatmap_consistency(other, teacher, view, flip, SIZE)
    assert 0.3 < missed < 0.7  # the mass of a squared Gaussian is half of its own


def test_consistency_exchanges_left_and_right_in_a_mirrored_view():
    points = torch.tensor([[[3.5, 8.5], [10.5, 8.5]]])
    there = torch.ones(1, 2, dtype=torch.bool)
    teacher = draw(points, there, (16, 16))
    mirrored = draw(torch.tensor([[[5.5, 8.5], [12.5, 8.5]]]), there, (16, 16))
    view = View(MIRROR, MIRRORED)
    assert heatmap_consistency(mirrored, teacher, view, (1, 0), SIZE) < 1e-4
    assert heatmap_consistency(mirrored, teacher, view, (0, 1), SIZE) > 0.5


def test_consistency_outside_the_canvas_counts_nothing():
    teacher = draw(torch.tensor([[[8.5, 8.5]]]), torch.ones(1, 1).bool(), (16, 16))
    away = IDENTITY.clone()
    away[0, 0, 2] = 200.0
    view = View(away, NOT_MIRRORED)
    assert heatmap_consistency(torch.ones(1, 1, 16, 16), teacher, view, (0,), SIZE) == 0


def test_the_score_threshold_rises_while_too_many_pass_and_falls_while_too_few_do():
    threshold = ScoreThreshold(objects_per_image=4.0)  # half of them: 2
    start = float(threshold.value)
    nothing = one_object().take(torch.zeros(1, dtype=torch.bool))
    threshold.adapt([nothing])
    assert float(threshold.value) == pytest.approx(start - RATE)
    four = objects([TRIANGLE] * 4, [[1.0] * 3] * 4, [0.9] * 4)
    threshold.adapt([four])
    assert float(threshold.value) == pytest.approx(start)
    two = objects([TRIANGLE] * 2, [[1.0] * 3] * 2, [0.9] * 2)
    threshold.adapt([two])
    assert float(threshold.value) == pytest.approx(start)


def test_an_object_that_stays_in_place_in_every_view_has_no_spread():
    found = one_object()
    sure = torch.ones(1, 3, dtype=torch.bool)
    assert spread(found, sure, [one_object(), one_object()]).tolist() == [[0.0] * 3]
    # Positions 0, 3 and 0: a mean of 1, distances 1, 2 and 1. The box is 1.2 x 40 pixels.
    moved = spread(found, sure, [one_object(shift=3.0), one_object()])
    assert moved[0].tolist() == pytest.approx([4 / 3 / 48] * 3)


def test_the_nearest_object_of_a_view_counts_and_a_view_without_objects_forbids_all():
    found, sure = one_object(), torch.ones(1, 3, dtype=torch.bool)
    far = one_object(shift=40.0)
    several = Instances(*(torch.cat(pair) for pair in zip(far, found, strict=True)))
    assert spread(found, sure, [several]).tolist() == [[0.0] * 3]
    nothing = found.take(torch.zeros(1, dtype=torch.bool))
    assert spread(found, sure, [nothing]).tolist() == [[math.inf] * 3]


def heat_at(found: Instances) -> Tensor:
    return draw(found.xy / 4, torch.ones(found.xy.shape[:2]).bool(), (16, 16)).amax(dim=(0, 1))


def test_a_good_object_becomes_a_label_and_leaves_nothing_uncertain():
    found = one_object()
    said = chosen(found, [one_object()], 0.5, heat_at(found))
    assert said.objects.presence.tolist() == [[1, 1, 1]]
    assert not said.uncertain.any()


@pytest.mark.parametrize(
    ("found", "view", "threshold"),
    [
        (one_object(score=0.4), one_object(), 0.5),
        (one_object(confidence=0.1), one_object(), 0.5),
        (one_object(), one_object(shift=9.0), 0.5),
    ],
    ids=["low score", "no confident point", "moves"],
)
def test_an_object_that_fails_any_test_is_no_label_and_its_box_no_background(
    found, view, threshold
):
    said = chosen(found, [view], threshold, heat_at(found))
    assert len(said.objects.score) == 0
    assert said.uncertain[2:13, 2:13].all()


def test_a_doubtful_object_beside_a_good_one_is_uncertain_and_the_rest_background():
    good = objects([[[4.0, 4.0], [12.0, 4.0], [8.0, 12.0]]], [[0.9] * 3], [0.8])
    doubtful = objects([[[40.0, 40.0], [56.0, 40.0], [48.0, 56.0]]], [[0.2] * 3], [0.1])
    found = Instances(*(torch.cat(pair) for pair in zip(good, doubtful, strict=True)))
    said = chosen(found, [found], 0.5, heat_at(good))
    assert said.objects.score.tolist() == pytest.approx([0.8])
    assert said.uncertain[10:14, 10:14].all()
    assert not said.uncertain[:8, :8].any()


def test_points_that_the_teacher_is_not_sure_of_are_unknown_and_their_surroundings_uncertain():
    found = objects([[*TRIANGLE, [10.0, 50.0]]], [[0.9, 0.9, 0.9, 0.1]], [0.7])
    said = chosen(found, [found], 0.5, heat_at(found))
    assert said.objects.presence.tolist() == [[1, 1, 1, -1]]
    assert said.uncertain[12, 2]
    assert not said.uncertain[2, 2]


def test_a_point_that_moves_from_view_to_view_is_unknown_and_the_others_are_labels():
    found = objects([[*TRIANGLE, [10.0, 50.0]]], [[0.9] * 4], [0.8])
    view = found._replace(xy=found.xy.clone())
    view.xy[0, 3] += 9.0
    said = chosen(found, [view], 0.5, heat_at(found))
    assert said.objects.presence.tolist() == [[1, 1, 1, -1]]
    assert said.uncertain[12, 2]


def test_one_confident_point_is_enough_for_a_skeleton_of_one():
    found = objects([[[30.0, 30.0]]], [[0.9]], [0.9])
    said = chosen(found, [found], 0.5, heat_at(found))
    assert said.objects.presence.tolist() == [[1]]


def test_an_image_of_which_the_teacher_knows_no_object_is_uncertain_everywhere():
    nothing = one_object().take(torch.zeros(1, dtype=torch.bool))
    said = chosen(nothing, [nothing], 0.5, torch.zeros(16, 16))
    assert said.uncertain.all()


def test_what_a_teacher_says_moves_with_the_view():
    said = Taught(one_object(), torch.zeros(16, 16, dtype=torch.bool))
    seen = in_view(said, MIRROR[0], True, (1, 0, 2), SIZE)
    assert seen.objects.xy.tolist() == [[[14.0, 10.0], [54.0, 10.0], [34.0, 50.0]]]
    assert not seen.uncertain.any()
    away = IDENTITY[0].clone()
    away[0, 2] = 20.0
    seen = in_view(said, away, False, (1, 0, 2), SIZE)
    assert seen.objects.presence.tolist() == [[1, 0, 1]]  # the second is at 70
    assert seen.uncertain[:, :5].all()
    assert not seen.uncertain[:, 6:].any()
    away[0, 2] = 100.0
    assert len(in_view(said, away, False, (1, 0, 2), SIZE).objects.score) == 0


class Colours(DetectorFree):
    """Finds one object in each canvas: its keypoint is the brightest pixel."""

    def __init__(self) -> None:
        super().__init__(1, (0.08,))
        self.scale = nn.Parameter(torch.ones(()))
        self.truths: list[Any] = []

    def forward(self, images: Tensor) -> Tensor:
        return images

    def heatmaps(self, output: Tensor) -> Tensor:
        bright = nn.functional.max_pool2d(output.mean(dim=1, keepdim=True), 4)
        return self.scale * (bright == bright.amax(dim=(2, 3), keepdim=True)).float()

    def loss(self, output: Tensor, truths: Any, counts: Tensor) -> Tensor:
        self.truths.append((truths, counts))
        return self.scale * 1.0

    def decode(self, output: Tensor) -> list[Instances]:
        found = []
        for one in output.mean(dim=1):
            row, column = divmod(int(one.argmax()), one.shape[1])
            xy = torch.tensor([[[column + 0.5, row + 0.5]]])
            found.append(
                Instances(xy, torch.ones(1, 1).to(torch.int8), torch.ones(1, 1), torch.ones(1))
            )
        return found


def bright_spot() -> Tensor:
    canvas = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    canvas[..., 20:24, 30:34] = 200
    canvas[..., 21, 31] = 255
    return canvas


def test_the_teacher_is_asked_in_magnified_and_mirrored_views_and_agrees_with_itself():
    network, canvas = Colours(), bright_spot()
    output = network(network.pixels(canvas))
    found, heat = network.decode(output), network.heatmaps(output)
    (said,) = taught(network, canvas, found, heat, 0.5, (0,))
    assert said.objects.xy.tolist() == [[[31.5, 21.5]]]


def test_the_student_learns_pseudo_labels_where_its_own_view_shows_them():
    student, canvas = Colours(), bright_spot()
    teacher = teacher_of(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    threshold = ScoreThreshold(1.0)
    loss, count = unlabelled_loss(
        STRATEGIES["both"],
        student,
        teacher,
        canvas,
        threshold,
        (0,),
        True,
        torch.Generator().manual_seed(0),
    )
    loss.backward()
    assert count == 1
    ((truths, counts),) = student.truths
    view = random_view(1, SIZE, True, torch.Generator().manual_seed(0))
    expected = move(torch.tensor([[31.5, 21.5]]), view.affine[0])
    assert torch.allclose(truths[0].xy[0], expected)
    assert counts.shape == (1, 16, 16)
    assert student.scale.grad is not None


def test_strong_views_leave_the_running_means_of_labelled_images_alone():
    network = nn.Sequential(nn.BatchNorm1d(1, momentum=0.5))
    with keeping_statistics(network):
        normalised = network(torch.tensor([[2.0], [4.0]]))
    assert normalised.flatten().tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)
    assert network[0].running_mean.tolist() == [0.0]
    network(torch.tensor([[2.0], [4.0]]))
    assert network[0].running_mean.tolist() == [1.5]  # half way from 0 to 3


def test_heatmap_consistency_alone_asks_for_no_instances():
    student = Colours()
    loss, count = unlabelled_loss(
        STRATEGIES["heatmap consistency"],
        student,
        teacher_of(student),
        bright_spot(),
        ScoreThreshold(1.0),
        (0,),
        False,
        torch.Generator().manual_seed(0),
    )
    assert count == 0
    assert student.truths == []
    assert loss.requires_grad


def test_labels_of_people_have_full_confidence():
    assert labelled(torch.zeros(1, 1, 2), torch.ones(1, 1)).score.tolist() == [1.0]
