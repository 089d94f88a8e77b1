import io
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import yaml

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.deeplabcut.project import write_deeplabcut
from labelkit.formats.deeplabcut.tables import read_deeplabcut_csv, skeleton_from_config

MOUSE = make_skeleton("mouse", ["snout", "tail"], links=[(0, 1)])


def item(path, xy, visibility=(2, 2), ordinal=0, individual=""):
    image = Image(path, sha256(path.encode()).hexdigest(), 200, 100)
    instance = Instance(image, ordinal, Box(0, 0, 9, 9), "given", 81.0, "", individual)
    return instance, human_pose(np.array(xy, dtype=float), np.array(visibility))


def export(items, config=""):
    return write_deeplabcut(items, MOUSE, "anna", "frames", config)


def test_the_table_of_one_animal_worked_by_hand():
    found = export([item("v/b.png", [[1.5, 2], [0, 0]], (2, 0)), item("v/a.png", [[3, 4], [5, 6]])])
    assert found.texts["labeled-data/v/CollectedData_anna.csv"].splitlines() == [
        "scorer,,,anna,anna,anna,anna",
        "bodyparts,,,snout,snout,tail,tail",
        "coords,,,x,y,x,y",
        "labeled-data,v,a.png,3.0,4.0,5.0,6.0",
        "labeled-data,v,b.png,1.5,2.0,,",
    ]
    assert found.pictures == {
        "labeled-data/v/a.png": "v/a.png",
        "labeled-data/v/b.png": "v/b.png",
    }


def test_the_table_of_several_animals_worked_by_hand():
    found = export(
        [
            item("v/a.png", [[1, 2], [3, 4]], ordinal=0),
            item("v/a.png", [[5, 6], [7, 8]], ordinal=1, individual="individual1"),
            item("v/b.png", [[9, 1], [2, 3]], individual="mum"),
        ]
    )
    assert found.texts["labeled-data/v/CollectedData_anna.csv"].splitlines() == [
        "scorer,,," + ",".join(["anna"] * 12),
        "individuals,,," + ",".join(["individual2"] * 4 + ["individual1"] * 4 + ["mum"] * 4),
        "bodyparts,,," + ",".join(["snout", "snout", "tail", "tail"] * 3),
        "coords,,," + ",".join(["x", "y"] * 6),
        "labeled-data,v,a.png,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,,,,",
        "labeled-data,v,b.png,,,,,,,,,9.0,1.0,2.0,3.0",
    ]


def test_deeplabcut_reads_the_tables_with_pandas():
    one = export([item("v/a.png", [[1, 2], [0, 0]], (1, 0))])
    text = io.StringIO(one.texts["labeled-data/v/CollectedData_anna.csv"])
    frame = pd.read_csv(text, header=[0, 1, 2], index_col=[0, 1, 2])
    assert frame.columns.names == ["scorer", "bodyparts", "coords"]
    assert frame.index.tolist() == [("labeled-data", "v", "a.png")]
    assert frame[("anna", "snout", "y")].tolist() == [2.0]
    assert frame[("anna", "tail", "x")].isna().all()

    two = export([item("v/a.png", [[1, 2], [3, 4]], ordinal=n) for n in range(2)])
    text = io.StringIO(two.texts["labeled-data/v/CollectedData_anna.csv"])
    frame = pd.read_csv(text, header=[0, 1, 2, 3], index_col=[0, 1, 2])
    assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert frame[("anna", "individual2", "tail", "x")].tolist() == [3.0]


def test_the_tables_come_back_to_the_digit():
    rng = np.random.default_rng(0)
    items = [
        item(f"v/{n}.png", rng.uniform(0, 99, (2, 2)), ordinal=k, individual=f"m{k}")
        for n in range(3)
        for k in range(2)
    ]
    found = export(items)
    table = found.texts["labeled-data/v/CollectedData_anna.csv"]
    _, annotations, _ = read_deeplabcut_csv(table, "it")
    assert len(annotations) == 6
    for annotation, (instance, pose) in zip(annotations, items, strict=True):
        assert annotation.image_path == f"labeled-data/{instance.image.path}"
        assert annotation.individual == instance.individual
        assert np.array_equal(annotation.pose.xy, pose.xy)
    assert skeleton_from_config(found.texts["config.yaml"], "it").keypoints == MOUSE.keypoints


@pytest.mark.parametrize(
    ("path", "video"),
    [
        ("a.png", "frames"),
        ("x/y/a.png", "x_y"),
        ("labeled-data/v/a.png", "v"),
        ("project/labeled-data/v/a.png", "v"),
        ("2024.01.02/a.png", "2024.01.02"),
    ],
)
def test_a_folder_of_images_is_a_video(path, video):
    found = export([item(path, [[1, 2], [3, 4]])])
    assert f"labeled-data/{video}/CollectedData_anna.csv" in found.texts
    videos = yaml.safe_load(found.texts["config.yaml"])["video_sets"]
    assert videos == {f"videos/{video}.mp4": {"crop": "0, 200, 0, 100"}}


def test_folders_that_would_be_one_video_are_refused():
    items = [item(path, [[1, 2], [3, 4]]) for path in ("x/y/a.png", "x_y/b.png")]
    with pytest.raises(FormatError, match=r"x/y and x_y .*x_y"):
        export(items)


def test_an_existing_configuration_keeps_its_settings_and_gets_the_new_videos():
    first = export([item("v/a.png", [[1, 2], [3, 4]])])
    config = yaml.safe_load(first.texts["config.yaml"])
    text = yaml.safe_dump(
        {**config, "scorer": "ben", "iteration": 3, "bodyparts": ["tail", "snout"]}
    )
    assert "config.yaml" not in export([item("v/b.png", [[1, 2], [3, 4]])], text).texts
    later = export([item("w/b.png", [[1, 2], [3, 4]])], text).texts
    assert "labeled-data/w/CollectedData_ben.csv" in later
    now = yaml.safe_load(later["config.yaml"])
    assert (now["iteration"], now["bodyparts"]) == (3, ["tail", "snout"])
    assert list(now["video_sets"]) == ["videos/v.mp4", "videos/w.mp4"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bodyparts": ["snout", "paw"]}, "paw"),
        ({"multianimalproject": False}, "one animal"),
        (
            {
                "multianimalproject": True,
                "multianimalbodyparts": ["snout", "tail"],
                "uniquebodyparts": ["corner"],
            },
            "corner",
        ),
    ],
)
def test_a_configuration_that_the_labels_do_not_fit_is_refused(change, named):
    config = yaml.safe_load(export([item("v/a.png", [[1, 2], [3, 4]])]).texts["config.yaml"])
    count = 2 if named != "paw" else 1
    items = [item("v/a.png", [[1, 2], [3, 4]], ordinal=n) for n in range(count)]
    with pytest.raises(FormatError, match=named) as caught:
        export(items, yaml.safe_dump({**config, **change}))
    assert "--output" in caught.value.next_step
