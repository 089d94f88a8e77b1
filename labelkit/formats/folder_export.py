"""A data set that is a folder, before it is written."""

from __future__ import annotations

from typing import NamedTuple


class FolderExport(NamedTuple):
    """What a data set in a folder is made of; paths are below that folder.

    Attributes:
        texts: content of the text files by path.
        pictures: path of each image in the project, by its path in the data set.
    """

    texts: dict[str, str]
    pictures: dict[str, str]
