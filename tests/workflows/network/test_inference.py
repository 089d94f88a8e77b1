from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import stick_skeleton, write_picture
from torch import nn

from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Box, Instance
from labelkit.domain.skeleton import make_skeleton
from labelkit.models.parts.pixels import Pixels
from labelkit.models.reading import PoseReader
from labelkit.project.images import scan_images
from labelkit.workflows.network.decode import confidence, refine
from labelkit.workflows.network.inference import make_prediction, predict

SIZE_HW = (32, 32)
SKELETON = stick_skeleton()


class Scripted(nn.Module):
    """Predicts a Gaussian at a fixed position for each keypoint of every crop.

    Args:
        cells: (K, 2) positions in an 8 x 8 map.
        logits: (K,) presence logits.
    """

    def __init__(self, cells, logits=(3.0, 3.0, 3.0, 3.0), peak=0.5):
        super().__init__()
        axis = torch.arange(8) + 0.5
        cells = torch.tensor(cells, dtype=torch.float32)
        dx = axis[None, None, :] - cells[:, 0, None, None]
        dy = axis[None, :, None] - cells[:, 1, None, None]
        self.maps = peak * torch.exp(-(dx**2 + dy**2) / 2)
        self.logits = torch.tensor(logits)
        self.crops = []
        self.reader = PoseReader(len(cells), (8, 8))
        self.pixels = Pixels()

    def forward(self, image):
        self.crops.append(image)
        many = image.shape[0]
        maps = self.maps.expand(many, -1, -1, -1)
        return SimpleNamespace(
            heatmaps=maps,
            response=maps / maps.sum(dim=(-2, -1), keepdim=True),
            cams=maps[..., ::2, ::2] * 4,
            logits=self.logits.expand(many, -1),
        )


class Mirrored(Scripted):
    """Like a network that is right on mirror images too: predictions are mirrored with the crop."""

    def forward(self, image):
        output = super().forward(image)
        if len(self.crops) % 2:  # a crop comes before its mirror image
            return output
        flip = list(SKELETON.flip_indices)
        return SimpleNamespace(
            heatmaps=output.heatmaps.flip(-1)[:, flip],
            response=output.response.flip(-1)[:, flip],
            cams=output.cams.flip(-1)[:, flip],
            logits=output.logits[:, flip],
        )


@pytest.fixture
def instances(tmp_path):
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", (40, 40), seed=number)
    images = scan_images(tmp_path).images
    return [Instance(image, 0, Box(4, 4, 32, 32), "given", 1024.0) for image in images]


def predicted(
    network,
    instances,
    tmp_path,
    read_from="heatmaps",
    flip_test=False,
    batch_size=2,
    skeleton=SKELETON,
):
    network.reader.read_from = read_from
    return list(
        predict(
            network,
            instances,
            tmp_path,
            skeleton,
            SIZE_HW,
            batch_size=batch_size,
            flip_test=flip_test,
        )
    )


PLACES = [(4.0, 4.0), (2.5, 3.5), (5.5, 3.5), (4.5, 6.25)]


@pytest.mark.parametrize("read_from", ["heatmaps", "response"])
def test_keypoints_come_back_in_image_pixels_with_sub_cell_precision(
    instances, tmp_path, read_from
):
    # 32 crop pixels show 40 image pixels from 0 on (32 padded by 1.25): 5 pixels a cell.
    item = predicted(Scripted(PLACES), instances, tmp_path, read_from)[0]
    assert item.prediction.xy == pytest.approx(np.array(PLACES) * 5, abs=1e-3)


def test_response_maps_are_read_near_the_pose_prior(instances, tmp_path):
    network = Scripted(PLACES)
    network.maps[1] = 1.0  # uniform, so that the prior decides
    network.reader.pose_prior = 0.1
    # (.2, .4) of the box of 32 pixels that begins at (4, 4), in every crop of both batches.
    places = [item.prediction.xy[1] for item in predicted(network, instances, tmp_path, "response")]
    assert np.stack(places) == pytest.approx(np.array([(10.4, 16.8)] * 3), abs=0.6)
    by_heatmaps = predicted(network, instances, tmp_path, "heatmaps")[0].prediction.xy[1]
    assert by_heatmaps != pytest.approx(np.array([10.4, 16.8]), abs=3.0)


def test_a_skeleton_without_a_layout_is_not_a_pose_prior(instances, tmp_path):
    network = Scripted(PLACES)
    network.reader.read_from = "response"
    network.reader.pose_prior = 0.1
    without_layout = replace(SKELETON, layout=((0.5, 0.5),) * 4)
    (item, *_) = predict(network, instances, tmp_path, without_layout, SIZE_HW)
    network.reader.pose_prior = 0.0
    (same, *_) = predict(network, instances, tmp_path, without_layout, SIZE_HW)
    assert np.array_equal(item.prediction.xy, same.prediction.xy)


def test_there_is_one_prediction_for_each_instance_in_order(instances, tmp_path):
    found = predicted(Scripted(PLACES), instances, tmp_path)
    assert [item.prediction.instance_id for item in found] == [i.id for i in instances]


def test_the_maps_come_with_the_affine_from_the_image_to_their_cells(instances, tmp_path):
    item = predicted(Scripted(PLACES), instances, tmp_path)[0]
    assert item.response.shape == item.heatmaps.shape == (4, 8, 8)
    there = apply_affine(item.to_cells, item.prediction.pose.xy)
    assert there == pytest.approx(np.array(PLACES), abs=1e-3)


