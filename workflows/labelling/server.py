"""The labelling page as an ASGI application: one page, one JSON API, pictures."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labelkit.domain.colours import keypoint_colours
from labelkit.domain.geometry import invert_affine
from labelkit.domain.instance import Box
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import ImageError, InputError, LabelkitError
from labelkit.project.response_pictures import MapPictures
from labelkit.store.journal import content_version
from labelkit.workflows.labelling.following import Following, read_placed
from labelkit.workflows.labelling.keys import Keys
from labelkit.workflows.labelling.pictures import Pictures
from labelkit.workflows.labelling.question import question
from labelkit.workflows.labelling.recording import IDLE_SECONDS, Recording, read_answer
from labelkit.workflows.labelling.work import Holder, Work
from labelkit.workflows.serving.requests import RequestError, json_object

#: Bytes of a request. An answer about 68 keypoints has about 6 kB.
LARGEST_BODY = 256 * 2**10

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

#: For every answer: the page loads nothing from elsewhere, runs no inline script, is in no frame,
#: and tells no other page its address, which may hold a key.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_NO_KEY = "This page needs a key: open the address that labelkit label printed."


class Door:
    """Lets in requests with a key, and of those that write only the page's own.

    Args:
        app: what is behind the door.
        keys: of the project.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its annotator's name, or answer 403."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        answer = self._refusal(request)
        if answer is None:
            await self.app(scope, receive, send_with_headers)
        else:
            await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        offered = request.query_params.get("key")
        if request.method == "GET" and request.url.path == "/" and offered is not None:
            if self._keys.name_of(offered) is None:
                return PlainTextResponse(_NO_KEY, 403)
            inside = RedirectResponse("/", 303)  # the key leaves the address bar
            inside.set_cookie(self._keys.cookie, offered, httponly=True, samesite="lax")
            return inside
        name = self._keys.name_of(request.cookies.get(self._keys.cookie, ""))
        if name is None:
            return PlainTextResponse(_NO_KEY, 403)
        if request.method != "GET" and not _is_own(request.headers):
            return PlainTextResponse("Only the labelling page itself may write.", 403)
        request.scope["annotator"] = name
        return None


def _is_own(headers: Headers) -> bool:
    """Whether a request comes from our page, and not from another page in the same browser."""
    return (
        headers.get("sec-fetch-site", "same-origin") == "same-origin"
        and urlsplit(headers.get("origin", "")).netloc == headers.get("host")
        and headers.get("content-type", "").partition(";")[0] == "application/json"
    )


