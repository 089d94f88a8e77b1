"""What is remembered is what would be found anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelkit.files.remembered import remembered


def test_a_value_is_found_again_only_when_what_it_depends_on_has_changed(tmp_path: Path):
    found: list[int] = []

    def find() -> int:
        found.append(len(found))
        return found[-1]

    path = tmp_path / "kept.cache"
    assert [remembered(path, state, find) for state in ([1], [1], [2], [1])] == [0, 0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"state": [1]}', b"\xff"])
def test_a_damaged_file_is_not_trusted(tmp_path: Path, content: bytes):
    path = tmp_path / "kept.cache"
    path.write_bytes(content)
    assert remembered(path, [1], lambda: "new") == "new"
    assert remembered(path, [1], lambda: "newer") == "new"


def test_a_value_that_cannot_be_kept_is_found_each_time(tmp_path: Path):
    (tmp_path / "kept.cache").mkdir()
    assert remembered(tmp_path / "kept.cache", [1], lambda: "new") == "new"
