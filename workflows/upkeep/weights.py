"""`labelkit weights`: which pretrained weights are on this machine, and fetch others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labelkit.errors import MissingDependencyError, UsageError
from labelkit.progress import Progress
from labelkit.report import Report

LIST, FETCH = ACTIONS = ("list", "fetch")


@dataclass(frozen=True, slots=True)
class Weights:
    """Pretrained weights of one backbone.

    Attributes:
        name: for `--backbone`.
        page: where they are published, with their licence in full.
        licence: its short name.
        file: on this machine; None if they are not.
        megabytes: of the file; None without.
    """

    name: str
    page: str
    licence: str
    file: Path | None
    megabytes: float | None


@dataclass(frozen=True, slots=True)
class WeightsReport(Report):
    """Weights, and where they are kept.

    Attributes:
        action: "list" or "fetch".
        weights: the recommended ones and all that are on this machine, or those that were fetched.
        cache: folder that holds them.
        elsewhere: the folder was named for another machine.
    """

    action: str
    weights: tuple[Weights, ...]
    cache: Path
    elsewhere: bool = False
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        width = max(len(item.name) for item in self.weights)
        lines = [f"{'backbone':<{width}}  {'licence':<14}  on this machine"]
        for item in self.weights:
            size = "-" if item.megabytes is None else f"{item.megabytes:.0f} MB"
            lines.append(f"{item.name:<{width}}  {item.licence:<14}  {size}")
        if self.action == LIST:
            lines += [
                f"They are kept in {self.cache}; HF_HUB_CACHE names another folder.",
                "Fetch others, also those not listed here: labelkit weights fetch NAME",
            ]
            return "\n".join(lines)
        lines += [f"{item.file}\n  from {item.page}" for item in self.weights]
        if self.elsewhere:
            lines.append(
                f"Take {self.cache} to the other machine and set HF_HUB_CACHE to where it is "
                "there, or train with --weights FILE."
            )
        return "\n".join(lines)


def weights(
    progress: Progress, action: str, names: Sequence[str] = (), to: Path | None = None
) -> WeightsReport:
    """List or fetch pretrained weights.

    Args:
        progress: gets a line for each download.
        action: "list" or "fetch".
        names: backbones, as `--backbone` takes them.
        to: fetch into this folder, to take it to another machine; None for the hub's cache.

    Raises:
        MissingDependencyError: if weights cannot be downloaded.
        UsageError: if timm has no such network, or names are missing or too many.
    """
    from labelkit.models.parts import pretrained

    if (action == LIST) == bool(names or to):
        raise UsageError(
            "labelkit weights list takes no names." if action == LIST else "No weights are named.",
            "Type: labelkit weights fetch NAME",
        )
    cache = to.resolve() if to else pretrained.cache_folder()
    if action == LIST:
        shown = dict.fromkeys((*pretrained.RECOMMENDED, *pretrained.on_this_machine()))
        found = tuple(_found(name, pretrained.cached(name)) for name in shown)
        return WeightsReport(action, found, cache)
    try:
        for name in names:
            pretrained.published(name)
        fetched = []
        for name in names:
            progress.line(f"Fetching the weights of {name}.")
            fetched.append(_found(name, pretrained.fetch(name, to and cache)))
    except pretrained.UnusableBackbone as error:
        raise UsageError(str(error), "See: labelkit weights list") from error
    except pretrained.PretrainedUnavailable as error:
        raise MissingDependencyError(
            str(error),
            f"On a machine with internet type: labelkit weights fetch {error.name} --to DIR",
        ) from error
    return WeightsReport(action, tuple(fetched), cache, to is not None)


def _found(name: str, file: Path | None) -> Weights:
    from labelkit.models.parts.pretrained import page, published

    megabytes = file.stat().st_size / 1e6 if file else None
    return Weights(name, page(name), published(name).license or "not stated", file, megabytes)