def make_app(work: Work, keys: Keys, ended: Callable[[], str]) -> Starlette:
    """The page, its API and its pictures.

    Args:
        work: the objects to label.
        keys: of the annotators.
        ended: what to do once nothing is left, such as "labelkit retrain".
    """
    pictures, recording, following = Pictures(work), Recording(work), Following(work)
    page = {item.name: item.read_bytes() for item in files(__package__).joinpath("page").iterdir()}
    maps: dict[tuple[str, Skeleton], MapPictures | None] = {}

    def map_pictures() -> MapPictures | None:
        path = (
            work.project.rounds_root / work.round.removeprefix("round-") / "maps" / "maps.parquet"
        )
        opened = work.round, work.project.skeleton
        if work.round and opened not in maps:
            maps.clear()
            maps[opened] = (
                MapPictures(path, work.instances.values(), skeleton=work.project.skeleton)
                if path.exists()
                else None
            )
        return maps.get(opened)

    def file(name: str) -> Response:
        if name not in page:
            return PlainTextResponse("There is no such file.", 404)
        return Response(page[name], media_type=_TYPES[name.rpartition(".")[2]])

    async def index(request: Request) -> Response:
        return file("index.html")

    async def static(request: Request) -> Response:
        return file(request.path_params["name"])

    async def start(request: Request) -> Response:
        skeleton = work.project.skeleton
        return JSONResponse(
            {
                "id": work.project.id,
                "project": work.project.name,
                "mode": work.mode,
                "annotator": request.scope["annotator"],
                "skeleton": content_version(skeleton.to_table()),
                "keypoints": skeleton.keypoints,
                "links": skeleton.links,
                "pairs": skeleton.pairs,
                "colours": keypoint_colours(skeleton),
                "idle_s": IDLE_SECONDS,
                "follow": following.is_on,
            }
        )

    async def next_object(request: Request) -> Response:
        document = await json_object(request, LARGEST_BODY)
        held = document.get("held", [])
        if not isinstance(held, list) or not all(isinstance(id_, str) for id_ in held):
            raise RequestError('"held" is not a list of ids.')
        holder = _holder(request, document)

        def lend() -> dict[str, Any]:
            item = work.next(holder, held)
            left = work.remaining(holder.name)
            skeleton = content_version(work.project.skeleton.to_table())
            known = {"left": left, "skeleton": skeleton, "mode": work.mode}
            if item is None:
                return {"object": None, "next_step": "" if left else ended(), **known}
            return {"object": question(work, item), **known}

        return JSONResponse(await run_in_threadpool(lend))

    async def lease(request: Request) -> Response:
        document = await json_object(request, LARGEST_BODY)
        mine = work.lend(str(document.get("instance")), _holder(request, document))
        return JSONResponse({"mine": mine})

    async def leave(request: Request) -> Response:
        work.leave(_holder(request, await json_object(request, LARGEST_BODY)))
        return JSONResponse({})

    async def answer(request: Request) -> Response:
        document = await json_object(request, LARGEST_BODY)
        holder = _holder(request, document)
        given = read_answer(document, work.project.skeleton)
        receipt = await run_in_threadpool(recording.record, given, holder.name)
        work.give_back(receipt.instance, holder)
        return JSONResponse(asdict(receipt))

    async def follow(request: Request) -> Response:
        document = await json_object(request, LARGEST_BODY)
        given = document.get("placed")
        placed = read_placed(given, work.project.skeleton)
        instance = work.instance(str(document.get("instance")))
        if instance is None:
            raise RequestError("The project no longer has this object.", 404)
        points = await run_in_threadpool(following.follow, instance, placed)
        return JSONResponse({"points": points})

    async def settings(request: Request) -> Response:
        document = await json_object(request, LARGEST_BODY)
        if not isinstance(document.get("follow"), bool):
            raise RequestError('"follow" is not true or false.')
        await run_in_threadpool(following.switch, document["follow"])
        return JSONResponse({})

    async def picture(request: Request) -> Response:
        objects = work.of_image.get(request.path_params["image"])
        if objects is None:
            raise RequestError("The project has no such image.", 404)
        image = objects[0].image
        part = _part(request.query_params.get("part", ""), image.width, image.height)
        content = await run_in_threadpool(pictures.get, image, part)
        lasting = {"Cache-Control": "private, max-age=86400"}  # the id is a hash of the content
        return Response(content, media_type="image/jpeg", headers=lasting)

    async def map_place(request: Request) -> Response:
        id_, shown = request.path_params["instance"], await run_in_threadpool(map_pictures)
        if shown is None or id_ not in shown:
            return JSONResponse({"kinds": [], "size": [0, 0], "to_image": [0] * 6})
        size_wh, to_cells, kinds = await run_in_threadpool(shown.place, id_)
        to_image = invert_affine(to_cells).ravel().tolist()
        return JSONResponse({"kinds": kinds, "size": size_wh, "to_image": to_image})

    async def map_picture(request: Request) -> Response:
        shown = await run_in_threadpool(map_pictures)
        if shown is None:
            raise RequestError("The round has no response maps.", 404)
        kind, keypoint, id_ = (request.path_params[it] for it in ("kind", "keypoint", "instance"))
        content = await run_in_threadpool(shown.get, kind, keypoint, id_)
        return Response(content, media_type="image/png")

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, LabelkitError)
        if isinstance(error, RequestError):
            status = error.status
        elif isinstance(error, InputError):
            status = 404 if isinstance(error, ImageError) else 400
        else:
            status = 503  # such as a store that is in use: the page tries again
        return JSONResponse({"error": error.problem, "next_step": error.next_step}, status)

    endpoints: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/", "GET", index),
        ("/page/{name}", "GET", static),
        ("/api/start", "GET", start),
        ("/api/next", "POST", next_object),
        ("/api/lease", "POST", lease),
        ("/api/leave", "POST", leave),
        ("/api/answer", "POST", answer),
        ("/api/follow", "POST", follow),
        ("/api/settings", "POST", settings),
        ("/picture/{image}", "GET", picture),
        ("/map/{instance}", "GET", map_place),
        ("/map/{instance}/{kind}/{keypoint:int}", "GET", map_picture),
    ]
    return Starlette(
        routes=[Route(path, call, methods=[method]) for path, method, call in endpoints],
        middleware=[Middleware(Door, keys=keys)],
        exception_handlers={LabelkitError: refused},
    )


def _holder(request: Request, document: Mapping[str, Any]) -> Holder:
    tab = document.get("tab")
    if not isinstance(tab, str) or not 0 < len(tab) < 64:
        raise RequestError('"tab" is not a short text.')
    return Holder(request.scope["annotator"], tab)


def _part(text: str, width: int, height: int) -> Box | None:
    """A part of an image from "x,y,w,h"; None from ""."""
    if not text:
        return None
    if not re.fullmatch(r"\d{1,6}(,\d{1,6}){3}", text):
        raise RequestError(f"{text!r:.80} is not a part of an image.")
    x, y, w, h = map(int, text.split(","))
    if w == 0 or h == 0 or x + w > width or y + h > height:
        raise RequestError(f"{text} is outside the image.")
    return Box(x, y, w, h)
