"""Read MATLAB files; every way in which that fails gets its own plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.errors import INSTALL, FormatError, MissingDependencyError
from labelkit.metrics.official.people import Floats

#: What to do about something that is no number, in predictions and in a truth.
GUESS = "Write x and y of every keypoint as numbers, a guess where there is none."
CORRECT = "Correct it, or download the file again."


def load_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file up to version 7.

    Raises:
        MissingDependencyError: if scipy is not installed.
        FormatError: if it is missing, no MATLAB file, damaged, or of version 7.3.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a MATLAB file, which scipy reads, and scipy is not installed.",
            f"{INSTALL} '.[benchmarks]'",
        ) from error
    if not path.exists():
        raise FormatError(f"There is no file {path}.", "Check the path.")
    if path.is_dir():
        raise FormatError(f"{path} is a folder.", "Give the file in it.")
    try:
        contents = loadmat(path, appendmat=False)
    except NotImplementedError as error:
        raise FormatError(
            f"{path} is a MATLAB file of version 7.3, which scipy does not read.",
            "In MATLAB, load it and type: save('FILE.mat', '-v7')",
        ) from error
    except Exception as error:  # whatever the damage leads scipy's reader into
        raise FormatError(
            f"{path} is not a MATLAB file, or was cut off ({type(error).__name__}).",
            "Download or save it again.",
        ) from error
    return {name: value for name, value in contents.items() if not name.startswith("__")}


def array_of(contents: Mapping[str, Any], names: Sequence[str], origin: str, advice: str) -> Floats:
    """The first of these variables that is there, as finite numbers.

    Args:
        contents: as `load_mat` gives them.
        names: of the variable.
        origin: name of the file, for messages.
        advice: what to do about something else, `GUESS` or `CORRECT`.

    Raises:
        FormatError: if there is none, or it holds something else.
    """
    for name in names:
        if name in contents:
            return finite(contents[name], f"{origin}: {name}", advice)
    found = ", ".join(contents) or "nothing"
    raise FormatError(
        f"{origin} has no variable {' or '.join(names)}; it has {found}.",
        f"Save the array as {names[0]}.",
    )


def finite(values: Any, item: str, advice: str) -> Floats:
    """An array of finite numbers.

    Args:
        values: what should be one.
        item: what has them, for messages.
        advice: see `array_of`.

    Raises:
        FormatError: if it is ragged, or holds something else, such as NaN.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise ValueError("no numbers")
        array = array.astype(np.float64)
    except ValueError as error:
        raise FormatError(f"{item} is not an array of numbers ({error}).", advice) from error
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise FormatError(f"{item} holds {array[place]} at {place}, counted from 0.", advice)
    return array
