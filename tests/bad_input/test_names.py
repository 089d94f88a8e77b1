import csv
import json
from xml.etree import ElementTree

from builders import write_picture
from command_line import labelkit
from team import SIZE, answer_everything, assert_refused, coco
from trained import Trained


def test_a_keypoint_that_is_named_twice_is_refused(team):
    labels = team.write("labels.json", coco(names=["nose", "tail", "nose", "ear"]))
    assert_refused(team.bootstrap("--labels", labels), "'nose' twice", next_step="name")


def test_a_keypoint_that_the_project_does_not_have_is_refused(team):
    labels = team.write("labels.json", coco(names=["nose", "left_paw", "right_paw", "horn"]))
    outcome = team.bootstrap("--labels", labels)
    assert_refused(outcome, "labels.json", "keypoints", next_step="rename")
    assert "'horn'" in outcome.err or "'tail'" in outcome.err


def test_an_answer_for_an_unknown_keypoint_is_refused(team):
    answers = team.write("answers.csv", "image,nose,left_paw,right_paw,horn\n0.png,1,1,1,1\n")
    assert_refused(team.bootstrap("--labels", answers), "answers.csv", "'horn'", next_step="")


def test_a_corrected_keypoint_with_an_unknown_name_is_refused(trained: Trained):
    export = trained.corrections()
    export.write_text(export.read_text("utf-8").replace('["left_knee"]', '["left_fin"]'), "utf-8")
    outcome = labelkit("pull", "--file", export, "--project", trained.project.root)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    for words in ("export.json: task", "'left_fin'", "right_ankle"):
        assert words in outcome.err
    assert trained.store.counts().with_keypoints == 0


HOSTILE = [
    '<b>nose & "co"</b>',
    "left_<script>alert(1)</script>",
    "right_<script>alert(1)</script>",
]


def test_names_with_xml_and_html_in_them_work_and_come_out_escaped(tmp_path):
    for number in range(2):
        write_picture(tmp_path / "a&b <frames>" / f"<i>{number}.png", SIZE, seed=number)
    frames = tmp_path / "a&b <frames>"
    (tmp_path / "hostile.toml").write_text(f"name = '<x>'\nkeypoints = {json.dumps(HOSTILE)}\n")
    asked = labelkit("bootstrap", "--images", frames, "--skeleton", tmp_path / "hostile.toml")
    assert asked.code == 3, asked.err
    project = tmp_path / "a&b <frames>-labelkit"
    screen = ElementTree.parse(project / "label_studio" / "visibility_interface.xml")
    shown = [choice.get("value") for choice in screen.iter("Choice")]
    assert set(HOSTILE) < set(shown)
    assert "<script>" not in (project / "label_studio" / "visibility_interface.xml").read_text()
    pulled = labelkit("pull", "--file", answer_everything(project), "--project", project)
    assert pulled.code == 0, pulled.err
    answers = tmp_path / "out.csv"
    written = labelkit(
        "export", "--format", "visibility", "--output", answers, "--project", project
    )
    assert written.code == 0
    with answers.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [[row[name] for name in HOSTILE] for row in rows] == [["1"] * 3] * 2
    assert sorted(row["image"] for row in rows) == ["<i>0.png", "<i>1.png"]


def test_a_side_without_a_partner_is_no_error_and_is_named(team):
    skeleton = team.write("fox.toml", 'name = "fox"\nkeypoints = ["nose", "left_ear"]\n')
    write_picture(team.folder / "other" / "0.png", SIZE, seed=40)
    outcome = labelkit("bootstrap", "--images", team.folder / "other", "--skeleton", skeleton)
    assert outcome.code == 3
    assert "left_ear" in outcome.err
