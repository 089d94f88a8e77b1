"""The size of the dev set is chosen, grows, and never takes in what was trained on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders import make_image, make_project

from labelkit.domain.instance import Box
from labelkit.domain.selection import DevDraw, dev_set
from labelkit.errors import UsageError
from labelkit.project.project import Project
from labelkit.project.rounds import RoundPlan, abandon_round, begin_round
from labelkit.project.video_frames import read_table, write_table
from labelkit.store.journal import VISIBILITY, Entry, visibility_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds import label_snapshot
from labelkit.workflows.rounds.dev_set import begin_dev_set, settle_dev_set
from labelkit.workflows.rounds.label_snapshot import DEV_SHARE, read_snapshot


class Sized:
    def __init__(self, project: Project, store: LabelStore) -> None:
        self.project, self.store = project, store

    def add(self, count: int, prefix: str = "") -> None:
        images = [make_image(f"{prefix}{number:03d}.png") for number in range(count)]
        self.store.add_images(images)
        self.store.add_instances(
            NewInstance(image, Box(0, 0, 40, 40), "given", 1600.0) for image in images
        )

    def settle(self, percent: float | None = None) -> str:
        return settle_dev_set(self.project, self.store, percent)

    @property
    def dev(self) -> frozenset[str]:
        return read_snapshot(self.project, self.store).dev

    def answer(self) -> None:
        id_ = next(iter(self.store.instances()))
        content = visibility_content(self.project.skeleton, [True] * 4)
        self.store.record([Entry(id_, VISIBILITY, content, "test", "1", "1")])

    def train_on(self, ids: list[str]) -> None:
        plan = RoundPlan(0, "semi-weak", tuple(ids), 0.5, 1, {}, 0)
        abandon_round(begin_round(self.project, plan), "another training was asked for")


@pytest.fixture
def sized(tmp_path) -> Iterator[Sized]:
    project = make_project(tmp_path)
    with open_store(project) as store:
        begin_dev_set(store)
        yield Sized(project, store)


def drawn(sized: Sized) -> frozenset[str]:
    """What every twentieth image is without further rules."""
    instances = sized.store.instances().values()
    return frozenset(dev_set(instances, sized.project.seed, DevDraw(DEV_SHARE)))


def test_a_project_of_200_objects_has_at_least_20_in_its_dev_set(sized):
    sized.add(200)
    assert sized.settle() == ""
    assert len(sized.dev) == 20
    assert drawn(sized) <= sized.dev


def test_a_large_project_remembers_its_dev_set_until_images_or_the_draw_change(sized, monkeypatch):
    monkeypatch.setattr(label_snapshot, "MANY", 200)
    sized.add(199)
    sized.settle()
    assert not (sized.project.root / label_snapshot.DEV_FILE).exists()
    sized.add(101, "more-")
    for change in (
        lambda: None,
        sized.settle,
        lambda: sized.settle(20),
        lambda: sized.add(50, "z"),
    ):
        change()
        draw, images = sized.store.dev_draw(), sized.store.images()
        one_by_one = {f"{it.id}-0" for it in images if draw.holds(it.id, sized.project.seed)}
        assert {*sized.dev} == {*sized.dev} == one_by_one
    gone = next(image for image in images if f"{image.id}-0" in one_by_one)
    sized.store.remove_images([gone])
    assert {*sized.dev} == one_by_one - {f"{gone.id}-0"}
    sized.store.restore_images([gone])
    sized.store.add_instances([NewInstance(gone, Box(0, 0, 9, 9), "given", 81.0)])
    assert {*sized.dev} == one_by_one | {f"{gone.id}-1"}


def test_a_smaller_project_has_what_is_drawn(sized):
    sized.add(199)
    sized.settle()
    assert sized.dev == drawn(sized)
    sized.add(1, "one more-")
    sized.settle()
    assert len(sized.dev) == 20


@pytest.mark.parametrize(("percent", "size"), [(10.0, 15), (0.0, 0), (33.0, 50), (100.0, 150)])
def test_its_size_is_chosen(sized, percent, size):
    sized.add(150)
    sized.settle(percent)
    assert len(sized.dev) == size


def test_until_the_first_answer_it_can_be_chosen_again(sized):
    sized.add(150)
    sized.settle(20.0)
    large = sized.dev
    sized.settle(10.0)
    assert (len(sized.dev), sized.dev < large) == (15, True)


def test_after_the_first_answer_it_only_grows(sized):
    sized.add(150)
    sized.settle(10.0)
    before = sized.dev
    sized.answer()
    with pytest.raises(UsageError, match=r"15 of 150 .*5% would be 8"):
        sized.settle(5.0)
    assert sized.dev == before
    assert "30 instances of 150" in sized.settle(20.0)
    assert before < sized.dev
    assert len(sized.dev) == 30
    assert sized.settle(20.0) == sized.settle() == ""


def test_what_gave_its_location_to_any_round_never_enters(sized):
    sized.add(150)
    sized.settle(10.0)
    before = sized.dev
    sized.answer()
    others = [item for item in sized.store.instances() if item not in before]
    sized.train_on(others[:125])
    note = sized.settle(50.0)
    assert "25 instances instead of 75" in note
    assert sized.dev == before | {*others[125:]}
    sized.add(100, "later-")
    sized.settle(50.0)
    assert sized.dev.isdisjoint(others[:125])
    assert len(sized.dev) == 125


def test_images_that_come_later_are_drawn_at_the_chosen_share(sized):
    sized.add(150)
    sized.settle(20.0)
    before = sized.dev
    sized.answer()
    sized.add(500, "later-")
    sized.settle()
    assert before < sized.dev
    assert 60 < len(sized.dev - before) < 140


def test_the_dev_set_of_a_project_of_an_earlier_version_does_not_change(tmp_path):
    project = make_project(tmp_path)
    with open_store(project) as store:
        sized = Sized(project, store)
        sized.add(300)
        before = drawn(sized)
        assert len(before) < 20
        begin_dev_set(store)
        assert (sized.settle(), sized.dev) == ("", before)
        sized.answer()
        sized.add(100, "later-")
        begin_dev_set(store)
        sized.settle()
        assert sized.dev == drawn(sized)
        sized.settle(10.0)
        assert len(sized.dev) == 40
        assert before < sized.dev


def add_video(sized: Sized, name: str, seconds: range) -> frozenset[str]:
    """Register a frame a second of a video, as `labelkit frames` lays them out; their instances."""
    folder = sized.project.images_root / name
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / "of.mp4"
    video.touch()
    known = read_table(folder, video)
    write_table(folder, video, [*known, *((f"{s:04d}.png", s, float(s)) for s in seconds)])
    images = [make_image(f"{name}/{second:04d}.png") for second in seconds]
    sized.store.add_images(images)
    new = [NewInstance(image, Box(0, 0, 40, 40), "given", 1600.0) for image in images]
    return frozenset(instance.id for instance in sized.store.add_instances(new))


def test_frames_of_a_video_are_in_the_dev_set_together_or_not_at_all(sized):
    videos = [add_video(sized, f"cage{number}", range(20)) for number in range(10)]
    sized.settle()
    assert sum(video <= sized.dev for video in videos) == 1
    assert len(sized.dev) == 20


def test_a_dev_set_of_videos_grows_by_videos_and_keeps_those_that_it_has(sized):
    videos = [add_video(sized, f"cage{number}", range(20)) for number in range(10)]
    sized.settle()
    before = sized.dev
    sized.settle(25)
    assert before < sized.dev
    assert [len(video & sized.dev) for video in videos].count(20) == 3
    assert len(sized.dev) == 60


def test_frames_that_come_later_follow_their_video(sized):
    names = [f"cage{number}" for number in range(10)]
    videos = {name: add_video(sized, name, range(20)) for name in names}
    sized.settle()
    inside = next(name for name in names if videos[name] <= sized.dev)
    later = {name: add_video(sized, name, range(20, 30)) for name in names}
    sized.settle()
    for name in names:
        assert later[name] & sized.dev == (later[name] if name == inside else frozenset())


def test_a_video_that_was_trained_on_never_enters(sized):
    videos = [add_video(sized, f"cage{number}", range(20)) for number in range(10)]
    sized.settle()
    outside = [video for video in videos if not video & sized.dev]
    sized.answer()
    sized.train_on([min(video) for video in outside])
    sized.settle(50)
    assert not any(video & sized.dev for video in outside)


def test_a_single_video_is_cut_into_pieces_of_ten_seconds(sized):
    ids = sorted(add_video(sized, "cage", range(300)))
    sized.settle()
    assert 20 <= len(sized.dev) < 60
    paths = {sized.store.instances()[id_].image.path for id_ in ids if id_ in sized.dev}
    pieces = [f"cage/{second:04d}.png" for second in range(300)]
    for start in range(0, 300, 10):
        assert len(paths.intersection(pieces[start : start + 10])) in (0, 10)


def test_a_video_that_was_cut_stays_cut_when_others_come(sized):
    first = add_video(sized, "cage", range(300))
    sized.settle()
    before = sized.dev & first
    for number in range(10):
        add_video(sized, f"other{number}", range(200))
    sized.settle()
    assert sized.dev & first == before


def test_images_beside_a_table_that_is_not_of_frames_are_drawn_one_by_one(sized):
    sized.project.images_root.mkdir(parents=True, exist_ok=True)
    (sized.project.images_root / "frames.csv").write_text("name,age\n000.png,3\n")
    sized.add(200)
    sized.settle()
    assert drawn(sized) <= sized.dev
    assert len(sized.dev) == 20
