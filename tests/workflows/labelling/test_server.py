"""The page over a real socket: who gets in, what is served, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from builders import stick_skeleton
from command_line import labelkit
from labelling import BOX, Bench, bench_of, labelling, make_bench
from lines import Lines
from PIL import Image as Picture

from labelkit.domain.instance import Box
from labelkit.domain.selection import DevDraw, QueueItem
from labelkit.errors import UsageError
from labelkit.project.project import open_project
from labelkit.store.journal import Entry
from labelkit.workflows.labelling.keys import SECRET_FILE, Keys
from labelkit.workflows.labelling.server import LARGEST_BODY
from labelkit.workflows.reviewing.items import suspicious_file
from labelkit.workflows.rounds.queue_file import write_queue
from labelkit.workflows.upkeep.images import RELOCATE, images
from labelkit.workflows.upkeep.skeleton import edit_skeleton

KEY_NEEDED = (
    "/",
    "/page/main.js",
    "/page/style.css",
    "/api/start",
    "/picture/x",
    "/map/x/response/0",
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


@contextmanager
def client_of(url: str, *, enter: bool = True) -> Iterator[httpx.Client]:
    """A browser's requests; with the key of the address unless it does not enter."""
    base = url.partition("/?")[0]
    with httpx.Client(base_url=base, headers={"Origin": base}, timeout=30) as client:
        if enter:
            answer = client.get(url)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield client


@pytest.fixture
def client(bench: Bench) -> Iterator[httpx.Client]:
    with labelling(bench) as page, client_of(page.url) as client:
        yield client


def next_object(client: httpx.Client, tab: str = "1", held: tuple[str, ...] = ()) -> dict[str, Any]:
    answer = client.post("/api/next", json={"tab": tab, "held": held})
    assert answer.status_code == 200, answer.text
    return answer.json()


def an_answer(shown: dict[str, Any], **changes: Any) -> dict[str, Any]:
    names = stick_skeleton().keypoints
    points = shown["points"]
    return {
        "id": str(uuid4()),
        "tab": "1",
        "instance": shown["instance"],
        "kind": "keypoints",
        "content": {name: point[:3] for name, point in zip(names, points, strict=True)},
        "box": shown["box"],
        "seen": shown["seen"],
        "age_s": 0,
        "shown": {
            "round": shown["round"],
            "arm": shown["arm"],
            "origins": dict.fromkeys(names, "untouched"),
            "effort": {"clicks": 0, "drags": 0, "keys": 1, "undos": 0, "attention_s": 1},
        },
    } | changes


def test_without_the_key_nothing_is_served(bench: Bench):
    with labelling(bench) as page, client_of(page.url, enter=False) as client:
        for path in (*KEY_NEEDED, "/?key=", "/?key=YW5uYQ.00", page.url[:-1]):
            answer = client.get(path)
            assert answer.status_code == 403, path
            assert "key" in answer.text
            assert "set-cookie" not in answer.headers
        assert client.post("/api/next", json={"tab": "1"}).status_code == 403


