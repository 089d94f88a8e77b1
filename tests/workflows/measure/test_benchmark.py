"""`labelkit benchmark`: the same for every row, once each."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY as TINY_OPTIONS
from command_line import labelkit
from lines import Lines
from trained import TINY

from labelkit.domain.pose import human_pose
from labelkit.errors import LabelkitError, ProjectError, UsageError
from labelkit.models.checkpoint import load_checkpoint
from labelkit.models.presets import PRESETS, build_model
from labelkit.progress import Progress, Silent
from labelkit.project.project import BENCHMARK_FILE, find_project, open_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.benchmarking.scores import response_at
from labelkit.workflows.benchmarking.tables import Trial, tables
from labelkit.workflows.measure.benchmark import benchmark
from labelkit.workflows.network.data import MixedSampler
from labelkit.workflows.network.inference import PredictionWithMaps, make_prediction
from labelkit.workflows.network.training import make_recipe
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.settings import TrainingOptions, preset_of
from labelkit.workflows.synthetic.figures import generate

pytestmark = pytest.mark.slow

SETTINGS = {
    "preset": "tiny",
    "backbone": "test_resnet",
    "epochs": 1,
    "rotation": 30.0,
    "mirror": True,
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    generate(folder / "train", 40, seed=0, size=96)
    generate(folder / "test", 4, seed=1, size=96)
    return folder


def unpadded(table: str) -> str:
    """A Markdown table without the spaces that align its columns."""
    return re.sub(" +", " ", table)


def run(
    root: Path,
    table: str,
    figures: Path,
    progress: Progress | None = None,
    test: bool = True,
    **changes,
):
    chosen = {
        "images": figures / "train" / "images",
        "labels": figures / "train" / "keypoints.json",
        "test_images": figures / "test" / "images" if test else None,
        "test_labels": figures / "test" / "keypoints.json" if test else None,
        "percent": [],
        "only": "",
        "seeds": 1,
        "options": TINY,
    }
    return benchmark(table, progress or Silent(), root=root, **(chosen | changes))


@pytest.fixture(scope="module")
def done(tmp_path_factory, figures) -> Path:
    """A quarter of semi-weak, run once."""
    root = tmp_path_factory.mktemp("bench") / "benchmark"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELKIT_DB", f"sqlite:///{root.parent / 'of-a-team.db'}")
        run(root, "semi-weak", figures, percent=[25.0], seeds=2)
    return root


def test_it_keeps_its_own_label_store_whatever_the_environment_names(done):
    assert not (done.parent / "of-a-team.db").exists()
    assert (done / "labels.db").is_file()


def test_a_project_for_labelling_does_not_become_a_benchmark(trained, figures):
    with pytest.raises(UsageError, match=str(trained.project.root)):
        run(trained.project.root, "semi-weak", figures)
    assert not open_project(trained.project.root).has_own_store


def test_it_shows_the_pairs_and_says_which_keypoint_mirrored_crops_leave_out(tmp_path, figures):
    text = (figures / "test" / "keypoints.json").read_text()
    (tmp_path / "labels.json").write_text(text.replace('"right_hip"', '"scar"'))
    progress = Lines()
    with pytest.raises(LabelkitError):  # there is no such test set
        run(
            tmp_path / "benchmark",
            "location-free",
            figures,
            progress,
            images=figures / "test" / "images",
            labels=tmp_path / "labels.json",
            test_images=tmp_path / "nowhere",
        )
    (made,) = [line for line in progress.lines if "left_knee/right_knee" in line]
    assert "left_hip" in made
    (note,) = [line for line in progress.lines if line.startswith("note: ")]
    assert "left_hip" in note
    assert "--pairs" in note


def test_the_rows_that_a_result_has_to_beat_come_first(done, figures):
    report = run(done, "semi-weak", figures, percent=[25.0], seeds=2)
    assert [(row["name"], row["labeled"], row["seeds"]) for row in report.data()["rows"]] == [
        ("skeleton in box", None, 1),
        ("mean pose", "25%", 2),
        ("supervised-only", "25%", 2),
        ("supervised-only, read like LOFR", "25%", 2),
        ("consistency, two networks", "25%", 2),
        ("LOFR as in the paper", "25%", 2),
        ("LOFR", "25%", 2),
        ("LOFR without visibility answers", "25%", 2),
        ("LOFR without the other images", "25%", 2),
    ]
    assert re.search(
        r"\| LOFR without visibility answers \| 25% \| 2 \| \d+\.\d ± ", unpadded(report.text())
    )
    assert "supervised-only ResNet-50 50.3" in report.text()
    (skeleton,) = [line for line in report.text().splitlines() if "skeleton in box" in line]
    (mean_pose,) = [line for line in report.text().splitlines() if "mean pose" in line]
    assert "±" not in skeleton  # the same with every seed
    assert "±" in mean_pose


def test_every_row_takes_as_many_steps_and_gets_its_own_labels(done):
    trials = [json.loads(path.read_text()) for path in done.glob("runs/*/trial.json")]
    assert len(trials) == 12  # both readings of supervised-only share a training
    with LabelStore.open(open_project(done).store_url) as store:
        count = len(read_snapshot(open_project(done), store).trainable)
    assert count < 40  # the dev set is left out
    quarter = round(count / 4)
    assert {trial["labelled"] for trial in trials} == {quarter}
    records = {
        json.loads((path.parent / "trial.json").read_text())["name"]: load_checkpoint(path)[1]
        for path in done.glob("runs/*/model.safetensors")
    }
    learned = {
        name: tuple(record["training"][each] for each in ("located", "answered", "unanswered"))
        for name, record in records.items()
    }
    others = count - quarter
    assert learned == {
        "supervised-only": (quarter, 0, 0),
        "consistency, two networks": (quarter, others, 0),
        "LOFR as in the paper": (quarter, others, 0),
        "LOFR": (quarter, others, 0),
        "LOFR without visibility answers": (quarter, 0, others),
        "LOFR without the other images": (quarter, 0, 0),
    }
    assert len({record["training"]["recipe"]["steps"] for record in records.values()}) == 1


def test_what_was_run_is_not_run_again(done, figures):
    before = {path: path.stat().st_mtime_ns for path in done.glob("runs/*/*")}
    report = run(done, "semi-weak", figures, percent=[25.0], seeds=2, images=None, labels=None)
    assert {path: path.stat().st_mtime_ns for path in done.glob("runs/*/*")} == before
    document = json.loads((done / "reports" / "semi-weak-test.json").read_text())
    assert document == json.loads(json.dumps(report.data()))
    assert (done / "reports" / "semi-weak-test.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_asked_for_is_trained_and_what_has_been_run_is_shown(tmp_path, figures):
    def trained(only: str) -> list[str]:
        progress = Lines()
        report = run(tmp_path / "b", "semi-weak", figures, progress, percent=[25.0], only=only)
        rows.append([row["name"] for row in report.data()["rows"][2:]])
        return [line.split(": step ")[0] for line in progress.epochs]

    rows: list[list[str]] = []
    # One row has this name, and others hold it.
    assert trained("lofr") == ["LOFR at 25%, seed 0 (1 of 1)"]
    assert trained("without") == [
        "LOFR without visibility answers at 25%, seed 0 (1 of 2)",
        "LOFR without the other images at 25%, seed 0 (2 of 2)",
    ]
    assert trained("supervised-only") == ["supervised-only at 25%, seed 0 (1 of 1)"]
    assert trained("supervised") == []
    others = ["LOFR", "LOFR without visibility answers", "LOFR without the other images"]
    assert rows == [
        ["LOFR"],
        others,
        ["supervised-only", *others],
        ["supervised-only", "supervised-only, read like LOFR", *others],
    ]


def test_a_preset_that_has_changed_since_is_trained_anew(done, figures, monkeypatch):
    only = {"percent": [25.0], "only": "supervised-only"}
    before = set(done.glob("runs/*"))
    monkeypatch.setitem(PRESETS["tiny"]["loss"], "sigma", 2.5)
    run(done, "semi-weak", figures, **only)
    (new,) = set(done.glob("runs/*")) - before
    assert json.loads((new / "trial.json").read_text())["preset"]["loss"]["sigma"] == 2.5
    run(done, "semi-weak", figures, **only)
    assert len(set(done.glob("runs/*")) - before) == 1
    shutil.rmtree(new)


def test_one_training_is_read_in_two_ways(done):
    for other in done.glob("runs/*/scores-kinematics-True-rotation_tta-20.0-test-*.json"):
        (plain,) = other.parent.glob("scores-test-*.json")
        assert json.loads(plain.read_text()) != json.loads(other.read_text())
    assert len(list(done.glob("runs/*/scores-kinematics-True-rotation_tta-*"))) == 2  # a seed each


def test_rotation_and_mirror_hold_for_every_row(done, figures):
    before, kept = set(done.glob("runs/*")), (done / BENCHMARK_FILE).read_text()
    turns = ("--rotation", "180", "--no-mirror")
    only = ("--labeled", "25%", "--only", "read like", "--seeds", "1")
    outcome = labelkit("benchmark", "semi-weak", "--project", done, *only, *turns, *TINY_OPTIONS)
    assert outcome.code == 0
    assert "180 degrees" in outcome.out
    (new,) = set(done.glob("runs/*")) - before
    recipe = load_checkpoint(new / "model.safetensors")[1]["training"]["recipe"]
    assert (recipe["rotation"], recipe["mirror"]) == (180.0, False)
    shutil.rmtree(new)
    (done / BENCHMARK_FILE).write_text(kept)


def test_it_continues_with_its_settings_and_is_not_a_project_to_label(done, figures):
    before = set(done.glob("runs/*"))
    run(done, "semi-weak", figures, percent=[25.0], seeds=2, options=TrainingOptions())
    assert set(done.glob("runs/*")) == before
    with pytest.raises(ProjectError, match=str(done.parent)):
        find_project(done.parent)


@pytest.mark.parametrize("what", ["keypoints", "bbox"])
def test_what_has_other_labels_is_scored_again(done, figures, tmp_path, what):
    document = json.loads((figures / "test" / "keypoints.json").read_text())
    for item in document["annotations"]:
        if what == "keypoints":
            item["keypoints"][0::3] = [x * 0.9 for x in item["keypoints"][0::3]]
        else:
            item["bbox"] = [0.0, 0.0, 96.0, 96.0]
    (tmp_path / "test").mkdir()
    moved = tmp_path / "test" / "keypoints.json"
    moved.write_text(json.dumps(document))
    only = {"percent": [25.0], "only": "supervised"}
    before = run(done, "semi-weak", figures, **only).data()["rows"]
    trained = set(done.glob("runs/*"))
    after = run(done, "semi-weak", figures, **only, test_labels=moved).data()["rows"]
    # The other rows have not been scored on the new truth.
    assert [row["name"] for row in after] == [row["name"] for row in before[:4]]
    assert before[3]["median_px"] != after[3]["median_px"]
    assert set(done.glob("runs/*")) == trained


def test_a_keypoint_that_is_absent_everywhere_has_no_response(tmp_path, figures):
    document = json.loads((figures / "test" / "keypoints.json").read_text())
    for item in document["annotations"]:
        item["keypoints"][:3] = [0.0, 0.0, 0]
    labels = tmp_path / "keypoints.json"
    labels.write_text(json.dumps(document))
    report = run(tmp_path / "b", "response", figures, only="LOFR", test_labels=labels)
    (row,) = [row for row in report.data()["rows"] if row["name"] == "LOFR"]
    first, *others = row["response"].values()
    assert first is None
    assert None not in others
    assert "| LOFR | 0% | - | 0." in unpadded(report.text())


def test_responses_are_shares_of_the_peak_of_each_map():
    maps = np.zeros((4, 6, 5), dtype=np.float32)
    maps[0, 2, 3], maps[0, 4, 4] = 0.2, 0.8  # (30, 20) is in the cell of row 2 and column 3
    maps[1] = 0.0
    to_cells = np.array([(0.1, 0.0, 0.0), (0.0, 0.1, 0.0)])
    prediction = make_prediction("a-0", np.zeros((4, 2)), np.ones(4), np.ones(4))
    none = np.zeros((4, 0, 0), dtype=np.float32)
    feature = np.zeros(32, dtype=np.float16)
    found = PredictionWithMaps(prediction, to_cells, maps, 1 - maps, none, feature)
    truth = human_pose([(30, 20), (30, 20), (0, 0), (99, 20)], [2, 2, 0, 2])
    share = response_at(found, truth)
    assert share[[0, 1, 3]] == pytest.approx([0.25, 0.0, 0.0])  # the last lies outside
    assert np.isnan(share[2])  # absent


def test_the_dev_set_is_scored_by_default_and_pictures_are_drawn(done, figures):
    report = run(done, "response", figures, test=False, only="LOFR as in the paper")
    document = report.data()
    assert document["scored_on"] == "dev"
    (row,) = [row for row in document["rows"] if row["name"] == "LOFR as in the paper"]
    assert len(row["response"]) == 14
    defined = [value for value in row["response"].values() if value is not None]
    assert defined
    assert all(0 <= value <= 1 for value in defined)
    assert "Average response at the true keypoint" in report.text()
    (maps,) = done.glob("runs/*/maps.png")
    assert (maps.parent / "parts.png").is_file()


def test_every_trial_of_every_table_changes_what_its_preset_knows():
    for table in tables(PRESETS["tiny"]).values():
        for trial in table.trials:
            changed = preset_of({**SETTINGS, "changes": trial.changes})
            for name, changes in trial.changes.items():
                known = set(preset_of(SETTINGS)[name])
                if name == "loss":
                    assert set(changes) <= known, trial.name
                assert {key: changed[name][key] for key in changes} == dict(changes)


def built(trial: Trial, preset: str = "tiny"):
    settings = {**SETTINGS, "preset": preset, "changes": trial.changes}
    return build_model(trial.kind, 3, [(0, 1), (1, 2)], preset_of(settings), pretrained=False)


def test_each_row_of_the_modules_has_the_modules_it_is_named_after_and_no_other():
    has = {}
    for trial in tables(PRESETS["tiny"])["modules"].trials[1:]:
        network, diversity = built(trial), trial.changes["loss"]["weights"][3]
        prototypes = network.prototypes
        assert prototypes.uses_vectors is bool(prototypes.convs), trial.name
        has[trial.name] = (
            network.spe.spe == "embed",
            network.memory_strides,
            len(prototypes.convs),
            diversity,
        )
    one, all_scales = (16,), (4, 8, 16)
    assert has == {
        "SPE": (True, one, 0, 0.0),
        "MS": (False, all_scales, 0, 0.0),
        "RePPG": (False, one, 2, 0.0),
        "PDC": (False, one, 0, 0.1),
        "SPE + MS": (True, all_scales, 0, 0.0),
        "RePPG + PDC": (False, one, 2, 0.1),
        "all": (True, all_scales, 2, 0.1),
    }


def test_the_baseline_has_no_part_diversity():
    for name in ("modules", "location-free", "response"):
        baseline = tables(PRESETS["tiny"])[name].trials[0]
        assert (baseline.kind, baseline.changes["loss"]["weights"]) == ("detr", (0.2, 0.2, 0.5, 0))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_all_rows_of_a_table_share_a_backbone(preset):
    for name, table in tables(PRESETS[preset]).items():
        sizes = set()
        for kind, changes in {t.kind: t.changes for t in table.trials}.items():
            network = built(Trial("", kind, changes=changes), preset)
            part = network.twins[0] if kind == "twin" else network
            sizes.add(sum(p.numel() for p in part.backbone.net.parameters() if p.requires_grad))
        assert len(sizes) == 1, name


def test_a_row_as_in_the_paper_trains_as_the_paper_says():
    (trial,) = [t for t in tables(PRESETS["tiny"])["plus"].trials if t.name.startswith("LOFR as")]
    recipe = make_recipe(preset_of({**SETTINGS, "changes": trial.changes}), 160, 1, 0, located=True)
    assert (recipe.optimizer, recipe.lr, recipe.transformer_lr) == ("adam", 4e-3, 4e-4)
    assert (recipe.weight_decay, recipe.rotation, recipe.mirror) == (1e-4, 0.0, True)
    assert (recipe.lambda_mse, recipe.pseudo_labels_at) == (1.0, ())
    sampler = MixedSampler(range(40), range(40, 160), 16, 1, recipe.located_share, 1.0, 0)
    assert sampler.located_per_batch == 4  # a quarter of the crops, a quarter of the batch
    assert built(trial).encoder.enc_tokens == "per_scale"


def test_the_foot_of_a_table_says_where_its_rows_depart_from_the_paper(done, figures):
    report = run(done, "semi-weak", figures, percent=[25.0], only="as in the paper")
    for word in ("schedule", "sampling", "rotation", "scale", "All rows share the backbone"):
        assert word in report.text()
        assert word in report.data()["note"]


def test_what_a_row_changes_counts_more_than_what_was_asked_of_all_rows():
    changed = preset_of({**SETTINGS, "changes": {"training": {"epochs": 7, "rotation": 5.0}}})
    assert (changed["training"]["epochs"], changed["training"]["rotation"]) == (7, 5.0)
    assert changed["training"]["mirror"] is True


def test_no_row_is_there_twice():
    for table in tables(PRESETS["tiny"]).values():
        rows = [(trial.name, trial.percent) for trial in table.trials]
        assert len(rows) == len(set(rows))


def test_only_what_departs_from_the_paper_is_taken_back():
    tiny = tables(PRESETS["tiny"])
    located = {trial.name for trial in tiny["plus"].trials}
    alone = {trial.name for trial in tiny["plus-location-free"].trials}
    assert "LOFR, cam_input as in the paper" not in located  # it is, in "tiny"
    both = {"LOFR, lambda_mse as in the paper", "LOFR, cam_pool as in the paper"}
    assert both < located
    assert both < alone
    only_alone = {"pose_prior", "lr_unlocated", "response", "map_norm"}
    assert {f"LOFR, {name} as in the paper" for name in only_alone} | {"plain CAM"} == (
        alone - located
    )
    only_located = {"sampling", "cam_stride"}  # without locations CAMs have the paper's stride
    assert {f"LOFR, {name} as in the paper" for name in only_located} | {
        "LOFR with consistency"
    } == located - alone
    assert {"LOFR, optimizer as in the paper", "LOFR, rotation as in the paper"} < alone
    paper = tables(PRESETS["paper"])
    assert [trial.name for trial in paper["plus-location-free"].trials] == [
        "LOFR",
        "plain CAM",
        "LOFR as in the paper",
    ]
    assert "supervised-only, read like LOFR" not in {t.name for t in paper["semi-weak"].trials}


@pytest.mark.parametrize(
    ("table", "changes", "words"),
    [
        ("table-9", {}, "'table-9'(?s:.*)semi-weak, modules"),
        ("depth", {"percent": [10.0]}, "'depth'(?s:.*)--labeled"),
        ("depth", {"images": None}, "new(?s:.*)--images DIR --labels FILE"),
        ("depth", {"test_images": None}, "--test-images DIR and --test-labels FILE"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(
    tmp_path, figures, table, changes, words
):
    with pytest.raises(UsageError, match=words):
        run(tmp_path / "new", table, figures, **changes)
    assert not (tmp_path / "new").exists()
