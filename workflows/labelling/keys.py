"""The keys with which annotators open the labelling page.

A key is its annotator's name, signed with a secret of the project: it stays valid after a restart,
and cannot be made without the secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets

from labelkit.errors import ProjectError, UsageError
from labelkit.project.project import Project

#: In the project folder, for its owner only. Deleting it makes every key invalid.
SECRET_FILE = ".label-secret"

LONGEST_NAME = 64


class Keys:
    """Makes and checks the keys of a project.

    Args:
        project: with the secret; it gets one if it has none.

    Raises:
        ProjectError: if the secret cannot be read or written.
    """

    def __init__(self, project: Project) -> None:
        self._secret = _read_secret(project)
        #: Of the cookie that holds a key; servers on other ports of a machine share cookies.
        self.cookie = f"labelkit-{self._sign('cookie')[:8]}"

    def key_for(self, name: str) -> str:
        """The key of an annotator.

        Raises:
            UsageError: if the name is empty or too long.
        """
        if not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
            raise UsageError(
                f"{name!r} is not a name of 1 to {LONGEST_NAME} characters.",
                "Type for example: --as anna",
            )
        encoded = base64.urlsafe_b64encode(name.strip().encode()).decode().rstrip("=")
        return f"{encoded}.{self._sign('key:' + encoded)}"

    def name_of(self, key: str) -> str | None:
        """Whose key it is; None if it is not a key of this project."""
        encoded, _, signature = key.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("key:" + encoded).encode()):
            return None
        try:
            return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        except (binascii.Error, ValueError):
            return None

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]


def _read_secret(project: Project) -> bytes:
    path = project.root / SECRET_FILE
    try:
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
                new.write(secrets.token_bytes(32))
        except FileExistsError:
            pass
        secret = path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be used ({error.strerror}).", "Make the project folder writable."
        ) from error
    if len(secret) != 32:
        raise ProjectError(f"{path} is damaged.", "Delete it; then invite annotators again.")
    return secret
