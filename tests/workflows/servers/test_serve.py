"""The ML backend protocol over a real socket, with a network of one epoch."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest
from trained import Trained

from labelkit.bridges.ports import free_port
from labelkit.domain.instance import Box
from labelkit.domain.selection import QueueItem, control_arm
from labelkit.errors import ProjectError, UsageError
from labelkit.formats.label_studio.tasks import visibility_task
from labelkit.progress import Silent
from labelkit.project.rounds import begin_round, finish_round, latest_complete
from labelkit.store.label_store import NewInstance
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.queue_file import CONTROL_SHARE, write_queue
from labelkit.workflows.servers.serve import serve
from labelkit.workflows.serving import ml_backend, task_predictor
from labelkit.workflows.serving.guard import PASSWORD_VARIABLE, USER, read_secret
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.sync.questions import image_url
from labelkit.workflows.upkeep.skeleton import edit_skeleton

SECRET = "a shared secret: with a colon, and é"
SIDE = 96  # pixels of the generated pictures


@contextmanager
def serving(trained: Trained) -> Iterator[httpx.Client]:
    """A client that knows the secret, of a server in a thread of its own."""
    with serve(
        trained.project, trained.store, Silent(), host="127.0.0.1", port=free_port()
    ) as ready:
        server = ready.server()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [ready.listening]})
        thread.start()
        try:
            auth = httpx.BasicAuth(USER, SECRET)
            with httpx.Client(base_url=ready.url, auth=auth, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)


@pytest.fixture
def client(trained: Trained) -> Iterator[httpx.Client]:
    with serving(trained) as client:
        yield client


def predict(client: httpx.Client, *data: dict) -> httpx.Response:
    """Ask for tasks with these data, as Label Studio does."""
    tasks = [{"id": number, "data": item} for number, item in enumerate(data)]
    body = {"tasks": tasks, "project": "1.1", "label_config": "<View/>", "params": {}}
    return client.post("/predict", json=body)


def metrics(client: httpx.Client) -> dict[str, float]:
    """Values by name, without the prefix of all names."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = re.findall(r"^labelkit_serve_(\S+) (\S+)$", answer.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def kinds(result: list[dict]) -> list[str]:
    return [region["type"] for region in result]


@pytest.mark.parametrize("secret", ["", "   "])
def test_it_does_not_start_without_a_secret(monkeypatch, secret):
    monkeypatch.setenv(PASSWORD_VARIABLE, secret)
    with pytest.raises(UsageError, match=PASSWORD_VARIABLE):
        read_secret()


def test_it_does_not_start_before_a_round_is_complete(trained):
    shutil.rmtree(trained.project.rounds_root)
    with (
        pytest.raises(ProjectError, match="labelkit status"),
        serve(trained.project, trained.store, Silent(), host="127.0.0.1", port=free_port()),
    ):
        pass


def test_the_error_about_a_busy_port_names_a_free_one(trained):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageError, match=rf"port {port} .*(?s:.*)--port \d+"),
            serve(trained.project, trained.store, Silent(), host="127.0.0.1", port=port),
        ):
            pass


def test_only_health_answers_strangers(client):
    assert client.get("/health", auth=None).json() == {"status": "UP"}
    wrong = (None, (USER, "wrong"), (USER, ""), ("admin", SECRET), (USER, SECRET[:-1]))
    for auth in wrong:
        for method, path in (
            ("POST", "/setup"),
            ("GET", "/versions"),
            ("POST", "/predict"),
            ("POST", "/webhook"),
            ("GET", "/metrics"),
            ("GET", "/nowhere"),
        ):
            answer = client.request(method, path, auth=auth)
            assert answer.status_code == 401, (auth, path)
            assert answer.headers["www-authenticate"].startswith("Basic")
    for header in ("", "Basic", "Basic !", "Bearer token", "Basic " + "A" * 9):
        answer = client.get("/versions", auth=None, headers={"Authorization": header})
        assert answer.status_code == 401


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_secret_with_letters_beyond_ascii_arrives_in_both_encodings(client, encoding):
    sent = base64.b64encode(f"{USER}:{SECRET}".encode(encoding)).decode()
    answer = client.get("/versions", auth=None, headers={"Authorization": f"Basic {sent}"})
    assert answer.status_code == 200


