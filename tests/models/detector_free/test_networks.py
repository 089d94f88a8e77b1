"""Both networks behind one interface: any number of objects, any skeleton, objects that touch."""

from __future__ import annotations

import os

import pytest
import torch
from scenes import make_scenes, overfit

from labelkit.models.detector_free.bottom_up import BottomUp, grouped, tag_losses
from labelkit.models.detector_free.instances import labelled
from labelkit.models.detector_free.interface import SCORE_FLOOR, DetectorFree
from labelkit.models.detector_free.maps import STRIDES, draw
from labelkit.models.detector_free.presets import DETECTOR_FREE, KINDS, build_detector_free
from labelkit.models.detector_free.single_stage import contrast_loss
from labelkit.models.parts.backbone import Backbone
from labelkit.models.presets import PRESETS
from labelkit.workflows.synthetic.figure_drawing import SKELETON

both_kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, keypoints: int = 3) -> DetectorFree:
    torch.manual_seed(0)
    return build_detector_free(kind, "test_resnet", keypoints, (0.08,) * keypoints, 32, False)


def objects(count: int, keypoints: int = 3, side: float = 64.0) -> object:
    xy = torch.rand(count, keypoints, 2, generator=torch.Generator().manual_seed(1)) * side
    return labelled(xy, torch.ones(count, keypoints, dtype=torch.int8))


@both_kinds
@pytest.mark.parametrize("keypoints", [1, 3])
def test_images_with_no_one_and_500_objects_give_a_finite_loss_and_finite_gradients(
    kind, keypoints
):
    network = make(kind, keypoints)
    canvases = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    truths = [objects(count, keypoints) for count in (0, 1, 500)]
    loss = network.loss(network(network.pixels(canvases)), truths, torch.ones(3, 16, 16))
    loss.backward()
    assert loss.isfinite()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@both_kinds
def test_every_parameter_gets_a_gradient(kind):
    network = make(kind)
    canvases = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    truths = [objects(2), objects(3)]
    network.loss(network(network.pixels(canvases)), truths, torch.ones(2, 16, 16)).backward()
    idle = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


@both_kinds
def test_a_batch_without_any_object_still_trains(kind):
    network = make(kind)
    canvases = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    loss = network.loss(
        network(network.pixels(canvases)), [objects(0), objects(0)], torch.ones(2, 16, 16)
    )
    loss.backward()
    assert loss.isfinite()


@both_kinds
def test_found_objects_are_sorted_scored_from_the_floor_and_have_a_place_for_each_keypoint(kind):
    network = make(kind).eval()
    with torch.no_grad():  # something everywhere
        network.shared[-1].bias.fill_(1.0)
    for one in network.find(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)):
        assert len(one.score) > 0
        assert (one.score.diff() <= 0).all()
        assert (one.score >= SCORE_FLOOR).all()
        assert one.xy.isfinite().all()
        assert ((one.xy >= 0) & (one.xy <= torch.tensor([96, 64]))).all()


@both_kinds
def test_it_learns_and_finds_objects_in_half_precision_too(kind):
    network = make(kind)
    with torch.no_grad():
        network.shared[-1].bias.fill_(1.0)
    canvases = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(network.pixels(canvases))
        loss = network.loss(output, [objects(2), objects(3)], torch.ones(2, 16, 16))
        found = network.decode(output)
    loss.backward()
    assert loss.isfinite()
    assert all(one.xy.dtype == torch.float32 and len(one.xy) > 0 for one in found)


