import contextlib
import errno
import json
import os
import time

import pytest

from labelkit.errors import LabelkitError
from labelkit.files.atomic import atomic_path, write_json, write_json_list, write_text


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path):
    target = tmp_path / "new folder" / "a.json"
    with atomic_path(target) as temporary:
        temporary.write_text("{}")
        assert not target.exists()
        assert temporary.suffix == ".json"
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with contextlib.suppress(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_comes_back_as_it_was_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"knee ½": 0.1 + 0.2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"knee ½": 0.30000000000000004}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))


def test_a_json_list_is_written_an_item_a_line_as_the_items_come(tmp_path):
    path = tmp_path / "a.json"
    write_json_list(path, iter([{"knee ½": 0.1 + 0.2}, [1]]))
    assert path.read_text("utf-8") == '[\n{"knee ½": 0.30000000000000004},\n[1]\n]\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_list(path, (value for value in (1, float("nan"))))
    assert json.loads(path.read_text("utf-8")) == [{"knee ½": 0.1 + 0.2}, [1]]
    write_json_list(path, [])
    assert json.loads(path.read_text("utf-8")) == []


def test_a_full_disk_gets_a_plain_error(tmp_path):
    full = pytest.raises(LabelkitError, match=r"a\.txt .*disk is full")
    with full as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "run the same command again" in caught.value.next_step


def test_an_error_about_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/b.txt")


@pytest.mark.parametrize(("name", "reason"), [("file/a", "a file"), ("folder", "a folder")])
def test_a_place_that_cannot_hold_the_file_is_named(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LabelkitError, match=reason) as caught:
        write_text(tmp_path / name, "x")
    assert str(tmp_path / name) in caught.value.problem


def test_other_errors_of_the_system_are_quoted(tmp_path):
    refused = pytest.raises(LabelkitError, match=r"a\.txt .*no such file or dir")
    with refused, atomic_path(tmp_path / "a.txt") as temporary:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(temporary))
    with pytest.raises(OSError, match="broken data"), atomic_path(tmp_path / "a.txt"):
        raise OSError("broken data")  # of a decoder, not of the system


def test_what_a_killed_command_left_is_removed_after_an_hour(tmp_path):
    for name, age in ((".a.1.tmp.txt", 7200), (".a.2.tmp.txt", 60), (".b.3.tmp.txt", 7200)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    write_text(tmp_path / "a.txt", "x")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".a.2.tmp.txt", ".b.3.tmp.txt", "a.txt"]
