"""The server of map pictures: only this machine, only maps."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import make_image, make_instance

from labelkit.bridges.fiftyone.map_server import MapServer, map_url
from labelkit.bridges.ports import free_port, is_free
from labelkit.errors import FormatError
from labelkit.project.response_maps import MapWriter
from labelkit.project.response_pictures import MapPictures

INSTANCE = make_instance(make_image())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MapServer]:
    path = tmp_path / "maps.parquet"
    with MapWriter(path, ["nose"]) as writer:
        writer.add(INSTANCE.id, (1, 0, 0, 0, 1, 0), *[np.ones((1, 2, 2))] * 3)

    def open_round(number: int) -> MapPictures:
        if number != 0:
            raise FormatError(f"There is no round {number}.")
        return MapPictures(path, [INSTANCE])

    with MapServer(open_round, 0) as running:
        yield running


def get(server: MapServer, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.content = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def path_of(number: int, kind: str, keypoint: int, id_: str) -> str:
    return map_url(1, number, kind, keypoint, id_).removeprefix("http://127.0.0.1:1")


@pytest.mark.parametrize("id_", [INSTANCE.id, INSTANCE.image.id])
@pytest.mark.parametrize("kind", ["response", "cam"])
def test_a_map_comes_as_a_picture(server: MapServer, kind: str, id_: str):
    response = get(server, path_of(0, kind, 0, id_))
    assert (response.status, response.getheader("Content-Type")) == (200, "image/png")
    assert response.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path",
    [
        path_of(1, "cam", 0, INSTANCE.id),
        path_of(0, "cam", 1, INSTANCE.id),
        path_of(0, "cam", 0, "0" * 16),
        path_of(0, "cam", 0, "../../../etc/passwd"),
        "/",
        "/maps/000/cam/0/../../labels.db",
    ],
)
def test_nothing_else_is_served(server: MapServer, path: str):
    assert get(server, path).status == 404


def test_a_page_of_the_app_may_read_a_map_and_another_page_may_not(server: MapServer):
    path = path_of(0, "cam", 0, INSTANCE.id)
    mine = get(server, path, Origin="http://localhost:5151")
    assert mine.getheader("Access-Control-Allow-Origin") == "http://localhost:5151"
    foreign = get(server, path, Origin="http://example.org")
    assert foreign.getheader("Access-Control-Allow-Origin") is None


def test_a_foreign_host_name_that_points_at_this_machine_is_refused(server: MapServer):
    assert get(server, path_of(0, "cam", 0, INSTANCE.id), Host="evil.example").status == 403


def test_it_listens_on_this_machine_only(server: MapServer):
    assert server._server.server_address[0] == "127.0.0.1"


def test_a_port_is_taken_while_the_server_runs(server: MapServer):
    assert not is_free(server.port)
    assert is_free(free_port())
