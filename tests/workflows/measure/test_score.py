import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from coco_documents import annotation, result, truth
from command_line import labelkit
from mpii_files import rect, write_release
from scipy.io import savemat

from labelkit.domain.skeleton import load_skeleton, make_skeleton
from labelkit.errors import UsageError
from labelkit.progress import Console
from labelkit.workflows.measure import score as workflow

DATA = Path(os.environ.get("LABELKIT_DATA", Path(__file__).parents[3] / "shared" / "data"))
LSPET = DATA / "lspet" / "val" / "keypoints.json"

CROWDPOSE14, LSP14 = load_skeleton("crowdpose14"), load_skeleton("lsp14")
HEAD = 12


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content))
    return folder / name


def score(predictions, truth_file, metric, *options):
    return labelkit(
        *("score", "--predictions", predictions, "--truth", truth_file, "--metric", metric),
        *options,
    )


def row(text: str, name: str) -> list[str]:
    """The numbers of a row of a Markdown table."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.fixture
def crowd(tmp_path):
    """Three images, easy to hard, with a person each; the first two are found."""
    images = [
        {"id": n, "file_name": f"{n}.jpg", "crowdIndex": index}
        for n, index in ((1, 0.1), (2, 0.5), (3, 0.9))
    ]
    people = [annotation(14, {HEAD: (50.0, 50.0)}, image=n) for n in (1, 2, 3)]
    found = [result(14, {HEAD: (50.0, 50.0)}, image=n) for n in (1, 2)]
    return (
        write(tmp_path, "results.json", found),
        write(tmp_path, "truth.json", truth(CROWDPOSE14, people, images)),
    )


def coco_files(folder, *scores: float):
    """A person in one image, and an exact result for each score."""
    coco17 = load_skeleton("coco17")
    people = [annotation(17, {0: (10.0, 10.0)})]
    found = [result(17, {0: (10.0, 10.0)}, score) for score in scores]
    return write(folder, "r.json", found), write(folder, "t.json", truth(coco17, people))


def test_coco_prints_the_ten_official_numbers(tmp_path):
    outcome = score(*coco_files(tmp_path, 0.9), "coco")
    assert (outcome.code, outcome.err) == (0, "")
    scored, _, heading, _, _ = outcome.out.splitlines()
    assert scored == (
        f"COCO keypoints, 1 results against 1 labelled people in 1 images of {tmp_path}/t.json:"
    )
    assert [cell.strip() for cell in heading.strip("|").split("|")] == [
        *("predictions", "AP", "AP50", "AP75", "APM", "APL"),
        *("AR", "AR50", "AR75", "ARM", "ARL"),
    ]
    assert row(outcome.out, "r.json") == [*["1.000"] * 4, "-", *["1.000"] * 4, "-"]


def test_without_a_labelled_person_every_number_is_undefined_and_a_note_says_why(tmp_path):
    predictions, truth_file = coco_files(tmp_path, 0.9)
    empty = truth(load_skeleton("coco17"), [annotation(17, {})])
    outcome = score(predictions, write(tmp_path, truth_file.name, empty), "coco")
    assert (outcome.code, row(outcome.out, "r.json")) == (0, ["-"] * 10)
    assert f"No person has a keypoint in {truth_file}" in outcome.out


def own_files(folder, sigmas=None, categories=1, **changes):
    """A mouse of two keypoints, and a result whose only labelled keypoint is `off` pixels away.

    At sigma s, OKS is exp(-off^2 / (2 * 1600 * (2 s)^2)): .72 at .08, and .921 at .16.
    """
    off = 81.92**0.5 * (-math.log(0.72)) ** 0.5
    mouse = make_skeleton("mouse", ["snout", "tail"], sigmas=sigmas)
    people = [
        annotation(2, {0: (10.0, 10.0)}, image=n + 1, category_id=n + 1, **changes)
        for n in range(categories)
    ]
    document = truth(mouse, people, categories)
    document["categories"] = [
        {**document["categories"][0], "id": n + 1, "name": f"mouse {n + 1}"}
        for n in range(categories)
    ]
    if sigmas:
        extra = {"name": "mouse", "pairs": [], "sigmas": sigmas, "layout": [[0.5, 0.5]] * 2}
        document["categories"][0]["labelkit"] = extra
    found = [
        result(2, {0: (10.0 + off * (n == 0), 10.0)}, 0.9, n + 1, category_id=n + 1)
        for n in range(categories)
    ]
    return write(folder, "r.json", found), write(folder, "t.json", document)


def test_any_keypoints_are_scored_by_oks_with_equal_sigmas_which_is_said(tmp_path):
    outcome = score(*own_files(tmp_path), "oks")
    assert outcome.code == 0, outcome.err
    assert row(outcome.out, "r.json")[:3] == ["0.500", "1.000", "0.000"]  # up to .70
    assert "labelled objects" in outcome.out
    assert "0.08" in outcome.out
    assert "--skeleton" in outcome.out


def test_the_sigmas_come_from_a_skeleton_file_or_from_the_truth(tmp_path):
    files = own_files(tmp_path)
    (tmp_path / "mouse.toml").write_text('keypoints = ["tail", "snout"]\nsigmas = [0.01, 0.16]\n')
    given = score(*files, "oks", "--skeleton", tmp_path / "mouse.toml")
    assert row(given.out, "r.json")[0] == "0.900"  # up to .90
    own = score(*own_files(tmp_path, sigmas=[0.16, 0.01]), "oks")
    assert row(own.out, "r.json")[0] == "0.900"
    (tmp_path / "rat.toml").write_text('keypoints = ["snout", "paw"]\n')
    other = score(*files, "oks", "--skeleton", tmp_path / "rat.toml")
    assert (other.code, "'paw'" in other.err) == (1, True)


def test_several_categories_are_scored_each_and_their_mean_is_the_score(tmp_path):
    outcome = score(*own_files(tmp_path, categories=2), "oks")
    assert row(outcome.out, "r.json")[:3] == ["0.750", "1.000", "0.500"]
    assert "2 categories" in outcome.out


def test_a_truth_without_areas_is_scored_by_those_of_its_boxes(tmp_path):
    with_areas = score(*own_files(tmp_path), "oks")
    outcome = score(*own_files(tmp_path, area=None), "oks")
    assert row(outcome.out, "r.json") == row(with_areas.out, "r.json")
    assert "box" in outcome.out


def test_coco_scores_its_own_keypoints_only_and_names_the_metric_for_any(tmp_path):
    outcome = score(*own_files(tmp_path), "coco")
    assert (outcome.code, outcome.out) == (1, "")
    assert [text for text in ("coco17", "--metric oks") if text not in outcome.err] == []


def test_a_results_file_is_scored_as_it_is_unless_rescoring_is_asked_for(tmp_path):
    files = coco_files(tmp_path, 0.9, 0.8)
    # The duplicate comes second and costs nothing in AP; only the note tells that it was dropped.
    assert "OKS-NMS" not in score(*files, "coco").out
    outcome = score(*files, "coco", "--rescore")
    assert "OKS-NMS at 0.9 dropped 1 of 2 results" in outcome.out


def test_rescoring_changes_the_order(tmp_path):
    predictions, truth_file = coco_files(tmp_path, 0.5)
    # As it is, the lost result comes first; its joints, all below .2, send it to the end.
    lost = result(17, {0: (900.0, 900.0)}, 0.9)
    lost["keypoints"][2::3] = [0.1] * 17
    write(tmp_path, "r.json", [lost, *json.loads(predictions.read_text())])
    assert row(score(predictions, truth_file, "coco").out, "r.json")[0] == "0.500"
    assert row(score(predictions, truth_file, "coco", "--rescore").out, "r.json")[0] == "1.000"


def test_crowdpose_prints_the_official_numbers_and_the_rule_behind_them(crowd):
    outcome = score(*crowd, "crowdpose")
    heading = outcome.out.splitlines()[2]
    assert [cell.strip() for cell in heading.strip("|").split("|")] == [
        *("predictions", "AP", "AP50", "AP75", "AR", "AR50", "AR75"),
        *("AP(E)", "AP(M)", "AP(H)"),
    ]
    # Two of three: recall 2/3 is level 66, and 67 of 101 levels are reached.
    assert row(outcome.out, "results.json") == [
        *["0.663"] * 3,
        *["0.667"] * 3,
        *["1.000", "1.000", "0.000"],
    ]
    assert (
        "easy below 0.2 (images: 1), medium 0.2 to 0.8 (images: 1), hard 0.8 and more (images: 1)"
    ) in outcome.out


def test_crowdpose_prints_any_bins_that_are_asked_for(crowd):
    outcome = score(*crowd, "crowdpose", "--crowd-bins", "0.2,0.6,1")
    assert row(outcome.out, "0.2 to 0.6") == ["1", "1.000"]
    assert row(outcome.out, "0.6 and more") == ["1", "0.000"]
    assert outcome.out.endswith("In none of these bins: 1 images.\n")


def test_machines_get_every_digit_and_null_where_nothing_is_defined(crowd, tmp_path):
    written = tmp_path / "scores.json"
    outcome = score(*crowd, "crowdpose", "--crowd-bins", "2,3", "--json", "--output", written)
    document = json.loads(outcome.out)
    assert document == json.loads(written.read_text())
    assert list(document) == ["metric", "unit", "scored", "rows", "notes"]
    assert (document["metric"], document["unit"]) == ("crowdpose", "0 to 1")
    scores, only_bin = document["rows"]
    assert scores["name"] == "results.json"
    assert scores["AP"] == pytest.approx(67 / 101)
    assert only_bin == {"name": "2 to 3", "images": 0, "AP": None}


def test_the_truth_is_not_replaced_by_scores_but_scores_are(crowd, tmp_path):
    truth_before = crowd[1].read_bytes()
    outcome = score(*crowd, "crowdpose", "--output", crowd[1])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("Name another file, or add: --overwrite\n")
    assert crowd[1].read_bytes() == truth_before
    for _ in range(2):
        assert score(*crowd, "crowdpose", "--output", tmp_path / "scores.json").code == 0


def mpii_files(folder, poses):
    """Two people with all joints at (100, 100) and heads of 30 px: .6 of 30 x 40."""
    boxes = np.zeros((2, 2, 2))
    boxes[1] = [[30.0, 30.0], [40.0, 40.0]]
    names = {"pos_gt_src": np.full((16, 2, 2), 100.0), "jnt_missing": np.zeros((16, 2))}
    savemat(folder / "gt_valid.mat", names | {"headboxes_src": boxes})
    savemat(folder / "pred.mat", {"preds": poses})
    return folder / "pred.mat", folder / "gt_valid.mat"


def test_mpii_prints_joints_and_mean_in_percent(tmp_path):
    poses = np.full((2, 16, 2), 100.0)
    poses[0, 9, 0] += 15.0  # the top of the head: half a head, found
    poses[1, 9, 0] += 15.1
    outcome = score(*mpii_files(tmp_path, poses), "mpii")
    assert "2 people" in outcome.out
    assert outcome.out.splitlines()[2].split()[1::2] == [
        *("predictions", "Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean"),
    ]
    assert row(outcome.out, "pred.mat") == ["50.0", *["100.0"] * 6, "96.4"]  # 27 of 28


def test_people_of_the_release_of_mpii_are_scored_by_name(tmp_path):
    joints = dict.fromkeys(range(16), (100, 100))
    release = write_release(tmp_path / "mpii.mat", [rect(joints), rect(joints)])  # heads of 30 px
    pose = np.full((16, 2), 99.0)  # counted from 0
    pose[10] += 20.0  # the right wrist
    people = [{"image": "a.jpg", "person": 2, "keypoints": pose.tolist()}]
    found = write(tmp_path, "p.json", {"first_pixel": 0, "people": people})
    outcome = score(found, release, "mpii")
    assert row(outcome.out, "p.json") == [*["100.0"] * 3, "50.0", *["100.0"] * 3, "92.9"]
    assert outcome.out.startswith(f"MPII, 1 people of {release}, PCKh@0.5 in percent:\n")
    assert outcome.out.endswith("In the images named, 2 people are labelled.\n")


def test_json_from_0_and_matlab_from_1_are_the_same_poses(tmp_path):
    _, truth_file = mpii_files(tmp_path, np.zeros((2, 16, 2)))
    poses = np.full((2, 16, 2), 99.0 + 15.0 / np.sqrt(2) - 1e-9).tolist()  # half a head off
    found = write(tmp_path, "p.json", {"first_pixel": 0, "poses": poses})
    assert row(score(found, truth_file, "mpii").out, "p.json")[-1] == "100.0"
    found = write(tmp_path, "p.json", {"first_pixel": 1, "poses": np.add(poses, 2.0).tolist()})
    assert row(score(found, truth_file, "mpii").out, "p.json")[-1] == "0.0"


def test_lsp_is_scored_by_the_torso(tmp_path):
    joints = np.zeros((3, 14, 2))
    joints[:2, 9] = [[30.0, 30.0], [40.0, 40.0]]  # torsos of 50 px
    pred = joints[:2].copy()
    pred[0, 0, 0] += 10.0  # .2 of it
    pred[0, 0, 1] += 11.0
    savemat(tmp_path / "joints.mat", {"joints": joints})
    savemat(tmp_path / "pred.mat", {"pred": pred})
    outcome = score(tmp_path / "pred.mat", tmp_path / "joints.mat", "lsp", "--json")
    at_2, at_1 = json.loads(outcome.out)["rows"]
    assert (at_2["name"], at_2["people"]) == ("PCK@0.2 of the torso", 2)
    assert (at_2["Ankle"], at_2["Mean"]) == pytest.approx((75.0, 100 * 27 / 28))
    assert (at_1["name"], at_1["Mean"]) == ("PCK@0.1 of the torso", pytest.approx(100 * 26 / 28))


def test_lspet_as_coco_keypoints_is_scored_by_the_box_too(tmp_path):
    # Box of 40 x 20 px; the shoulder of the first person is missing, and with it the torso.
    people = [
        annotation(14, {0: (5.0, 5.0), 1: (9.0, 9.0)}, box=(0.0, 0.0, 40.0, 20.0)),
        annotation(14, {2: (5.0, 5.0), 9: (5.0, 25.0)}, image=2, box=(0.0, 0.0, 40.0, 20.0)),
    ]
    found = [
        result(14, {0: (13.0, 5.0), 1: (9.0, 17.1)}),  # 8.0 and 8.1 px: .2 * 40 = 8
        result(14, {2: (5.0, 5.0), 9: (5.0, 29.5)}, image=2),  # 4.5 px: .2 * 20 = 4, .1 * 40 = 4
    ]
    outcome = score(
        write(tmp_path, "r.json", found),
        write(tmp_path, "t.json", truth(LSP14, people, 2)),
        "lsp",
    )
    assert row(outcome.out, "PCK@0.2 of the torso")[0] == "1"
    assert row(outcome.out, "PCK@0.2 of the torso")[-1] == "50.0"
    assert row(outcome.out, "PCK@0.2 of the box's long side")[0] == "2"
    assert row(outcome.out, "PCK@0.2 of the box's long side")[-1] == "75.0"
    assert row(outcome.out, "PCK@0.1 of the box's long side")[-1] == "25.0"


@pytest.mark.skipif(not LSPET.is_file(), reason="no lspet under LABELKIT_DATA")
def test_real_people_are_found_up_to_the_limit(tmp_path):
    found = []
    for person in json.loads(LSPET.read_text())["annotations"]:
        moved = np.array(person["keypoints"]).reshape(14, 3)
        moved[:, 0] += 0.15 * max(person["bbox"][2:])
        row_of_image = {"image_id": person["image_id"], "category_id": 1, "score": 1.0}
        found.append(row_of_image | {"keypoints": moved.ravel().tolist()})
    outcome = score(write(tmp_path, "r.json", found), LSPET, "lsp")
    assert row(outcome.out, "PCK@0.2 of the box's long side") == ["1000", *["100.0"] * 8]
    assert row(outcome.out, "PCK@0.1 of the box's long side") == ["1000", *["0.0"] * 8]
    assert row(outcome.out, "PCK@0.2 of the torso")[0] == "733"


# Wrong usage


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["--truth", "t.json", "--metric", "coco"], "--predictions"),
        (["--predictions", "r.json", "--metric", "coco"], "--truth"),
        (["--predictions", "r.json", "--truth", "t.json"], "--metric"),
    ],
)
def test_2_where_one_of_the_three_options_is_missing(options, missing):
    outcome = labelkit("score", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert missing in outcome.err


@pytest.mark.parametrize(
    ("metric", "options", "named"),
    [
        ("voc", [], ["'voc'", "'coco', 'crowdpose', 'mpii', 'lsp'"]),
        ("mpii", ["--rescore"], ["mpii", "--rescore"]),
        ("coco", ["--crowd-bins", "0,1"], ["crowdpose", "coco", "--crowd-bins"]),
        ("crowdpose", ["--crowd-bins", "0,x"], ["'0,x'", "--crowd-bins 0,0.1,0.8,1"]),
        ("crowdpose", ["--crowd-bins", "1,0"], ["'1,0'", "--crowd-bins 0,0.1,0.8,1"]),
        ("crowdpose", ["--crowd-bins", "0.5"], ["'0.5'", "--crowd-bins 0,0.1,0.8,1"]),
        ("crowdpose", ["--crowd-bins", "0,nan"], ["'0,nan'", "--crowd-bins 0,0.1,0.8,1"]),
        ("coco", ["--skeleton", "lsp14"], ["--skeleton", "--metric oks"]),
        ("coco", ["--project", "p"], ["--project"]),
        ("coco", ["--images", "i"], ["--images"]),
    ],
)
def test_2_for_options_that_do_not_fit(metric, options, named):
    outcome = score("r.json", "t.json", metric, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert [text for text in named if text not in outcome.err] == []


def test_from_python_an_unknown_metric_is_refused_too():
    with pytest.raises(UsageError, match="'voc'") as caught:
        workflow.score(Path("r.json"), Path("t.json"), "voc", Console())
    assert "coco, crowdpose, mpii, lsp" in caught.value.next_step


# Wrong files


@pytest.mark.parametrize(
    ("metric", "predictions", "truth_file", "named"),
    [
        ("coco", "none.json", "t.json", "none.json"),
        ("coco", "r.json", "none.json", "none.json"),
        ("coco", "cut.json", "t.json", "cut.json is not JSON"),
        ("coco", "r.json", "cut.json", "cut.json is not JSON"),
        ("coco", "t.json", "t.json", "holds an object, not a list"),
        ("crowdpose", "r.json", "t.json", "crowdpose14"),
        ("lsp", "r.json", "t.json", "lsp14"),
        ("coco", "pred.mat", "t.json", "pred.mat is a MATLAB file"),
        ("mpii", "pred.mat", "t.json", "gt_valid.mat"),
        ("coco", "pred.MAT", "t.json", "pred.MAT is a MATLAB file"),
        ("mpii", "pred.MAT", "pred.MAT", "pos_gt_src; it has preds"),
        ("mpii", "pred.mat", "pred.mat", "pos_gt_src; it has preds"),
        ("mpii", "short.mat", "gt_valid.mat", "has 1 poses; the truth has 2 people"),
        ("mpii", "r.json", "gt_valid.mat", "r.json"),
        ("lsp", "pred.mat", "gt_valid.mat", "(2, 16, 2)"),
    ],
)
def test_1_for_files_that_cannot_be_scored(metric, predictions, truth_file, named, tmp_path):
    coco_files(tmp_path, 0.9)
    mpii_files(tmp_path, np.zeros((2, 16, 2)))
    savemat(tmp_path / "short.mat", {"preds": np.zeros((1, 16, 2))})
    (tmp_path / "pred.MAT").write_bytes((tmp_path / "pred.mat").read_bytes())
    (tmp_path / "cut.json").write_text('[{"image_id": 1, "keyp')
    outcome = score(tmp_path / predictions, tmp_path / truth_file, metric)
    assert (outcome.code, outcome.out) == (1, "")
    assert named in outcome.err
    assert len(outcome.err.splitlines()) <= 3