def test_every_answer_forbids_what_the_page_does_not_need(client: httpx.Client):
    for path in ("/", "/page/main.js", "/api/start", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_another_page_in_the_same_browser_can_write_nothing(bench: Bench, client: httpx.Client):
    shown = next_object(client)["object"]
    content = json.dumps(an_answer(shown))
    usual = {"Content-Type": "application/json"}
    for headers in (
        usual | {"Origin": "http://evil.example"},
        usual | {"Origin": "null"},
        usual | {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
    ):
        assert client.post("/api/answer", content=content, headers=headers).status_code == 403
    assert bench.entries() == []
    assert client.post("/api/answer", content=content, headers=usual).status_code == 200


def test_a_key_works_for_its_name_and_project_alone_and_survives_a_restart(tmp_path: Path):
    one, other = make_bench(tmp_path / "a"), make_bench(tmp_path / "b")
    key = Keys(one.project).key_for("Ann <b>é")
    assert Keys(one.project).name_of(key) == "Ann <b>é"
    assert Keys(other.project).name_of(key) is None
    assert Keys(one.project).name_of(key.replace(key[0], "Z", 1)) is None
    assert (one.project.root / SECRET_FILE).stat().st_mode & 0o077 == 0
    for name in ("", " ", "x" * 65, "a\nb"):
        with pytest.raises(UsageError):
            Keys(one.project).key_for(name)


def test_an_invited_annotator_labels_under_their_own_name(bench: Bench):
    with labelling(bench) as page:
        port = page.url.partition("/?")[0].rpartition(":")[2]
        invited = labelkit(
            *("label", "--invite", "bert", "--project", bench.project.root, "--port", port)
        )
        with client_of(invited.out.strip()) as bert, client_of(page.url) as anna:
            assert bert.get("/api/start").json()["annotator"] == "bert"
            first, second = next_object(anna)["object"], next_object(bert)["object"]
            assert [first["instance"], second["instance"]] == bench.ids[:2]
            mine = {"tab": "1", "instance": bench.ids[0]}
            assert anna.post("/api/lease", json=mine).json() == {"mine": True}
            assert bert.post("/api/lease", json=mine).json() == {"mine": False}
            receipt = bert.post("/api/answer", json=an_answer(second)).json()
            assert receipt == {"instance": bench.ids[1], "conflict": False, "beside": ""}
    assert [entry.annotator for entry in bench.entries()] == ["bert"]


def test_a_closed_tab_gives_its_objects_back(bench: Bench, client: httpx.Client):
    def taken(tab: str) -> str:
        return client.post("/api/next", json={"tab": tab, "held": []}).json()["object"]["instance"]

    assert [taken("1"), taken("2")] == bench.ids[:2]
    client.post("/api/leave", json={"tab": "1"})
    assert taken("3") == bench.ids[0]
    assert not client.post("/api/lease", json={"tab": "3", "instance": bench.ids[1]}).json()["mine"]


def test_the_question_shows_the_prediction_and_what_the_journal_knew(client: httpx.Client):
    answer = next_object(client)
    assert answer["left"] == 3
    shown = answer["object"]
    assert shown["points"][1] == [150.0, 150.0, 2.0, 0.3]
    assert (shown["arm"], shown["round"], shown["seen"]) == ("prediction", "round-000", 0)
    assert (shown["box"], shown["ticks"]) == (list(BOX), [True] * 4)


def test_an_object_that_check_named_comes_with_why(tmp_path: Path):
    bench = make_bench(tmp_path)
    file = suspicious_file(bench.project)
    file.parent.mkdir()
    file.write_text(f"{bench.ids[0]}\ttail is wrong\n{bench.ids[0]}\tpaw is wrong\n", "utf-8")
    with labelling(bench) as page, client_of(page.url) as client:
        assert next_object(client)["object"]["note"] == "tail is wrong; paw is wrong"


def test_the_control_arm_shows_no_prediction(tmp_path: Path):
    bench = make_bench(tmp_path, control=[0])
    with labelling(bench) as page, client_of(page.url) as client:
        shown = next_object(client)["object"]
    assert (shown["arm"], shown["points"], shown["ticks"]) == ("control", [None] * 4, [None] * 4)


def test_ticks_and_labels_before_the_first_round_belong_to_no_arm(tmp_path: Path):
    bench = make_bench(tmp_path, control=[0])
    with labelling(bench, mode="ticks") as page, client_of(page.url) as client:
        shown = next_object(client)["object"]
    assert (shown["arm"], shown["points"], shown["ticks"]) == ("nothing", [None] * 4, [None] * 4)
    begun = make_bench(tmp_path / "begun", predicted=False)
    begun.store.keep_dev_draw(DevDraw(1.0))
    chosen = tmp_path / "chosen.txt"
    chosen.write_text(begun.ids[0], "utf-8")
    with labelling(begun, objects=chosen, mode="keypoints") as page, client_of(page.url) as client:
        assert next_object(client)["object"]["arm"] == "nothing"


def test_once_nothing_is_left_the_next_step_is_named(client: httpx.Client, bench: Bench):
    for _ in bench.ids:
        client.post("/api/answer", json=an_answer(next_object(client)["object"]))
    answer = next_object(client)
    assert (answer["object"], answer["left"]) == (None, 0)
    assert "labelkit" in answer["next_step"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"tab": 3}', 400),
        (b'{"tab": "1", "held": "x"}', 400),
        (b" " * (LARGEST_BODY + 1), 413),
    ],
)
def test_a_request_that_does_not_follow_the_protocol_is_refused(
    client: httpx.Client, body: bytes, status: int
):
    headers = {"Content-Type": "application/json"}
    assert client.post("/api/next", content=body, headers=headers).status_code == status


def test_only_images_of_the_project_are_served(client: httpx.Client, bench: Bench):
    id_ = bench.ids[0].partition("-")[0]
    for path in (f"/picture/{id_}x", "/picture/..%2f..%2flabels.db", "/page/..%2fserver.py"):
        assert client.get(path).status_code == 404
    for part in ("0,0,401,300", "1,2,3", "0,0,0,1", "-1,0,5,5", "a,b,c,d"):
        assert client.get(f"/picture/{id_}?part={part}").status_code == 400


def test_a_link_out_of_the_images_folder_is_not_followed(client: httpx.Client, bench: Bench):
    file = bench.project.images_root / "0.png"
    Picture.new("RGB", (400, 300)).save(bench.project.root / "secret.png")
    file.unlink()
    file.symlink_to(bench.project.root / "secret.png")
    ids = {item.image.path: item.image.id for item in bench.store.instances().values()}
    assert client.get(f"/picture/{ids['0.png']}").status_code == 404


