"""HDF5 files, told apart by what is in them."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from labelkit.errors import FormatError, MissingDependencyError

#: How an HDF5 file begins.
SIGN = b"\x89HDF\r\n\x1a\n"

#: A project of SLEAP, or a table that pandas wrote, as DeepLabCut's labels are.
Kind = Literal["sleap", "table"]


def kind_of_hdf5(path: Path) -> Kind:
    """What an HDF5 file holds.

    Raises:
        FormatError: if it is neither, or damaged.
        MissingDependencyError: if h5py is not installed.
    """
    with opened(path) as file:
        if "videos_json" in file and "instances" in file:
            return "sleap"
        if table_in(file) is not None:
            return "table"
        inside = set(file)
    if {"tracks", "node_names"} <= inside:
        raise FormatError(
            f"{path} holds predictions of SLEAP (an analysis file), not labels.",
            "Give the project that people labelled: --labels FILE.slp",
        )
    raise FormatError(
        f"{path} is an HDF5 file of neither SLEAP nor DeepLabCut.",
        "Convert it to COCO keypoints; docs/formats.md shows what one object needs.",
    )


def table_in(file: Any) -> Any:
    """The group of the first table that pandas wrote; None without one."""
    groups = (group for group in file.values() if hasattr(group, "keys"))
    return next((group for group in groups if "pandas_type" in group.attrs), None)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file, open for reading.

    Raises:
        FormatError: if it is damaged.
        MissingDependencyError: if h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        beside = path.with_suffix(".csv")
        csv = f"\nOr give what DeepLabCut wrote beside it: {shlex.quote(str(beside))}"
        raise MissingDependencyError(
            f"{path} is an HDF5 file, which h5py reads, and that is not installed.",
            "Type: pip install 'labelkit-keypoints[hdf5]'" + (csv if beside.is_file() else ""),
        ) from error
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise FormatError(
            f"{path} is damaged: {str(error).strip(chr(39))}.", "Get the file again."
        ) from error
