"""MATLAB files: variables and arrays of finite numbers, with a plain error for each failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.errors import FormatError
from labelkit.metrics.official.people import Floats

#: What to do about a value that is not a number, in a predictions file and in a truth file.
FIX_PREDICTIONS = "Write x and y of every keypoint as finite numbers; leave no keypoint out."
FIX_TRUTH = "Correct it, or download the file again."


def load_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file, up to version 7.

    Raises:
        FormatError: if the file is missing, not a MATLAB file, damaged, or of version 7.3.
    """
    from scipy.io import loadmat

    if not path.exists():
        raise FormatError(f"{path} does not exist.", "Check the path.")
    if path.is_dir():
        raise FormatError(f"{path} is a folder.", "Give the file in it.")
    try:
        contents = loadmat(path, appendmat=False)
    except NotImplementedError as error:
        raise FormatError(
            f"{path} is a MATLAB file of version 7.3, which scipy cannot read.",
            "Load it in MATLAB and type: save('FILE.mat', '-v7')",
        ) from error
    except Exception as error:  # damage can raise anything in scipy's reader
        raise FormatError(
            f"{path} is not a MATLAB file, or is truncated ({type(error).__name__}).",
            "Download or save it again.",
        ) from error
    return {name: value for name, value in contents.items() if not name.startswith("__")}


def array_of(contents: Mapping[str, Any], names: Sequence[str], origin: str, advice: str) -> Floats:
    """The first of these variables that exists, as finite numbers of any shape.

    Args:
        contents: the result of `load_mat`.
        names: that the variable may have.
        origin: name of the file, for messages.
        advice: what to do about a wrong value: `FIX_PREDICTIONS` or `FIX_TRUTH`.

    Raises:
        FormatError: if none of them exists, or it holds anything but finite numbers.
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
        values: the candidate.
        item: where it comes from, for messages.
        advice: see `array_of`.

    Raises:
        FormatError: if it is ragged, or holds anything but finite numbers.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise ValueError("it has values of another type")
        array = array.astype(np.float64)
    except ValueError as error:
        raise FormatError(f"{item} is not an array of numbers ({error}).", advice) from error
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise FormatError(f"{item} holds {array[place]} at {place}, counted from 0.", advice)
    return array
