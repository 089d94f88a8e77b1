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
from labelkit.store.journal import VISIBILITY, Entry, visibility_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
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