def test_setup_and_versions_name_the_newest_round(client):
    body = {"project": "1.1", "schema": "<View/>", "access_token": "theirs", "extra_params": None}
    assert client.post("/setup", json=body).json() == {"model_version": "round-000"}
    assert client.get("/versions").json() == {"versions": ["round-000"]}


def test_the_round_is_named_while_a_long_prediction_is_in_progress(trained, client, monkeypatch):
    proceed = threading.Event()
    predict_instances = task_predictor.predict_instances

    def slowly(*arguments):
        assert proceed.wait(60)
        return predict_instances(*arguments)

    monkeypatch.setattr(task_predictor, "predict_instances", slowly)
    image = trained.store.images()[0]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(predict, client, {"image_id": image.id})
        assert client.get("/versions").json() == {"versions": ["round-000"]}
        assert not answer.done()
        proceed.set()
        assert answer.result().status_code == 200


def test_what_is_served_is_what_is_pushed(trained, client):
    tasks = json.loads(
        push_files(trained.project, trained.store, dry_run=False).files[1].read_text("utf-8")
    )
    answer = predict(client, *[task["data"] for task in tasks])
    assert answer.status_code == 200
    assert answer.json()["model_version"] == "round-000"
    results = answer.json()["results"]
    assert len(results) == len(tasks) > 0
    for served, task in zip(results, tasks, strict=True):
        pushed = task["predictions"][0]
        assert served["model_version"] == pushed["model_version"]
        assert served.get("score") == pytest.approx(pushed.get("score"), abs=1e-5)
        for one, other in zip(served["result"], pushed["result"], strict=True):
            percent = 1e-3 / SIDE * 100
            assert one["value"].pop("x") == pytest.approx(other["value"].pop("x"), abs=percent)
            assert one["value"].pop("y") == pytest.approx(other["value"].pop("y"), abs=percent)
            assert one.pop("score", 0) == pytest.approx(other.pop("score", 0), abs=1e-5)
            assert one == other


def test_every_object_of_an_image_is_answered(trained):
    image = trained.store.images()[0]
    trained.store.add_instances([NewInstance(image, Box(1, 2, 40, 50), "human", 2000.0)])
    with serving(trained) as client:
        result = predict(client, {"image_id": image.id}).json()["results"][0]["result"]
    assert kinds(result).count("rectanglelabels") == 2
    assert kinds(result)[-2:] == ["rectanglelabels"] * 2
    boxes = {region["id"] for region in result[-2:]}
    assert boxes == {f"{image.id}-0", f"{image.id}-1"}
    assert {region["parentID"] for region in result[:-2]} == boxes


def test_a_task_of_one_object_gets_that_object_in_the_pixels_of_its_crop(trained):
    image = trained.store.images()[0]
    (other,) = trained.store.add_instances(
        [NewInstance(image, Box(48, 24, 24, 48), "human", 24.0 * 48)]
    )
    ours = {"kind": "correction", "instances": [other.id], "crop": [48, 0, 48, 96]}
    with serving(trained) as client:
        answer = predict(client, {"image_id": image.id, "labelkit": ours}).json()
        broken = predict(client, {"image_id": image.id, "labelkit": {**ours, "crop": [1, 2]}})
    *points, box = answer["results"][0]["result"]
    assert box["id"] == other.id
    assert [box["value"][key] for key in ("x", "y", "width", "height")] == [0, 25, 50, 50]
    assert {point["parentID"] for point in points} <= {other.id}
    assert broken.status_code == 404
    assert "[1, 2]" in broken.json()["error"]


def test_a_task_that_shows_no_box_gets_none(trained, client):
    instance = next(iter(trained.store.instances().values()))
    ours = {"kind": "correction", "instances": [instance.id], "box": list(instance.box)}
    data = {"image_id": instance.image.id, "labelkit": ours}
    result = predict(client, data).json()["results"][0]["result"]
    assert set(kinds(result)) == {"keypointlabels"}
    assert not any("parentID" in region for region in result)