@both_kinds
def test_an_image_of_nothing_has_no_objects(kind):
    network = make(kind).eval()
    with torch.no_grad():
        network.shared[-1].bias.fill_(-9.0)
    (one,) = network.find(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert one.xy.shape == (0, 3, 2)
    assert one.boxes.shape == (0, 4)


@both_kinds
def test_unknown_keypoints_teach_an_object_nothing(kind):
    network = make(kind).eval()
    output = network(network.pixels(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))
    known = labelled(
        torch.tensor([[[9.0, 9.0], [40.0, 40.0], [0.0, 0.0]]]), torch.tensor([[1, 1, 0]])
    )
    unknown = known._replace(presence=torch.tensor([[1, 1, -1]]))
    nowhere = torch.zeros(1, 16, 16)
    torch.manual_seed(0)
    before = network.loss(output, [known], nowhere)
    torch.manual_seed(0)
    after = network.loss(output, [unknown], nowhere)
    assert after <= before


def test_tags_of_one_object_are_pulled_together_and_those_of_two_pushed_apart():
    tags = torch.zeros(2, 2, 4, 4)
    tags[:, 0] = torch.arange(4.0)  # the column
    xy = torch.tensor([[[0.5, 0.5], [2.5, 0.5]], [[1.5, 3.5], [1.5, 2.5]]])
    pull, push = tag_losses(tags, xy, torch.ones(2, 2, dtype=torch.bool))
    # first object: 0 and 2 around 1, second: 1 and 1; both means are 1
    assert pull.item() == pytest.approx((1.0 + 0.0) / 2)
    assert push.item() == pytest.approx(1.0)
    nothing = tag_losses(tags, xy[:0], torch.ones(0, 2, dtype=torch.bool))
    assert [float(value) for value in nothing] == [0.0, 0.0]


def test_peaks_are_grouped_by_tag_whatever_their_order():
    keypoint = torch.tensor([0, 0, 1, 1, 2])
    height = torch.tensor([0.9, 0.8, 0.9, 0.8, 0.5])
    tags = torch.tensor([[0.0, 0.0], [5.0, 0.0], [5.2, 0.0], [0.2, 0.0], [9.0, 0.0]])
    group, means = grouped(keypoint, height, tags)
    assert group[0] == group[3] != group[1] == group[2]
    assert len(means) == 3  # the last peak is alone
    assert means[group[0]].tolist() == pytest.approx([0.2 * 0.8 / 1.7, 0.0])


def test_no_peaks_make_no_groups():
    none = torch.zeros(0, dtype=torch.long)
    group, means = grouped(none, torch.zeros(0), torch.zeros(0, 2))
    assert (group.shape, means.shape) == ((0,), (0, 2))


def test_equal_objects_beside_each_other_are_read_as_two_bottom_up():
    network = BottomUp(Backbone("test_resnet", STRIDES), 2, (0.08, 0.08), dim=32)
    points = torch.tensor([[[4.5, 4.5], [4.5, 10.5]], [[8.5, 4.5], [8.5, 10.5]]])
    heat = draw(points, torch.ones(2, 2, dtype=torch.bool), (16, 16)).amax(dim=0)
    tags = torch.zeros(2, 2, 16, 16)
    tags[:, 0] = (torch.arange(16.0) // 6.5) * 3  # left half and right half
    found = network._decoded(heat.clamp(1e-4, 1 - 1e-4).logit(), tags)
    assert sorted(found.xy[:2, 0, 0].round().tolist()) == [18.0, 34.0]
    assert found.xy[:, 0, 0].tolist() == pytest.approx(found.xy[:, 1, 0].tolist(), abs=0.1)


def test_contrast_compares_objects_of_the_same_image_only():
    alike = torch.ones(2, 4)
    assert contrast_loss(alike, torch.tensor([0, 1])).item() == pytest.approx(0, abs=1e-6)
    assert contrast_loss(alike, torch.tensor([0, 0])).item() == pytest.approx(0.6931, abs=1e-4)


def test_each_preset_has_a_backbone_with_all_strides():
    assert DETECTOR_FREE.keys() == PRESETS.keys()
    for preset in PRESETS.values():
        assert Backbone(preset["backbone"], STRIDES).strides == STRIDES


@pytest.mark.slow
@both_kinds
def test_it_learns_two_scenes_of_touching_robots_by_heart(kind):
    torch.manual_seed(0)
    network = build_detector_free(kind, "test_resnet", len(SKELETON), SKELETON.sigmas, 32, False)
    assert overfit(network, make_scenes([2, 3], 96), steps=420, lr=1e-2) > 0.9


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a minute of processor time each, on a machine that may be busy
@pytest.mark.skipif("LABELKIT_LONG" not in os.environ, reason="minutes: set LABELKIT_LONG=1")
@both_kinds
def test_it_learns_eight_crowded_scenes_by_heart(kind):
    torch.manual_seed(0)
    network = build_detector_free(kind, "test_resnet", len(SKELETON), SKELETON.sigmas, 32, False)
    assert overfit(network, make_scenes([2, 3] * 4, 128), steps=700, lr=8e-3) > 0.95
