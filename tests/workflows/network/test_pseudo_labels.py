"""Self-training: which pseudo-labels are made, which are kept, and how crops use them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import stick_skeleton
from PIL import Image
from torch import nn

from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import human_pose
from labelkit.models.parts.pixels import Pixels
from labelkit.models.reading import PoseReader
from labelkit.project.images import scan_images
from labelkit.workflows.network.crops import Augmentation
from labelkit.workflows.network.data import Example, TrainingCrops, loader
from labelkit.workflows.network.pseudo_labels import PseudoLabels, make_pseudo_labels

SIZE_HW = (32, 32)
SKELETON = stick_skeleton()
STILL = Augmentation(0.0, False)
UNANSWERED = np.full(4, -1)
CELLS = torch.tensor([(2.5, 3.5), (4.5, 4.5), (5.5, 1.5), (3.5, 6.5)])


class Peaks(nn.Module):
    """Predicts every keypoint of every crop at CELLS, with more confidence in brighter crops."""

    def __init__(self):
        super().__init__()
        self.reader = PoseReader(4, (8, 8))
        self.pixels = Pixels()
        self.norms = None
        self.presence_logit = 0.0
        self.attended = CELLS

    def forward(self, image):
        maps, attention = _peaks(CELLS), _peaks(self.attended)
        height = image.mean(dim=(1, 2, 3)).sigmoid()[:, None, None, None]
        return SimpleNamespace(
            heatmaps=maps * height,
            response=attention.expand(len(image), -1, -1, -1),
            cams=maps.new_zeros(len(image), 4, 0, 0),
            logits=maps.new_full((len(image), 4), self.presence_logit),
        )


def _peaks(cells):
    row = torch.arange(8)[:, None] + 0.5
    column = torch.arange(8) + 0.5
    x, y = cells[:, 0, None, None], cells[:, 1, None, None]
    return torch.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)


@pytest.fixture
def crops(tmp_path):
    """Ten objects without locations, the third keypoint of each absent, and one with them."""
    examples = []
    for number in range(11):
        Image.new("RGB", (32, 32), (20 * number,) * 3).save(tmp_path / f"{number:02d}.png")
    for number, image in enumerate(scan_images(tmp_path).images):
        pose = human_pose([(2, 3), (4, 4), (5, 1), (3, 6)], [2, 2, 0, 2])
        instance = Instance(image, 0, Box(0, 0, 32, 32), "given", 1024.0)
        examples.append(Example(instance, pose.present, pose if number == 10 else None))
    return TrainingCrops(tmp_path, examples, SKELETON, SIZE_HW, STILL)


def test_the_most_confident_pseudo_labels_of_present_keypoints_are_kept(crops):
    made = make_pseudo_labels(Peaks(), crops, keep_fraction=0.3, flip_test=False)
    plain = made[0, :, :2]  # a plain crop has the box .8 of its width: see `plain_scale`
    assert (made[:10, :, :2] == plain).all()
    assert made[:7, :, 2].sum() == 0  # the darker ones
    assert made[7:10, [0, 1, 3], 2].min() == 1
    assert made[:, 2, 2].sum() == 0  # answered as absent
    assert not made[10].any()  # it has locations


def test_pseudo_labels_are_in_image_pixels(crops):
    xy = make_pseudo_labels(Peaks(), crops, keep_fraction=1.0, flip_test=False)[0, :, :2]
    # The centre of the crop is that of the box; all else is scaled about it.
    scale = (xy[1, 0] - xy[0, 0]) / (CELLS[1, 0] - CELLS[0, 0])
    assert xy == pytest.approx(16 + (CELLS - 4) * scale, abs=0.3)
    assert 3 < scale < 6


def test_where_everything_has_locations_there_are_no_pseudo_labels(crops):
    crops.examples = crops.examples[10:]
    crops.pseudo_labels = crops.pseudo_labels[10:]
    assert not make_pseudo_labels(Peaks(), crops, 0.5, flip_test=False).any()


@pytest.mark.parametrize(
    ("at", "epochs", "expected"), [((0.4, 0.8), 10, {4, 8}), ((), 10, set()), ((0.4, 0.8), 1, {1})]
)
def test_pseudo_labels_are_made_after_fractions_of_the_training(crops, at, epochs, expected):
    network = Peaks()
    assert PseudoLabels(network, crops, at, epochs, 0.5, flip_test=False).at == expected
    crops.examples = crops.examples[:10]  # without locations they would only repeat the network
    assert not PseudoLabels(network, crops, at, epochs, 0.5, flip_test=False).at
    network.reader.pose_prior = 0.1
    assert PseudoLabels(network, crops, at, epochs, 0.5, flip_test=False).at == expected
    crops.skeleton = replace(SKELETON, layout=((0.5, 0.5),) * 4)  # no layout
    assert not PseudoLabels(network, crops, at, epochs, 0.5, flip_test=False).at


def test_without_locations_pseudo_labels_from_attention_train_the_heatmaps(crops):
    crops.examples = crops.examples[:10]
    crops.pseudo_labels = crops.pseudo_labels[:10]
    network = Peaks()
    network.reader.read_from, network.reader.pose_prior = "response", 1000.0  # maps: anywhere
    network.attended = CELLS.flip(-1)
    pseudo_labels = PseudoLabels(network, crops, (0.5,), 4, 1.0, flip_test=False)

    pseudo_labels.on_train_epoch_start(SimpleNamespace(current_epoch=1), None)
    assert not crops.pseudo_labels.any()
    assert network.reader.read_from == "response"

    pseudo_labels.on_train_epoch_start(SimpleNamespace(current_epoch=2), None)
    attended, kept = crops.pseudo_labels[0, :, :2].clone(), pseudo_labels.state_dict()
    assert network.reader.read_from == "heatmaps"
    xy = make_pseudo_labels(network, crops, 1.0, flip_test=False)[0, :, :2]
    assert xy == pytest.approx(attended.flip(-1), abs=1e-3)

    resumed = Peaks()
    resumed.reader.read_from = "response"
    PseudoLabels(resumed, crops, (0.5,), 4, 1.0, flip_test=False).load_state_dict(kept)
    assert resumed.reader.read_from == "heatmaps"


def test_normalised_maps_are_read_on_when_they_have_taught_heatmaps(crops):
    crops.examples = crops.examples[:10]
    crops.pseudo_labels = crops.pseudo_labels[:10]
    network = Peaks()
    network.norms = nn.ModuleList()
    network.reader.read_from, network.reader.pose_prior = "response", 1000.0
    pseudo_labels = PseudoLabels(network, crops, (0.5,), 4, 1.0, flip_test=False)
    pseudo_labels.on_train_epoch_start(SimpleNamespace(current_epoch=2), None)
    assert crops.pseudo_labels.any()
    assert network.reader.read_from == "response"


def test_a_kept_pseudo_label_is_a_target_and_others_are_ignored(crops):
    before = crops[0, 7]
    crops.pseudo_labels[0] = torch.tensor([(16, 16, 1), (10, 10, 0), (0, 0, 0), (99, 10, 1)])
    after = crops[0, 7]
    assert torch.equal(after["image"], before["image"])  # views never depend on pseudo-labels
    assert before["located"].tolist() == [0, 0, 0, 0]
    # Kept; not kept; answered as absent, so an empty map; outside the crop.
    assert after["located"].tolist() == [1, 0, 1, 0]
    assert after["presence"].tolist() == before["presence"].tolist() == [1, 1, 0, 1]
    assert after["xy"][1:].abs().sum() == 0
    assert after["xy"][0] == pytest.approx(torch.tensor([16.0, 16.0]), abs=6)  # shifted view


def test_without_an_answer_the_network_must_predict_presence(crops):
    crops.examples = [replace(example, presence=UNANSWERED) for example in crops.examples]
    network = Peaks()
    made = make_pseudo_labels(network, crops, keep_fraction=1.0, flip_test=False)
    assert not made[:, :, 2].any()  # its logits are 0: a coin flip
    network.presence_logit = 1.0
    made = make_pseudo_labels(network, crops, keep_fraction=0.3, flip_test=False)
    assert made[7:10, :, 2].min() == 1
    assert not made[10].any()


def test_without_an_answer_pseudo_labels_teach_locations_but_not_presence(crops):
    crops.examples[0] = replace(crops.examples[0], presence=UNANSWERED)
    crops.pseudo_labels[0] = torch.tensor([(16, 16, 1), (10, 10, 0), (0, 0, 0), (99, 10, 1)])
    item = crops[0, 7]
    assert item["located"].tolist() == [1, 0, 0, 0]  # no empty map: absence was not answered
    assert item["presence"].tolist() == [1, 0, 0, 1]
    assert not item["answered"].any()


def test_a_mirrored_crop_has_mirrored_pseudo_labels(crops):
    crops.augmentation = Augmentation(0.0, True)
    crops.pseudo_labels[0] = torch.tensor([(10, 10, 0), (4, 16, 1), (0, 0, 0), (28, 16, 0)])
    drawn = [crops[0, seed] for seed in range(20)]
    placed = [int(item["xy"][:, 0].argmax()) for item in drawn]
    left, right = 1, SKELETON.flip_indices[1]
    assert set(placed) == {left, right}
    for item, keypoint in zip(drawn, placed, strict=True):
        # It moves to the other name; the keypoint of the other side has no target.
        counts = item["located"] * item["presence"]
        assert counts.nonzero().flatten().tolist() == [keypoint]


def test_running_workers_get_new_pseudo_labels(crops):
    sampler = [(0, 1), (0, 1)]
    batches = loader(crops, 2, 1, sampler)  # type: ignore[arg-type]
    assert next(iter(batches))["located"].sum() == 0
    crops.pseudo_labels[0] = torch.tensor([(16, 16, 1.0)] * 4)
    assert next(iter(batches))["located"].sum() > 0
