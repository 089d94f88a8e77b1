import json
from dataclasses import replace

import pytest
from lines import Lines
from PIL import Image as Picture

from labelkit.errors import ProjectError, UsageError
from labelkit.metrics.table import METRICS, ResultRow, ResultTable
from labelkit.project.project import open_project
from labelkit.project.rounds import rounds
from labelkit.store.label_store import LabelStore
from labelkit.workflows.help.demo import Size, _in_words, demo
from labelkit.workflows.synthetic.simulated_annotator import NAME

pytestmark = pytest.mark.slow


SMALL = Size(24, 4, 1, 1, (5.0, 10.0))


def run(folder, progress=None, seed=0, **changed):
    return demo(folder, progress or Lines(), seed=seed, size=replace(SMALL, **changed))


def networks(folder):
    """When each network of the demo was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The demo of 24 figures: its folder, the lines it reported, and its report."""
    folder = tmp_path_factory.mktemp("demo")
    lines = Lines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABELKIT_DB", f"sqlite:///{folder / 'of-a-team.db'}")
        return folder, lines, run(folder, lines)


def test_it_keeps_its_own_label_store_whatever_the_environment_names(shown):
    folder, _, _ = shown
    assert not (folder / "of-a-team.db").exists()
    assert (folder / "project" / "labels.db").is_file()


def test_the_table_has_a_row_for_every_way_of_getting_poses(shown):
    rows = [(row.name, row.labeled) for row in shown[2].table.rows]
    # 5 % of 24 is 1, 10 % is 2.
    assert rows == [
        ("skeleton in box", None),
        ("mean pose", "8.3%"),
        ("LOFR location-free", "0%"),
        ("supervised-only", "4.2%"),
        ("LOFR semi-weak", "4.2%"),
        ("supervised-only", "8.3%"),
        ("LOFR semi-weak", "8.3%"),
    ]
    for row in shown[2].table.rows:
        assert 0 <= row["pck@0.2"] <= row["pck@0.2_lr_agnostic"] <= 1


def test_the_same_table_lies_in_the_folder_as_json(shown):
    folder, _, report = shown
    assert json.loads((folder / "results.json").read_text()) == report.data()


def test_it_leaves_a_picture_of_each_stage_and_the_label_studio_files(shown):
    folder, lines, report = shown
    # Drawn, ticked, 5 % and 10 % corrected, compared.
    assert len(report.pictures) == 5
    for path in report.pictures:
        assert any(str(path) in line for line in lines.lines)
        with Picture.open(path) as picture:
            assert min(picture.size) > 300
    made = {path.name for path in (folder / "project" / "label_studio").iterdir()}
    assert {"correction_interface.xml", "correction_tasks.json"} <= made


def test_its_last_line_leads_to_the_labelling_page(shown):
    folder, _, report = shown
    last = report.text().splitlines()[-1]
    assert last.endswith(f"labelkit label --project {folder / 'project'}")


def test_its_report_names_the_simulated_annotator(shown):
    _, lines, report = shown
    assert NAME in report.text()
    assert any(NAME in line for line in lines.lines)


def test_no_location_is_known_before_the_annotator_corrected(shown):
    folder, _, _ = shown
    project = open_project(folder / "project")
    first = rounds(project)[0]
    with LabelStore.open(project.store_url) as store:
        assert store.poses(project.skeleton, first.plan.journal_head) == {}


def test_every_network_is_trained_once(shown):
    # Location-free, and at both percentages semi-weak and supervised-only.
    assert len(networks(shown[0])) == 5


def test_run_again_it_trains_nothing_and_has_the_same_table(shown):
    folder, _, first = shown
    before = networks(folder)
    assert run(folder).data() == first.data()
    assert networks(folder) == before


def test_no_epochs_are_refused_before_anything_is_drawn(tmp_path):
    for none in ({"epochs": 0}, {"epochs_on_ticks": 0}):
        with pytest.raises(UsageError, match="--epochs"):
            run(tmp_path / "demo", **none)
    assert not (tmp_path / "demo").exists()


def test_a_folder_with_another_demo_is_refused(shown):
    for changed in ({"figures": 25}, {"seed": 1}):
        with pytest.raises(ProjectError, match=f"{shown[0]}(?s:.*)labelkit demo"):
            run(shown[0], **changed)


def test_it_says_plainly_where_ticks_do_not_pay():
    shares = {
        ("skeleton in box", None): 0.1,
        ("mean pose", "10%"): 0.3,
        ("LOFR location-free", "0%"): 0.2,
        ("supervised-only", "10%"): 0.8,
        ("LOFR semi-weak", "10%"): 0.9,
    }
    rows = [ResultRow(*key, dict.fromkeys(METRICS, share)) for key, share in shares.items()]
    ticks, both = _in_words(ResultTable(tuple(rows))).splitlines()
    assert "do NOT beat the mean pose: 20.0%" in ticks
    assert "30.0%" in ticks
    assert "located beat those keypoints alone: 90.0%" in both
