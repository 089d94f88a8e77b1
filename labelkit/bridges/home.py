"""labelkit's files in the user's home, in the places that the operating system has for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from platformdirs import PlatformDirs
from platformdirs.unix import Unix


def home_path(kind: Literal["cache", "config", "data"], *parts: str) -> Path:
    """A file or folder of labelkit's in the user's home.

    Earlier versions used the Unix places on macOS too. What exists only there stays in use, so that
    an update neither installs Label Studio again nor loses a server's data.
    """
    here, earlier = (
        Path(getattr(places("labelkit", appauthor=False), f"user_{kind}_path"), *parts)
        for places in (PlatformDirs, Unix)
    )
    return earlier if os.path.exists(earlier) and not os.path.exists(here) else here