def test_the_control_arm_gets_boxes_only(trained, client):
    image = trained.store.images()[0]
    write_queue(trained.project, [QueueItem(f"{image.id}-0", "unsure", control=True)])
    result = predict(client, {"image_id": image.id}).json()["results"][0]
    assert kinds(result["result"]) == ["rectanglelabels"]
    assert "score" not in result


@pytest.mark.parametrize("queued", [(), ("dev",)], ids=["not-queued", "of-an-earlier-version"])
def test_the_dev_set_gets_boxes_only_in_and_outside_any_queue(trained, client, queued):
    instances, dev = trained.store.instances(), read_snapshot(trained.project, trained.store).dev
    write_queue(
        trained.project, [QueueItem(id_, reason, False) for reason in queued for id_ in dev]
    )
    for id_ in dev:
        result = predict(client, {"image_id": instances[id_].image.id}).json()["results"][0]
        assert kinds(result["result"]) == ["rectanglelabels"]


def test_the_control_arm_is_what_the_queue_says_and_outside_it_what_was_drawn(trained, client):
    dev = read_snapshot(trained.project, trained.store).dev
    arm = sorted(control_arm(trained.store.instances(), trained.project.seed, CONTROL_SHARE) - dev)
    assert arm
    image_id = trained.store.instances()[arm[0]].image.id
    shown = []
    for items in ([], [QueueItem(arm[0], "unsure", control=False)]):
        write_queue(trained.project, items)
        result = predict(client, {"image_id": image_id}).json()["results"][0]["result"]
        shown.append("keypointlabels" in kinds(result))
    assert shown == [False, True]


def test_a_visibility_task_gets_boxes_only(trained, client):
    image = trained.store.images()[0]
    found = [item for item in trained.store.instances().values() if item.image == image]
    task = visibility_task(image, found, trained.project.skeleton, "")
    result = predict(client, task["data"]).json()["results"][0]["result"]
    assert kinds(result) == ["rectanglelabels"]


def test_an_image_is_found_by_id_by_path_and_by_the_address_of_its_file(trained, client):
    image = trained.store.images()[3]
    url = image_url(trained.project, image)
    ways = [
        {"image_id": image.id, "image": "s3://elsewhere/x.png"},
        {"image_path": image.path},
        {"image": url},
        {"image": f"http://127.0.0.1:8080{url}"},
        {"image": image_url(trained.project, image, folder=trained.project.id)},
    ]
    results = predict(client, *ways).json()["results"]
    assert len({json.dumps(row["result"]) for row in results}) == 1
    assert results[0]["result"][-1]["id"] == f"{image.id}-0"


@pytest.mark.parametrize(
    "data",
    [
        {"image_id": "0" * 16},
        {"image_path": "../keypoints.json"},
        {"image_path": "/etc/passwd"},
        {"image": "/data/local-files/?d=" + quote("images/../keypoints.json")},
        {"image": "/data/local-files/?d=" + quote("other/0.png")},
        {"image": "http://example.org/0.png"},
        {"image": "http://[broken"},
        {"image": 7},
        {"text": "no picture"},
        {},
    ],
)
def test_what_is_not_an_image_of_the_project_is_not_found(client, data):
    answer = predict(client, data)
    assert answer.status_code == 404
    assert "image" in answer.json()["error"]


def test_a_link_out_of_the_images_folder_is_not_followed(trained, client, tmp_path):
    image = trained.store.images()[0]
    outside = tmp_path / "outside.png"
    path = trained.images / image.path
    shutil.move(path, outside)
    path.symlink_to(outside)
    answer = predict(client, {"image_path": image.path})
    assert answer.status_code == 404
    assert image.path in answer.json()["error"]


