"""What a training starts from, and what a backbone that cannot be used is answered with."""

import numpy as np
import pytest
import timm
from builders import make_instance, make_pose, make_project
from safetensors.torch import save_file

from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import MissingDependencyError, UsageError
from labelkit.models.parts import pretrained
from labelkit.progress import Silent
from labelkit.workflows.network import training
from labelkit.workflows.network.data import Example
from labelkit.workflows.rounds.networks import build_network, starting_weights, train_network
from labelkit.workflows.rounds.settings import TrainingOptions, resolve

SKELETON = make_skeleton("s", ["head", "tail"], links=[(0, 1)])


class Told(Silent):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def settings(**options) -> dict:
    return resolve(TrainingOptions(preset="tiny", backbone="test_vit", **options), {}, SKELETON)


@pytest.fixture
def nothing_cached(monkeypatch):
    monkeypatch.setattr(pretrained, "cached", lambda *_: None)


@pytest.mark.usefixtures("nothing_cached")
def test_without_weights_a_training_says_what_that_costs_and_starts_from_random_ones(tmp_path):
    told = Told()
    assert starting_weights(make_project(tmp_path), settings(), told) is False
    note = told.lines[-1]
    assert all(
        words in note for words in ("test_vit", "HF_HUB_OFFLINE", "PCK", "labelkit weights fetch")
    )


@pytest.mark.usefixtures("nothing_cached")
def test_weights_that_were_asked_for_are_not_replaced_by_random_ones(tmp_path):
    with pytest.raises(MissingDependencyError, match="--no-pretrained"):
        starting_weights(make_project(tmp_path), settings(pretrained=True), Told())


def test_cached_weights_a_file_and_random_ones_need_no_words(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "cached", lambda *_: tmp_path)
    project, told = make_project(tmp_path), Told()
    assert starting_weights(project, settings(), told) is True
    assert starting_weights(project, settings(pretrained=False), told) is False
    (project.root / "w.safetensors").touch()
    chosen = settings(weights="w.safetensors")
    assert starting_weights(project, chosen, told) == (project.root / "w.safetensors").resolve()
    assert told.lines == []
    (project.root / "w.safetensors").unlink()
    with pytest.raises(UsageError, match=r"w\.safetensors"):
        starting_weights(project, chosen, told)


@pytest.mark.parametrize(
    ("located", "weights", "frozen"),
    [(False, True, True), (False, False, False), (True, True, False)],
)
def test_only_a_backbone_that_knows_something_is_frozen_without_locations(
    located, weights, frozen, tmp_path, monkeypatch
):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    project = make_project(tmp_path)
    presence = np.array([1, 0, 1, 1], dtype=np.int8)
    example = Example(make_instance(), presence, make_pose() if located else None)
    trained = []

    def train(network, *_):
        trained.append([part.requires_grad for part in network.backbone.net.parameters()])
        assert (network.norms is not None) == frozen
        return {}

    monkeypatch.setattr(training, "train", train)
    chosen = settings(pretrained=False)
    if weights:
        chosen = settings(weights=str(tmp_path / "w.safetensors"))
    train_network(
        "lofr",
        project,
        [example],
        chosen,
        0,
        tmp_path / "model.safetensors",
        Silent(),
        "x",
        1,
    )
    assert trained == [[not frozen] * len(trained[0])]


def test_a_backbone_that_reads_one_size_of_images_is_wrong_usage():
    with pytest.raises(UsageError, match="--backbone"):
        build_network("lofr", SKELETON, settings() | {"backbone": "test_coatnet"})


def test_weights_of_another_backbone_are_wrong_usage(tmp_path):
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="does not fit test_vit"):
        build_network("lofr", SKELETON, settings(), tmp_path / "w.safetensors")


def test_a_new_network_reads_crops_as_its_backbone_was_trained_to():
    network = build_network("simple", SKELETON, settings())
    assert network.pixels.interpolation == "bicubic"
    assert network.pixels.mean.flatten().tolist() == [127.5] * 3
