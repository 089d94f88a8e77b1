"""What README and documentation say exists: commands, options, files, links, names."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache

import pytest
from command_line import labelkit
from pages import PAGES, ROOT, anchors, blocks, commands, inline_code, links

import labelkit as api
from labelkit.domain.skeleton import load_skeleton
from labelkit.formats.coco import read_coco
from labelkit.formats.visibility_csv import read_visibility_csv

PICTURES = ROOT / "docs" / "images"


@cache
def options_of(command: str) -> frozenset[str]:
    helped = labelkit(command, "--help")
    assert helped.code == 0, f"there is no labelkit {command}"
    return frozenset(re.findall(r"--[a-z][a-z-]*", helped.out))


def options_in(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def test_the_readme_is_read_in_three_minutes():
    assert len(PAGES["README.md"].splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_of_a_page_exists(page: str):
    typed = [shlex.split(code) for code in inline_code(PAGES[page]) if code.startswith("labelkit ")]
    for words in [*commands(PAGES[page]), *typed]:
        if words[0] != "labelkit":
            continue
        if words[1].islower() and words[1].isalpha():
            assert options_in(words) <= options_of(words[1]), words
        else:
            assert words[1] in ("COMMAND", "--help", "--version", "--install-completion"), words


@pytest.mark.parametrize("page", sorted(page for page in PAGES if page.startswith("docs/")))
def test_an_option_named_alone_is_one_of_some_command(page: str):
    loop = ("frames", "bootstrap", "retrain", "push", "pull", "predict", "export", "weights")
    label = ("review", "label", "check", "skeleton", "studio", "serve")
    measure = ("evaluate", "report", "score", "simulate")
    known = set().union(*map(options_of, (*loop, *label, *measure)))
    alone = [code for code in inline_code(PAGES[page]) if code.startswith("--")]
    assert {word for code in alone for word in options_in(code.split())} <= known


def test_make_targets_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page, text in PAGES.items():
        typed = [words[1] for words in commands(text) if words[0] == "make"]
        typed += [code.split()[1] for code in inline_code(text) if re.match(r"make [a-z]", code)]
        assert set(typed) <= targets, page


def test_extras_of_the_pages_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page, text in PAGES.items():
        named = re.findall(r"(?:\.|labelkit-keypoints)\[([a-z,]+)\]", text)
        assert set(",".join(named).split(",")) - {""} <= set(project["optional-dependencies"]), page


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str):
    for link in links(PAGES[page]):
        file, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page: str):
    rooms = re.compile(r"(labelkit|models|workflows|tests|docs|benchmarks|\.ci)/[\w./-]*")
    named = {code for code in inline_code(PAGES[page]) if rooms.fullmatch(code)}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_picture_is_shown_and_small():
    shown = {link.rpartition("/")[2] for text in PAGES.values() for link in links(text)}
    assert {path.name for path in PICTURES.iterdir()} <= shown
    largest = {".webp": 1_500_000}  # it moves
    sizes = {path: path.stat().st_size for path in PICTURES.iterdir()}
    assert [path for path in sizes if sizes[path] > largest.get(path.suffix, 300_000)] == []


def test_the_reference_has_every_public_name_once():
    listed = re.findall(r"^::: labelkit\.(\w+)$", PAGES["docs/api-reference.md"], re.MULTILINE)
    assert sorted(listed) == sorted(api.__all__)


def test_the_skeleton_and_the_answers_of_the_pages_fit_each_other(tmp_path):
    ((title, skeleton),) = blocks(PAGES["docs/skeletons.md"], "toml")
    (tmp_path / title).write_text(skeleton)
    mouse = load_skeleton(tmp_path / title)
    assert mouse.keypoints == ("snout", "left_ear", "right_ear", "tailbase")
    assert mouse.pairs == ((1, 2),)
    ((title, text),) = blocks(PAGES["docs/formats.md"], "csv")
    answers = read_visibility_csv(text, mouse, title)
    assert [answer.presence.tolist() for answer in answers] == [
        [True, True, False, True],
        [True, False, False, True],
    ]


def test_pose_lists_of_the_pages_are_json():
    for page, text in PAGES.items():
        for title, content in blocks(text, "json"):
            for line in [] if title else content.splitlines():
                assert json.loads(line)["first_pixel"] == 0, page


def test_the_label_files_of_the_pages_are_read():
    files = [(t, text) for page in PAGES.values() for t, text in blocks(page, "json") if t]
    assert [title for title, _ in files] == ["keypoints.json"]
    for title, content in files:
        (item,) = read_coco(json.loads(content), title).annotations
        assert item.pose.xy.tolist() == [[105.5, 90], [155, 110.25]]