def test_images_are_served_upright_and_reencoded(tmp_path: Path):
    folder = tmp_path / "frames"
    folder.mkdir()
    grey = np.linspace(0, 65535, 400 * 300).reshape(300, 400).astype(np.uint16)
    Picture.fromarray(grey).save(folder / "deep.tif")
    Picture.new("CMYK", (400, 300), (0, 255, 255, 0)).save(folder / "ink.jpg")
    turned = Picture.new("RGB", (300, 400), "blue")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    large = Picture.new("RGB", (6000, 4000), "green")
    large.paste((255, 0, 0), (0, 0, 3000, 4000))
    large.save(folder / "vast.jpg")
    bench = bench_of(tmp_path, stick_skeleton(), box=Box(50.0, 50.0, 200.0, 200.0))
    ids = {item.image.path: item.image.id for item in bench.store.instances().values()}
    with labelling(bench) as page, client_of(page.url) as client:

        def picture(path: str) -> Picture.Image:
            answer = client.get(path)
            assert answer.headers["content-type"] == "image/jpeg"
            found = Picture.open(io.BytesIO(answer.content))
            assert not found.getexif()
            return found.convert("RGB")

        assert {name: picture(f"/picture/{id_}").size for name, id_ in ids.items()} == {
            "deep.tif": (400, 300),
            "ink.jpg": (400, 300),
            "turned.jpg": (400, 300),
            "vast.jpg": (2560, 1707),
        }
        assert abs(picture(f"/picture/{ids['deep.tif']}").getpixel((399, 299))[0] - 255) < 4
        red = picture(f"/picture/{ids['ink.jpg']}").getpixel((200, 150))
        assert red[0] > 200 > 60 > red[1]
        part = picture(f"/picture/{ids['vast.jpg']}?part=2900,100,200,150")
        assert part.size == (200, 150)
        assert part.getpixel((20, 75))[0] > 200 > 60 > part.getpixel((180, 75))[0]
        assert next_object(client)["object"]["part"] is None
        (vast,) = [id_ for id_ in bench.ids if id_.startswith(ids["vast.jpg"])]
        held = tuple(id_ for id_ in bench.ids if id_ != vast)
        assert next_object(client, held=held)["object"]["part"] == [0, 0, 351, 351]


def test_an_edited_skeleton_is_served_without_a_restart_and_answers_of_open_pages_come_in(
    client: httpx.Client, bench: Bench
):
    before, first = client.get("/api/start").json(), next_object(client)["object"]
    edit_skeleton(bench.project, bench.store, add=["navel"], rename={"tail": "rump"})
    edit_skeleton(open_project(bench.project.root), bench.store, remove=["left_paw"])
    write_queue(bench.project, [QueueItem(bench.ids[0], "unsure", False)])
    assert client.post("/api/answer", json=an_answer(first)).status_code == 200
    (entry,) = bench.entries()
    assert list(entry.content) == ["nose", "left_paw", "right_paw", "rump"]

    again = next_object(client, held=tuple(bench.ids[1:]))
    now = client.get("/api/start").json()
    assert again["skeleton"] == now["skeleton"] != before["skeleton"]
    assert now["keypoints"] == ["nose", "right_paw", "rump", "navel"]
    # Its label lacks the new keypoint, so the object is asked about again.
    assert (again["object"]["instance"], again["object"]["arm"]) == (bench.ids[0], "label")
    assert again["object"]["points"] == [
        [200.0, 90.0, 2.0, 1.0],
        [250.0, 150.0, 2.0, 1.0],
        [200.0, 210.0, 2.0, 1.0],
        None,
    ]


def test_what_a_label_leaves_unknown_is_shown_as_predicted(bench: Bench):
    label = {"nose": [1.0, 2.0, 2], "left_paw": [0, 0, 0]}
    bench.store.record([Entry(bench.ids[0], "keypoints", label, "test", "1", "1")])
    with labelling(bench) as page, client_of(page.url) as client:
        shown = next_object(client)["object"]
    assert (shown["instance"], shown["arm"]) == (bench.ids[0], "label")
    assert shown["round"] == "round-000"
    assert shown["points"] == [
        [1.0, 2.0, 2.0, 1.0],
        [0.0, 0.0, 0.0, 1.0],
        [250.0, 150.0, 2.0, 0.6],
        [200.0, 210.0, 2.0, 0.8],
    ]


def test_images_are_served_from_where_they_were_moved(client: httpx.Client, bench: Bench):
    shown = next_object(client)["object"]
    moved = bench.project.images_root.rename(bench.project.images_root.with_name("moved"))
    picture = f"/picture/{shown['image']['id']}"
    assert client.get(picture).status_code == 404
    images(bench.project, bench.store, Lines(), RELOCATE, [moved])
    next_object(client)
    assert client.get(picture).status_code == 200
