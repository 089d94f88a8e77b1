"""The person detector: its notice before a download, its errors offline, and its boxes."""

import pytest
import torch
from builders import make_image, write_picture
from torch import nn

from labelkit.domain.instance import Box
from labelkit.errors import MissingDependencyError
from labelkit.workflows.intake.person_detector import detect, load_detector


class FixedDetector(nn.Module):
    """Finds the same things everywhere: corners, label, score."""

    def __init__(self, *found):
        super().__init__()
        self.found = found

    def forward(self, pictures):
        self.pictures = pictures
        corners, labels, scores = zip(*self.found, strict=True)
        return [
            {
                "boxes": torch.tensor(corners, dtype=torch.float32),
                "labels": torch.tensor(labels),
                "scores": torch.tensor(scores),
            }
        ]


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)


@pytest.mark.usefixtures("offline")
def test_a_download_leaves_stdout_and_stderr_to_the_command(capsys):
    with pytest.raises(MissingDependencyError):
        load_detector(lambda text: None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("offline")
def test_offline_the_error_names_the_other_sources_of_boxes():
    with pytest.raises(MissingDependencyError) as caught:
        load_detector(lambda text: None)
    assert "Name or service not known" in caught.value.problem
    assert "--boxes whole-image" in caught.value.next_step
    assert "--boxes FILE" in caught.value.next_step


@pytest.mark.usefixtures("offline")
def test_licence_and_address_are_reported_before_the_first_download():
    notices = []
    with pytest.raises(MissingDependencyError):
        load_detector(notices.append)
    (notice,) = notices
    assert "https://download.pytorch.org/models/fasterrcnn_mobilenet_v3_large_fpn" in notice
    assert "BSD 3-clause" in notice
    assert "CC BY 4.0" in notice


@pytest.mark.usefixtures("offline")
def test_a_broken_file_in_the_cache_is_named(tmp_path):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    kept = folder / "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth"
    kept.write_bytes(b"<html>not found</html>")
    with pytest.raises(MissingDependencyError) as caught:
        load_detector(lambda text: None)
    assert str(kept) in caught.value.problem
    assert caught.value.next_step


def test_people_come_out_as_boxes_inside_the_image(tmp_path):
    write_picture(tmp_path / "a.png", (100, 80))
    detector = FixedDetector(
        ([10.0, 20.0, 40.0, 60.0], 1, 0.9),
        ([-5.0, 70.0, 20.0, 90.0], 1, 0.8),
        ([10.0, 20.0, 40.0, 60.0], 3, 0.9),
        ([1.0, 1.0, 9.0, 9.0], 1, 0.5),
        ([50.0, 20.0, 50.0, 60.0], 1, 0.9),
    )
    image = make_image("a.png", 100, 80)
    found = list(detect([image], tmp_path, detector, score_threshold=0.75))
    assert [image for image, _ in found] == [image]
    assert [box for box, _ in found[0][1]] == [Box(10, 20, 30, 40), Box(0, 70, 20, 10)]
    assert [score for _, score in found[0][1]] == pytest.approx([0.9, 0.8])
    (pixels,) = detector.pictures
    assert tuple(pixels.shape) == (3, 80, 100)
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_images_are_read_one_at_a_time(tmp_path):
    write_picture(tmp_path / "a.png", (100, 80))
    detector = FixedDetector(([10.0, 20.0, 40.0, 60.0], 1, 0.9))
    asked = []

    def images():
        for index in range(3):
            asked.append(index)
            yield make_image("a.png", 100, 80)

    next(detect(images(), tmp_path, detector))
    assert asked == [0]


def test_no_images_give_no_boxes(tmp_path):
    assert list(detect([], tmp_path, FixedDetector())) == []
