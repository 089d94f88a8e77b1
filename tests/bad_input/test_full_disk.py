import contextlib
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import TINY, labelkit
from team import assert_refused, journal


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "labelkit-test", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Use up all free space of a file system."""
    ballast = disk / "ballast"
    for size in (4096, 1):
        with ballast.open("ab", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(b"\0" * size)
    assert os.statvfs(disk).f_bavail == 0
    return ballast


def test_on_a_full_disk_a_pull_fails_and_succeeds_once_there_is_space(team, small_disk):
    moved = small_disk / "frames-labelkit"
    shutil.copytree(team.project, moved)
    shutil.copytree(team.frames, small_disk / "frames")
    before = journal(moved)
    rows = json.loads((team.folder / "ticked.json").read_text("utf-8"))
    for row in rows:
        row["annotations"][0] |= {"updated_at": "2027-01-01T00:00:00Z", "id": row["id"] + 50}
        row["annotations"][0]["completed_by"] = {"email": "b" * 30_000 + "@example.org"}
    export = team.write("later.json", rows)
    ballast = fill(small_disk)
    outcome = labelkit("pull", "--file", export, "--project", moved)
    assert_refused(outcome, "full", next_step="again")
    ballast.unlink()
    assert journal(moved) == before
    assert labelkit("pull", "--file", export, "--project", moved).code == 0
    assert len(journal(moved)) == 6
    assert journal(moved)[:3] == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("export", "--format", "visibility"), ("bootstrap", "--labeled", "0%", *TINY)]
)
def test_on_a_full_disk_a_command_that_writes_fails_with_a_plain_error(team, small_disk, arguments):
    moved = small_disk / "frames-labelkit"
    shutil.copytree(team.project, moved)
    shutil.copytree(team.frames, small_disk / "frames")
    before = journal(moved)
    if arguments[0] == "bootstrap":
        arguments = (*arguments, "--images", small_disk / "frames")
    else:
        fill(small_disk)
    # A model needs more space than the disk has: the bootstrap fails during its training.
    outcome = labelkit(*arguments, "--project", moved)
    assert outcome.code == 1, outcome
    assert "error: " in outcome.err
    assert "full" in outcome.err or "No space left" in outcome.err
    assert "Traceback" not in outcome.err
    (small_disk / "ballast").unlink(missing_ok=True)
    assert journal(moved) == before


def test_a_write_that_fails_for_lack_of_space_gets_a_plain_error(team, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(args[0]))

    target = team.folder / "out.csv"
    monkeypatch.setattr(Path, "replace", full)
    outcome = labelkit(
        "export", "--format", "visibility", "--output", target, "--project", team.project
    )
    monkeypatch.undo()
    assert_refused(
        outcome,
        str(target),
        "disk is full",
        next_step="run the same command again",
    )
    assert not target.exists()
