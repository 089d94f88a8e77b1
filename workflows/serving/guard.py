"""The shared secret of the prediction server: only those who know it get an answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from labelkit.errors import UsageError

PASSWORD_VARIABLE = "LABELKIT_SERVE_PASSWORD"
USER = "labelkit"

_ENCODINGS = ("utf-8", "latin-1")


def read_secret() -> str:
    """The shared secret, from the environment.

    Raises:
        UsageError: if there is none.
    """
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password.strip():
        raise UsageError(
            f"{PASSWORD_VARIABLE} is not set: labelkit serve needs a shared secret.",
            f'Type: export {PASSWORD_VARIABLE}="$(openssl rand -hex 20)"',
        )
    return password


class Guard:
    """Passes on requests that carry the secret. Only /health needs none.

    Args:
        app: what is guarded.
        password: the shared secret.
    """

    def __init__(self, app: ASGIApp, password: str) -> None:
        self.app = app
        # Clients encode letters beyond ASCII in different ways: Label Studio in the second one.
        self._expected = [f"{USER}:{password}".encode(code, "replace") for code in _ENCODINGS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/health" or self._knows_the_secret(dict(scope["headers"])):
            await self.app(scope, receive, send)
            return
        asks = {"WWW-Authenticate": 'Basic realm="labelkit", charset="UTF-8"'}
        body = {"error": f"Basic authentication is needed: user {USER}, and the shared secret."}
        await JSONResponse(body, 401, asks)(scope, receive, send)

    def _knows_the_secret(self, headers: Mapping[bytes, bytes]) -> bool:
        kind, _, encoded = headers.get(b"authorization", b"").partition(b" ")
        try:
            offered = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            offered = b""
        # The time this takes does not reveal where the two differ.
        matches = [hmac.compare_digest(offered, expected) for expected in self._expected]
        return any(matches) and kind.lower() == b"basic"
