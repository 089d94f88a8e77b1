"""A training with every signal: it resumes where it was, and scores what its teacher finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import make_image
from scenes import make_scenes

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.models.detector_free.interface import DetectorFree
from labelkit.models.detector_free.presets import KINDS, build_detector_free
from labelkit.progress import Silent
from labelkit.workflows.detector_free import training
from labelkit.workflows.detector_free.canvases import LabelledImage
from labelkit.workflows.detector_free.scoring import find_objects, people_of, scene_scores
from labelkit.workflows.detector_free.strategy import STRATEGIES
from labelkit.workflows.detector_free.training import Recipe, train
from labelkit.workflows.synthetic.figure_drawing import SKELETON

pytestmark = pytest.mark.slow

RECIPE = Recipe(6, 2, 1, 5e-3, 0.01, 30.0, False, "full", 0)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> tuple[Path, list[LabelledImage], list[tuple[Instance, Pose]]]:
    root = tmp_path_factory.mktemp("scenes")
    items, objects = [], []
    for index, scene in enumerate(make_scenes([1, 2, 2, 1], 64)):
        image = make_image(f"{index}.png", 64, 64)
        scene.image.save(root / image.path)
        items.append(LabelledImage(image, tuple(member.pose for member in scene.members)))
        for ordinal, member in enumerate(scene.members):
            instance = Instance(image, ordinal, member.box, "given", member.area)
            objects.append((instance, member.pose))
    return root, items, objects


def run(images, folder: Path, kind: str, strategy: str = "both") -> tuple[DetectorFree, dict]:
    root, items, _ = images
    torch.manual_seed(0)
    network = build_detector_free(kind, "test_resnet", len(SKELETON), SKELETON.sigmas, 16, False)
    return train(
        network,
        STRATEGIES[strategy],
        RECIPE,
        root,
        items[:2],
        [item.image for item in items[2:]],
        SKELETON,
        (64, 64),
        folder / "state.safetensors",
        Silent(),
        "test",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_training_ends_as_one_that_was_not(images, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(training, "STRETCH_STEPS", 3)
    (tmp_path / "whole").mkdir()
    whole, record = run(images, tmp_path / "whole", kind)
    assert record["labelled_images"] == record["unlabelled_images"] == 2

    class Killed(Exception):
        pass

    step = training.DetectorFreeTraining.training_step

    def killed(self, batch, index):
        if self.global_step == 4:
            raise Killed
        return step(self, batch, index)

    (tmp_path / "parts").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(training.DetectorFreeTraining, "training_step", killed)
        with pytest.raises(Killed):
            run(images, tmp_path / "parts", kind)
    parts, _ = run(images, tmp_path / "parts", kind)
    for name, value in whole.state_dict().items():
        assert torch.allclose(parts.state_dict()[name].float(), value.float(), atol=1e-6), name


def test_without_the_unlabelled_images_none_is_read(images, tmp_path):
    _, record = run(images, tmp_path, "bottom-up", "supervised-only")
    assert record["unlabelled_images"] == 0
    assert record["pseudo_labels"] == 0


def test_results_are_in_image_pixels_and_the_truth_itself_scores_one(images):
    root, _, objects = images
    network = build_detector_free(
        "bottom-up", "test_resnet", len(SKELETON), SKELETON.sigmas, 16, False
    ).eval()
    with torch.no_grad():
        network.shared[-1].bias.fill_(1.0)  # something everywhere
    found = find_objects(network, objects, root, SKELETON, (128, 128), Silent())
    assert found.keypoints[..., :2].max() <= 64
    assert set(found.image.tolist()) <= {0, 1, 2, 3}
    people = people_of(objects, SKELETON)
    perfect = people.keypoints.astype(np.float64)
    perfect[..., 2] = 1
    ones = np.ones(len(perfect))
    truth = type(found)(people.image, people.category, perfect, ones, ones, ones)
    scores = scene_scores(people, truth, SKELETON)
    assert scores["AP"] == scores["AR"] == 1
    assert scores["easy"] == 1
    assert people.crowd_index.shape == (4,)
