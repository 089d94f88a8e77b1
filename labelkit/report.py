"""What a command gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any


class Report:
    """What a command did: its subclasses are data classes, and IPython shows them as text."""

    __slots__ = ()

    def text(self) -> str:
        """For people, as the command prints it."""
        raise NotImplementedError

    def data(self) -> Mapping[str, Any]:
        """For machines, as the command prints it with `--json`."""
        return asdict(self)  # type: ignore[call-overload]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.text()}
