"""`labelkit pull` says what is suspicious in what came in, and records it all the same."""

from __future__ import annotations

import json

from labelkit.progress import Silent
from labelkit.workflows.loop.pull import pull
from labelkit.workflows.reviewing.items import read_suspicious


def far_away(trained_anywhere):
    """An export in which one keypoint lies in a corner of its image; the object and the export."""
    file = trained_anywhere.corrections(per_instance=False)
    rows = json.loads(file.read_text("utf-8"))
    dots = (d for row in rows for d in row["annotations"][0]["result"] if "parentID" in d)
    dot = next(dot for dot in dots if dot["type"] == "keypointlabels")
    dot["value"] |= {"x": 0.0, "y": 0.0}
    file = trained_anywhere.folder / "far_away.json"
    file.write_text(json.dumps(rows), "utf-8")
    return dot["parentID"], file


def test_a_label_that_cannot_be_right_is_named_and_is_first_in_the_list(trained_anywhere):
    project, store = trained_anywhere.project, trained_anywhere.store
    id_, file = far_away(trained_anywhere)
    report = pull(project, store, Silent(), file=file)
    assert report.suspicions == {"outside the box": 1}
    assert "labelkit check" in report.text()
    assert list(read_suspicious(project)) == [id_]
    again = pull(project, store, Silent(), file=file)
    assert (again.added, again.suspicions) == (0, {})
    assert list(read_suspicious(project)) == [id_]


def test_a_pull_succeeds_where_labels_cannot_be_checked(trained_anywhere):
    project, store = trained_anywhere.project, trained_anywhere.store
    (project.root / "reports").write_text("a file where a folder is expected")
    _, file = far_away(trained_anywhere)
    report = pull(project, store, Silent(), file=file)
    assert report.poses > 0
    assert report.suspicions == {}