def test_the_score_of_a_keypoint_is_the_confidence_of_its_map(instances, tmp_path):
    item = predicted(Scripted(PLACES, peak=0.25), instances, tmp_path)[0]
    maps = torch.from_numpy(item.heatmaps)
    assert item.prediction.pose.score == pytest.approx(confidence(maps, *refine(maps)).numpy())
    assert item.prediction.score == pytest.approx(item.prediction.pose.score.mean())


def test_a_response_map_scores_by_its_shape_though_every_peak_is_one(instances, tmp_path):
    network = Scripted(PLACES)
    network.maps[1] += 0.25  # high everywhere
    score = predicted(network, instances, tmp_path, "response")[0].prediction.pose.score
    assert score[1] < score.min(initial=1.0, where=[True, False, True, True])


def test_response_maps_are_scaled_to_a_peak_of_one(instances, tmp_path):
    item = predicted(Scripted(PLACES), instances, tmp_path, "response")[0]
    assert item.response.max(axis=(1, 2)) == pytest.approx([1.0] * 4)
    assert item.cams.max(axis=(1, 2)) == pytest.approx([1.0] * 4)


def test_response_maps_stay_response_maps_once_heatmaps_are_read(instances, tmp_path):
    class Elsewhere(Scripted):
        """Attends where the heatmaps of its keypoints, in reverse, are high."""

        def forward(self, image):
            output = super().forward(image)
            output.response = output.response.flip(1)
            return output

    network = Elsewhere(PLACES)
    network.reader.rotations = (20.0, -20.0)  # averages heatmaps alone
    free = predicted(network, instances, tmp_path, "response")[0]
    located = predicted(network, instances, tmp_path, "heatmaps")[0]
    assert np.array_equal(free.response, located.response)
    assert free.heatmaps.shape == (4, 0, 0)
    assert located.prediction.xy == pytest.approx(free.prediction.xy[::-1], abs=2.5)
    peaks = located.heatmaps.reshape(4, -1).argmax(axis=1)
    assert np.array_equal(peaks, located.response[::-1].reshape(4, -1).argmax(axis=1))


def test_presence_is_a_probability(instances, tmp_path):
    item = predicted(Scripted(PLACES, logits=(0.0, 20.0, -20.0, 0.0)), instances, tmp_path)[0]
    assert item.prediction.presence == pytest.approx([0.5, 1.0, 0.0, 0.5], abs=1e-6)


def test_the_flip_test_averages_with_the_mirror_image_sides_renamed(instances, tmp_path):
    network = Mirrored(PLACES, logits=(1.0, 2.0, -2.0, 1.0))
    with_flip = predicted(network, instances, tmp_path, flip_test=True)[0]
    plain = predicted(Scripted(PLACES, logits=(1.0, 2.0, -2.0, 1.0)), instances, tmp_path)[0]
    assert with_flip.prediction.xy == pytest.approx(plain.prediction.xy, abs=1e-3)
    assert with_flip.prediction.presence == pytest.approx(plain.prediction.presence)
    first, mirrored = network.crops[:2]
    assert torch.equal(first.flip(-1), mirrored)


def test_the_flip_test_leaves_a_side_without_a_partner_alone(instances, tmp_path):
    skeleton = make_skeleton("s", ["nose", "left_paw", "tail_l", "tail_r"])
    network = Scripted(PLACES, logits=(1.0, 2.0, -2.0, 1.0))  # sees the same in a mirror image
    one_sided = predicted(network, instances, tmp_path, skeleton=skeleton, flip_test=True)[0]
    plain = predicted(network, instances, tmp_path)[0]
    assert one_sided.prediction.xy[1] == pytest.approx(plain.prediction.xy[1])
    assert np.array_equal(one_sided.heatmaps[1], plain.heatmaps[1])
    assert not np.array_equal(one_sided.heatmaps[2], plain.heatmaps[2])
    assert one_sided.prediction.presence[1] == plain.prediction.presence[1]


def test_predictions_do_not_depend_on_the_batch_size(trained_once):
    from labelkit.models.checkpoint import load_model

    network, _ = load_model(trained_once.project.rounds_root / "000" / "model.safetensors")
    some = list(trained_once.store.instances().values())[:5]
    skeleton = trained_once.project.skeleton
    one, all_ = (
        [
            item.prediction
            for item in predict(
                network,
                some,
                trained_once.images,
                skeleton,
                (128, 128),
                batch_size=size,
            )
        ]
        for size in (1, 5)
    )
    for a, b in zip(one, all_, strict=True):
        assert a.xy == pytest.approx(b.xy, abs=1e-2)
        assert a.presence == pytest.approx(b.presence, abs=1e-5)


def test_without_instances_there_are_no_predictions(tmp_path):
    assert predicted(Scripted(PLACES), [], tmp_path) == []


def test_the_score_of_an_instance_is_that_of_its_present_keypoints():
    xy = np.zeros((4, 2))
    prediction = make_prediction(
        "id", xy, np.array([0.9, 0.5, 0.1, 0.1]), np.array([0.8, 0.6, 0.5, 0.1])
    )
    assert prediction.score == pytest.approx(0.7)
    assert make_prediction("id", xy, np.ones(4), np.zeros(4)).score == 0.0
