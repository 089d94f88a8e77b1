import json

import pytest

from labelkit.files.noted import conclude, note, noted


def test_a_note_holds_in_its_state_alone(tmp_path):
    file = tmp_path / "note.json"
    assert noted(file, [1, "a"]) is None
    note(file, [1, "a"], {"found": 2})
    assert noted(file, [1, "a"]) == {"found": 2}
    assert noted(file, [1, "b"]) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "\x00", '{"state": 1}'])
def test_a_damaged_note_is_as_good_as_none(tmp_path, text):
    file = tmp_path / "note.json"
    file.write_text(text)
    assert noted(file, [1]) is None


def test_a_note_that_cannot_be_written_is_left_out(tmp_path):
    (tmp_path / "file").touch()
    note(tmp_path / "file" / "note.json", [1], 2)
    assert noted(tmp_path / "file" / "note.json", [1]) is None


def test_a_note_replaces_the_one_before(tmp_path):
    file = tmp_path / "note.json"
    for value in (1, 2):
        note(file, [], value)
    assert json.loads(file.read_text()) == {"state": [], "value": 2}


def test_a_conclusion_is_drawn_again_only_in_another_state(tmp_path):
    drawn = iter(range(9))
    file = tmp_path / "note.json"
    states = ([1], [1], [2], [1])
    assert [conclude(file, state, lambda: next(drawn)) for state in states] == [0, 0, 1, 2]