def test_one_bad_task_does_not_spoil_the_others(trained, client):
    first, second, third = trained.store.images()[:3]
    (trained.images / second.path).write_bytes((trained.images / second.path).read_bytes()[:300])
    answer = predict(
        client, {"image_id": first.id}, {"image_id": second.id}, {}, {"image_id": third.id}
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [bool(row) for row in results] == [True, False, False, True]
    errors = answer.json()["errors"]
    assert [error["task"] for error in errors] == [1, 2]
    assert second.path in errors[0]["error"]


def test_new_images_are_answered_without_a_restart(trained, client):
    image = trained.store.images()[0]
    copy = replace(image, path="again.png", sha256="f" * 64)
    shutil.copy(trained.images / image.path, trained.images / copy.path)
    assert predict(client, {"image_path": "again.png"}).status_code == 404
    trained.store.add_images([copy])
    trained.store.add_instances([NewInstance(copy, Box(0, 0, 90, 90), "given", 8100.0)])
    deadline = time.monotonic() + 20
    while predict(client, {"image_path": "again.png"}).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (b"{}", 400, "no list"),
        (b'{"tasks": []}', 400, "no list"),
        (b'{"tasks": [{"data": 3}]}', 400, "Task 0"),
        (b"[" * 100_000, 400, "not JSON"),
        (b" " * 2000, 413, "larger than"),
    ],
)
def test_a_request_that_does_not_follow_the_protocol_is_refused(
    monkeypatch, client, body, status, words
):
    if status == 413:
        monkeypatch.setattr(ml_backend, "LARGEST_BODY", 1000)
    answer = client.post("/predict", content=body)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True)
    in_chunks = client.post("/predict", content=iter([body[:999], body[999:]]))
    assert in_chunks.status_code == status


def test_a_newer_round_is_served_as_soon_as_it_is_complete(trained, client):
    older = latest_complete(trained.project)
    assert older is not None
    path = begin_round(trained.project, replace(older.plan, number=1))
    shutil.copy(older.path / "model.safetensors", path)
    assert client.get("/versions").json() == {"versions": ["round-000"]}
    finish_round(path, {})
    assert client.get("/versions").json() == {"versions": ["round-001"]}
    image = trained.store.images()[0]
    assert predict(client, {"image_id": image.id}).json()["model_version"] == "round-001"


def test_a_skeleton_that_was_edited_is_served_at_once(trained, client):
    image = trained.store.images()[0]

    def labels():
        result = predict(client, {"image_id": image.id}).json()["results"][0]["result"]
        return {name for it in result for name in it["value"].get("keypointlabels", [])}

    name = min(labels())
    edit_skeleton(trained.project, trained.store, rename={name: "other"}, add=["navel"])
    assert {name, "other", "navel"} & labels() == {"other"}


def test_where_a_newer_round_cannot_be_loaded_the_older_one_is_served(trained, client):
    older = latest_complete(trained.project)
    assert older is not None
    path = begin_round(trained.project, replace(older.plan, number=1))
    (path / "model.safetensors").write_bytes(b"not a model")
    finish_round(path, {})
    image = trained.store.images()[0]
    assert predict(client, {"image_id": image.id}).json()["model_version"] == "round-000"
    assert metrics(client)["failed_reloads_total"] == 1


def test_the_webhook_is_acknowledged(client):
    answer = client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 1}})
    assert answer.status_code == 200
    assert "retrain" in answer.json()["status"]


def test_metrics_count_what_happened(trained, client):
    image = trained.store.images()[0]
    predict(client, {"image_id": image.id}, {})
    predict(client, {})
    client.get("/versions", auth=None)
    client.get("/secret-looking-path")
    values = metrics(client)
    assert values['requests_total{path="/predict",status="200"}'] == 1
    assert values['requests_total{path="/predict",status="404"}'] == 1
    assert values['requests_total{path="/versions",status="401"}'] == 1
    assert values['requests_total{path="other",status="404"}'] == 1
    assert values['tasks_total{outcome="answered"}'] == 1
    assert values['tasks_total{outcome="refused"}'] == 2
    assert values["instances_total"] == 1
    assert values["predict_seconds_count"] == values['predict_seconds_bucket{le="+Inf"}'] == 2
    assert values['predict_seconds_bucket{le="30.0"}'] == 2
    assert values["predict_seconds_sum"] > 0
    assert values["failed_reloads_total"] == values["round"] == 0


def test_what_it_prints_names_no_secret(trained):
    with serve(
        trained.project, trained.store, Silent(), host="127.0.0.1", port=free_port()
    ) as ready:
        assert SECRET not in ready.text() + json.dumps(ready.data()) + repr(ready)
