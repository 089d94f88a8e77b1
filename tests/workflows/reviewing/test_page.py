"""The HTML page for reviews without FiftyOne."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from builders import make_project
from command_line import labelkit
from trained import Trained

from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import UsageError, WaitingForLabels
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing import page as reviewing_page
from labelkit.workflows.reviewing.items import gather
from labelkit.workflows.reviewing.page import Card, page, review_html
from labelkit.workflows.sync.pull_file import pull_file


class Tags(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def __getitem__(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_the_page_shows_the_most_uncertain_with_keypoints_and_a_map_for_each(trained: Trained):
    path = trained.folder / "review.html"
    pull_file(trained.project, trained.store, trained.corrections())
    report = review_html(trained.project, trained.store, Silent(), path, limit=6)
    tags = Tags(path.read_text(encoding="utf-8"))
    assert (report.instances, report.round) == (6, 0)
    assert len(tags["figure"]) == 6
    assert len([image for image in tags["img"] if image["class"] == "photo"]) == 6
    assert len([image for image in tags["img"] if image["class"] == "map"]) == 6 * 14
    assert len([dot for dot in tags["circle"] if "data-k" in dot]) > 6


def test_the_most_uncertain_are_chosen_by_their_scores_alone(trained: Trained):
    found = gather(trained.project, trained.store)
    items = [*found.items.values()]
    first = sorted(items, key=lambda item: item.finding.uncertainty or 0.0, reverse=True)
    expected = [item.instance.id for item in first]
    assert found.most_uncertain(3, trained.project.skeleton) == expected[:3]
    assert found.most_uncertain(len(items) + 1, trained.project.skeleton) == expected


def test_an_answer_that_keypoints_gave_is_called_a_label(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
):
    path = trained.folder / "review.html"
    found, skeleton = gather(trained.project, trained.store), trained.project.skeleton
    (id_,) = found.most_uncertain(1, skeleton)
    one, two, *_ = skeleton.keypoints
    item = found.items[id_]
    finding = replace(item.finding, answered_absent=(one, two))
    human = human_pose([(9.0, 9.0)] * len(skeleton), [0, *[2] * (len(skeleton) - 1)])
    items = {**found.items, id_: replace(item, finding=finding, human=human)}
    monkeypatch.setattr(reviewing_page, "gather", lambda *_, **__: replace(found, items=items))
    review_html(trained.project, trained.store, Silent(), path, limit=1)
    texts = Tags(path.read_text(encoding="utf-8")).texts
    assert f"found but labelled absent: {one}" in texts
    assert f"found but answered absent: {two}" in texts


def test_each_kind_of_map_is_named_and_one_is_chosen(trained: Trained):
    maps = {"heatmaps": ["data:,a", "data:,b"], "response maps": ["data:,c", "data:,d"]}
    card = Card(10, 10, "data:,", maps, [], [], ["a"])
    tags = Tags(page("two kinds", make_skeleton("s", ["head", "tail"]), [card]))
    choices = [(tag["value"], "checked" in tag) for tag in tags["input"]]
    assert choices == [("heatmaps", True), ("response maps", False)]
    assert {"heatmaps", "response maps"} <= set(tags.texts)
    shown = [(i["data-kind"], i["data-k"], i["src"]) for i in tags["img"] if i["class"] == "map"]
    assert shown == [
        ("heatmaps", "0", "data:,a"),
        ("heatmaps", "1", "data:,b"),
        ("response maps", "0", "data:,c"),
        ("response maps", "1", "data:,d"),
    ]


def test_a_location_free_round_has_response_maps_alone(trained: Trained):
    path = trained.folder / "review.html"
    review_html(trained.project, trained.store, Silent(), path, limit=1)
    tags = Tags(path.read_text(encoding="utf-8"))
    assert [tag["value"] for tag in tags["input"]] == ["response maps"]


def test_the_page_fetches_nothing(trained: Trained):
    path = trained.folder / "review.html"
    review_html(trained.project, trained.store, Silent(), path, limit=2)
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[\w.]", re.sub(r"base64,[^\"]*", "", text))
    tags = Tags(text)
    assert all(image["src"].startswith("data:image/") for image in tags["img"])
    (policy,) = [meta["content"] for meta in tags["meta"] if "http-equiv" in meta]
    assert "default-src 'none'" in policy
    assert tags["link"] == []


def test_names_with_html_are_text_wherever_they_appear(trained: Trained):
    hostile = '<script>alert("x")</script>&'
    names = [hostile if k == "neck" else k for k in trained.project.skeleton.keypoints]
    text = page(hostile, make_skeleton("odd", names), [])
    tags = Tags(text)
    assert len(tags["script"]) == 1
    assert tags.texts.count(hostile) == 3  # title, heading and legend
    path = trained.folder / "review.html"
    project = replace(trained.project, name=hostile)
    review_html(project, trained.store, Silent(), path, limit=1)
    assert len(Tags(path.read_text(encoding="utf-8"))["script"]) == 1


def test_an_image_with_a_hostile_name_is_shown_by_that_name(trained: Trained):
    images = trained.images
    first = sorted(images.iterdir())[0]
    hostile = first.with_name(f"<img src=x onerror=alert(1)>{first.suffix}")
    first.rename(hostile)
    trained.store.add_images(scan_images(images).images)
    path = trained.folder / "review.html"
    review_html(trained.project, trained.store, Silent(), path)
    text = path.read_text(encoding="utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert all("onerror" not in image for image in Tags(text)["img"])


def test_before_the_first_round_there_is_nothing_to_show(tmp_path: Path):
    project = make_project(tmp_path)
    with (
        LabelStore.open(project.store_url) as store,
        pytest.raises(WaitingForLabels, match="labelkit status"),
    ):
        review_html(project, store, Silent(), tmp_path / "review.html")


def test_a_page_replaces_a_page_and_nothing_else(trained: Trained):
    path = trained.folder / "review.html"
    for _ in range(2):
        review_html(trained.project, trained.store, Silent(), path, limit=1)
    with pytest.raises(UsageError, match=r"keypoints\.json"):
        review_html(trained.project, trained.store, Silent(), trained.truth_file, limit=1)


def test_the_command_needs_no_fiftyone(trained: Trained, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1")
    path = trained.folder / "review.html"
    outcome = labelkit("review", "--html", path, "--limit", "2", "--project", trained.project.root)
    assert outcome.code == 0, outcome.err
    assert str(path) in outcome.out
    assert path.stat().st_size < 500_000
