"""Label Studio, started by the command; the real one."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import psutil
import pytest
from builders import make_project
from live_studio import copied_database, studio_command

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.label_studio.server import (
    LogIn,
    StudioServer,
    check_not_running,
    data_folder,
    served_images,
)
from labelkit.bridges.ports import check_port, free_port
from labelkit.domain.instance import Box
from labelkit.errors import ProjectError
from labelkit.formats.label_studio.config import correction_config
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.project import change_project, open_project
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.servers.serve import serve
from labelkit.workflows.servers.studio import Studio
from labelkit.workflows.serving.guard import PASSWORD_VARIABLE, USER
from labelkit.workflows.sync.push_server import push_server
from labelkit.workflows.sync.questions import image_url


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_report_names_the_files_of_the_secrets_and_not_the_secrets(tmp_path, host):
    log_in = LogIn(tmp_path / "o'clock", "ann@localhost", "the password", "the key")
    # The report does not use the process.
    server = StudioServer("http://127.0.0.1:8080", log_in, tmp_path, None)  # type: ignore[arg-type]
    text = Studio(server, make_project(tmp_path), host).text()
    assert "http://127.0.0.1:8080" in text
    assert "ann@localhost" in text
    assert str(log_in.folder / "password") in text
    assert "the password" not in text
    assert "the key" not in text
    assert ("TLS" in text) == (host == "0.0.0.0")


def test_the_server_accepts_its_log_in_and_no_other(live):
    whoami = live.get("/api/current-user/whoami")
    assert whoami.json()["email"] == live.log_in.username == live.report["username"]
    assert httpx.get(live.url + "/api/current-user/whoami").status_code == 401
    with httpx.Client(base_url=live.url) as browser:
        page = browser.get("/user/login/")
        assert page.status_code == 200
        form = {
            "email": live.log_in.username,
            "password": live.log_in.password,
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        assert browser.post("/user/login/", data=form).status_code == 302
        assert browser.get("/api/projects/").status_code == 200
    with httpx.Client(base_url=live.url) as stranger:
        stranger.get("/user/signup/")
        form = {
            "email": "eve@example.org",
            "password": "long enough",
            "csrfmiddlewaretoken": stranger.cookies["csrftoken"],
        }
        assert stranger.post("/user/signup/", data=form).status_code == 403


def test_no_secret_is_in_a_command_line_or_in_the_output(live):
    secrets = (live.log_in.password, live.log_in.api_key)
    family = [psutil.Process(live.process.pid)]
    family += family[0].children(recursive=True)
    assert len(family) >= 2
    shown = " ".join(part for process in family for part in process.cmdline())
    shown += json.dumps(live.report) + (live.folder / "err").read_text()
    shown += Path(live.report["data"], "label-studio.log").read_text()
    assert [secret for secret in secrets if secret in shown] == []
    for path in live.trained.folder.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


def test_it_listens_on_this_machine_only(live):
    server = psutil.Process(live.process.pid).children(recursive=True)
    listening = {
        connection.laddr.ip
        for process in server
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_second_start_names_the_address_of_the_first(live):
    with pytest.raises(ProjectError, match=live.url):
        check_not_running(data_folder(live.trained.project))


def test_a_task_gets_the_newest_rounds_prediction_when_it_is_opened(live, monkeypatch, request):
    from label_studio_sdk import LabelStudio

    project, store = live.trained.project, live.trained.store
    monkeypatch.setenv(PASSWORD_VARIABLE, "the shared secret")
    http = httpx.Client(timeout=60)
    request.addfinalizer(http.close)
    studio = LabelStudio(base_url=live.url, api_key=live.log_in.api_key, httpx_client=http)
    config = correction_config(project.skeleton)
    made = studio.projects.create(title="Served", label_config=config, show_collab_predictions=True)
    folder = served_images(project, live.url)
    assert folder == Path(live.report["data"]) / "served" / project.id
    studio.import_storage.local.create(project=made.id, path=str(folder), use_blob_urls=True)
    image = store.images()[0]
    url = image_url(project, image, folder=folder.name)
    lost = f"/data/local-files/?d={folder.name}/no.png"
    tasks = [{"data": {"image": url, "image_id": image.id}}, {"data": {"image": lost}}]
    ids = studio.projects.import_tasks(made.id, request=tasks, return_task_ids=True).task_ids
    assert ids is not None

    assert live.get(url).content == (live.trained.images / image.path).read_bytes()
    for outside in ("project/labels.db", "keypoints.json", f"{folder.name}/../keypoints.json"):
        assert live.get(f"/data/local-files/?d={outside}").status_code != 200

    with serve(project, store, Silent(), host="127.0.0.1", port=free_port()) as ready:
        server = ready.server()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [ready.listening]})
        thread.start()
        try:
            studio.ml.create(
                url=ready.url,
                project=made.id,
                title="labelkit",
                auth_method="BASIC_AUTH",
                basic_auth_user=USER,
                basic_auth_pass="the shared secret",
            )
            opened = [studio.tasks.get(str(number)) for number in ids]
        finally:
            server.should_exit = True
            thread.join(30)
    again = studio.tasks.get(str(ids[0]))
    assert [task.total_predictions for task in (again, opened[1])] == [1, 0]
    (stored,) = again.model_dump()["predictions"]
    assert stored["model_version"] == "round-000"
    assert stored["result"][-1]["id"] == f"{image.id}-0"


def test_a_project_that_pushes_to_the_running_server_of_another_has_its_images_served(
    live, tmp_path
):
    (tmp_path / "work").mkdir()
    project = make_project(tmp_path / "work")
    images_root = project.images_root.rename(tmp_path / "work" / "images")  # as the other's
    project = change_project(project, images_root=images_root)
    with (
        open_store(project) as store,
        StudioApi(live.url, live.log_in.api_key) as api,
    ):
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances(NewInstance(i, Box(1, 1, 6, 4), "given", 24.0) for i in images)
        report = push_server(
            project, store, api, Silent(), per_instance=None, base=None, dry_run=False
        )
        (first, *_) = api.task_facts(report.project_id, "id,data")
    url = first["data"]["image"]
    assert url.startswith(f"/data/local-files/?d={open_project(project.root).id}/")
    path = project.images_root / first["data"]["image_path"]
    assert live.get(url).content == path.read_bytes()
    served = served_images(live.trained.project, live.url)
    assert len({served.name, *(link.name for link in served.parent.iterdir())}) > 1


def test_sigterm_stops_the_server_and_its_children(live, tmp_path):
    data, port = copied_database(live, tmp_path / "data"), free_port()
    served = live.trained.project.root
    with studio_command(live.python, served, tmp_path, port, "--data", data) as (process, report):
        assert (data / "running.json").exists()
        # A push finds the images as this server serves them, and as the project's own server does.
        for url, folder in ((report["url"], data), (live.url, Path(live.report["data"]))):
            assert served_images(live.trained.project, url).parent == folder / "served"
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.terminate()
        assert process.wait(60) == 0
    gone, alive = psutil.wait_procs(family, timeout=5)
    assert (len(gone), alive) == (len(family), [])
    check_port("Label Studio", "127.0.0.1", port)
    check_not_running(data)
    assert (tmp_path / "err").read_text().endswith("Stopped.\n")
