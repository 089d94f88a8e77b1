"""The commands of README and documentation run, in the order of their page, as printed.

Some things are not as printed. Only `labelkit` is run, and neither what runs until it is stopped
nor a benchmark. `push` and `pull` work with the files that stand for a server. And the first
training gets one epoch of the smallest network; later rounds keep that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import TINY, labelkit
from newcomer import answer, fill
from pages import PAGES, blocks, commands
from videos import make_video

from labelkit.project.project import open_project
from labelkit.project.rounds import rounds

pytestmark = pytest.mark.slow

#: Pages that begin with images alone; the others begin where the README ends.
BEGINNINGS = ("README.md", "docs/quickstart.md", "docs/skeletons.md", "docs/without-boxes.md")

WAITING = 3


def is_run(words: list[str]) -> bool:
    """Not a server, a page, hours of training, a download, or what is picked in FiftyOne before."""
    hours = ("benchmark", "simulate", "demo")
    if words[0] != "labelkit" or words[1] in ("label", "studio", "serve", *hours):
        return False
    if words[1:3] == ["weights", "fetch"] or "--with" in words:
        return False
    if "--folds" in words:  # thirty labelled objects, more than these pages label
        return False
    return words != ["labelkit", "review"] and "--from-review" not in words


def run(page: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, str]:
    """Run a page's commands in a folder; what each kind of command printed last."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    for title, content in blocks(PAGES[page], "toml"):
        (folder / title).write_text(content, "utf-8")
    printed: dict[str, str] = {}
    for words in filter(is_run, commands(PAGES[page])):
        options = words[2:]
        if words[1] == "push":
            options = ["--files"]
        elif words[1] == "pull":
            answer(folder)
            options = ["--file", "export.json"]
        elif words[1] == "frames":
            for name in filter(lambda word: word.endswith(".mp4"), options):
                make_video(folder / name, range(0, 2000, 40))
        elif words[1] == "bootstrap" and "bootstrap" in printed:
            options = [*options, *TINY]
        file = options.pop() if ">" in options else ""
        outcome = labelkit(words[1], *(word for word in options if word != ">"))
        if file:
            (folder / file).write_text(outcome.out, "utf-8")
        waits = page in BEGINNINGS and not printed
        assert outcome.code == (WAITING if waits else 0), (words, outcome)
        printed[words[1]] = outcome.out
    return printed


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomer") / "work"
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def loop(newcomer: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder after the README's commands, and what they printed."""
    folder = shutil.copytree(newcomer, tmp_path_factory.mktemp("loop") / "work")
    with pytest.MonkeyPatch.context() as patch:
        return folder, run("README.md", patch, folder)


def test_the_readme_goes_once_around_the_loop(loop: tuple[Path, dict[str, str]]):
    folder, printed = loop
    project = open_project(folder / "frames-labelkit")
    assert [item.plan.kind for item in rounds(project)] == ["location-free", "semi-weak"]
    written = json.loads((project.root / "exports" / "keypoints.json").read_text())
    assert len(written["annotations"]) >= 3  # a tenth of 24, and the dev set
    assert str(project.root / "exports") in printed["export"]


WITH_COMMANDS = [page for page, text in PAGES.items() if any(map(is_run, commands(text)))]


@pytest.mark.parametrize("page", sorted({*WITH_COMMANDS} - {"README.md"}))
def test_the_commands_of_a_page_run(
    page: str, newcomer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request
):
    begin = newcomer if page in BEGINNINGS else request.getfixturevalue("loop")[0]
    run(page, monkeypatch, shutil.copytree(begin, tmp_path / "work"))
