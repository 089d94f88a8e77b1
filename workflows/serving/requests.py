"""The JSON object of a request, read within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from labelkit.errors import InputError


class RequestError(InputError):
    """A request that does not follow the protocol.

    Args:
        problem: what is wrong with it.
        status: of the response.
    """

    def __init__(self, problem: str, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


async def json_object(request: Request, largest: int) -> Mapping[str, Any]:
    """The JSON object in the body of a request.

    Args:
        request: to read, no further than `largest`.
        largest: size in bytes.

    Raises:
        RequestError: if the body is larger, or is not a JSON object.
    """
    size = f"{largest >> 20} MB" if largest >= 2**20 else f"{largest >> 10} kB"
    too_large = RequestError(f"The request is larger than {size}.", 413)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > largest:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise too_large
    try:
        document = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The request is not JSON ({type(error).__name__}).") from None
    if not isinstance(document, Mapping):
        raise RequestError("The request is not a JSON object.")
    return document
