"""The commands of README.md run, in their order, as a newcomer types them.

Three things are not as printed. `make`, `pip` and `export` are left out, and so is what runs until
somebody stops it. No server is needed: `push` and `pull` run with the files that stand for one. And
the first command that trains gets what the README advises for a machine without GPU and network
(--preset tiny --no-pretrained), with one epoch and the smallest backbone; later rounds keep those
settings.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from coco_documents import annotation, result, truth
from command_line import TINY, labelkit
from trained import ticked, true_poses

from labelkit.domain.instance import Box, Instance
from labelkit.domain.selection import dev_set
from labelkit.domain.skeleton import load_skeleton
from labelkit.project.images import scan_images
from labelkit.project.project import open_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import DEV_SHARE
from labelkit.workflows.synthetic.figures import generate
from labelkit.workflows.synthetic.simulated_annotator import correct

README = Path(__file__).resolve().parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")

#: Asked for by the README's own words, where people have not answered yet.
WAITING = 3


def commands() -> list[list[str]]:
    """Every line of the bash blocks, as words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def runs_until_it_is_stopped(words: list[str]) -> bool:
    """A server, or a page that somebody looks at."""
    return words[1] in ("review", "serve", "studio")


def scores_files(words: list[str]) -> bool:
    """It needs no project, and so has no place in the loop."""
    return "--truth" in words


def with_files(words: list[str]) -> list[str]:
    """The same without a server: a push writes files, a pull reads what was exported."""
    if words[1] == "push":
        return ["labelkit", "push", "--files"]
    if words[1] == "pull":
        return ["labelkit", "pull", "--file", "export.json"]
    return words


def draw_frames(folder: Path) -> None:
    """frames/ with 24 figures, of which at least one falls into the dev set, and keypoints.json."""
    for seed in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        generate(folder, 24, seed, size=96)
        box = Box(0.0, 0.0, 96.0, 96.0)
        found = [Instance(i, 0, box, "given", 1.0) for i in scan_images(folder / "images").images]
        if dev_set(found, 0, DEV_SHARE):
            break
    (folder / "images").rename(folder / "frames")
    truth = folder / "keypoints.json"
    truth.rename(folder / "truth.json")
    # One that somebody has labelled already, as an object that fills its image.
    document = json.loads((folder / "truth.json").read_text())
    for row in document["annotations"]:
        row["bbox"] = [0, 0, 96, 96]
    document["annotations"] = document["annotations"][:1]
    truth.write_text(json.dumps(document))


def annotate(folder: Path) -> None:
    """Do in Label Studio what the README asks for, with the tasks that are there: export.json."""
    project = open_project(folder / "frames-labelkit")
    with LabelStore.open(project.store_url) as store:
        instances = store.instances()
    truth = true_poses(folder / "truth.json", instances)
    files = {path.name: path for path in (project.root / "label_studio").glob("*_tasks.json")}
    if "correction_tasks.json" in files:
        tasks = json.loads(files["correction_tasks.json"].read_text("utf-8"))
        rows = correct(tasks, instances, truth, project.skeleton)
    else:
        tasks = json.loads(files["visibility_tasks.json"].read_text("utf-8"))
        rows = ticked(tasks, truth, project.skeleton.keypoints)
    (folder / "export.json").write_text(json.dumps(rows), "utf-8")


def test_the_commands_of_the_loop_run_in_the_order_of_the_readme(tmp_path, monkeypatch):
    draw_frames(tmp_path / "newcomer")
    monkeypatch.chdir(tmp_path / "newcomer")
    asked, printed = False, {}
    for words in commands():
        if words[0] != "labelkit" or runs_until_it_is_stopped(words) or scores_files(words):
            continue
        words = with_files(words)
        if words[1] == "pull":
            annotate(Path.cwd())
        trains_first = words[1] == "bootstrap" and asked
        outcome = labelkit(*words[1:], *(TINY if trains_first else ()))
        assert outcome.code == (0 if asked else WAITING), (words, outcome)
        asked = True
        printed[words[1]] = outcome.out
    assert "is complete: 2 of 24 instances gave locations" in printed["retrain"]
    assert "LOFR semi-weak" in printed["evaluate"]
    written = printed["export"].rpartition(" ")[2].strip()
    assert len(json.loads(Path(written).read_text())["annotations"]) >= 3


def test_the_result_file_of_the_readme_is_scored(tmp_path, monkeypatch):
    (words,) = filter(scores_files, commands())
    image = {"id": 1, "file_name": "1.jpg", "crowdIndex": 0.5}
    document = truth(load_skeleton("crowdpose14"), [annotation(14, {12: (5.0, 5.0)})], [image])
    (tmp_path / "crowdpose_test.json").write_text(json.dumps(document))
    (tmp_path / "results.json").write_text(json.dumps([result(14, {12: (5.0, 5.0)})]))
    monkeypatch.chdir(tmp_path)
    outcome = labelkit(*words[1:])
    assert outcome.code == 0
    assert "| results.json | 1.000 | 1.000 | 1.000 |" in outcome.out


def test_every_labelkit_command_and_option_of_the_readme_exists():
    for words in commands():
        if words[0] == "labelkit":
            options = {word for word in words if word.startswith("--")}
            helped = labelkit(words[1], "--help")
            assert helped.code == 0, words
            assert options <= set(re.findall(r"--[a-z-]+", helped.out)), words


def test_make_targets_of_the_readme_exist():
    targets = re.findall(r"^([a-z]+):", (README.parent / "Makefile").read_text(), re.MULTILINE)
    assert {words[1] for words in commands() if words[0] == "make"} <= set(targets)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))))
def test_files_that_the_readme_links_to_are_there(link):
    assert (README.parent / link).exists()


def test_sections_that_the_readme_links_to_are_there():
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_the_skeleton_of_the_readme_can_be_used(tmp_path):
    (example,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "mouse.toml").write_text(example)
    skeleton = load_skeleton(tmp_path / "mouse.toml")
    assert skeleton.keypoints == ("snout", "left_ear", "right_ear", "tailbase")
    assert skeleton.pairs == ((1, 2),)
