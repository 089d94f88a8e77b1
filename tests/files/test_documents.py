import pytest

from labelkit.errors import FormatError
from labelkit.files.documents import MAX_BYTES, load_head, load_json, load_text


def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 0.1}')
    assert load_json(path) == {"a": 0.1}
    path.write_text('{"a": "Ärmel"}', encoding="utf-8")
    assert load_json(path) == {"a": "Ärmel"}


def test_line_ends_are_kept(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\r\nb\n")
    assert load_text(path) == "a\r\nb\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b'{"a": [1, 2', "line 1, column 12"),
        (b"\xff\xfe{\x00}\x00", "UTF-8 (byte 0)"),
        (b"PK\x03\x04\xf0\x28", "UTF-8 (byte 4)"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "number"),
    ],
)
def test_a_file_that_is_not_json_is_refused_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        load_json(path)
    assert reason in caught.value.problem
    assert str(path) in caught.value.problem


def test_a_file_of_two_gigabytes_is_refused_with_its_size(tmp_path):
    path = tmp_path / "labels.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES)  # sparse: takes no room on the disk
    with pytest.raises(FormatError, match=r"2\.0 GB"):
        load_json(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FormatError, match=r"none\.json"):
        load_json(tmp_path / "none.json")
    with pytest.raises(FormatError, match="folder") as caught:
        load_json(tmp_path)
    assert str(tmp_path) in caught.value.problem


def test_the_head_of_a_file_is_at_most_so_many_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abcdef")
    assert (load_head(path, 4), load_head(path, 9)) == (b"abcd", b"abcdef")
    with pytest.raises(FormatError, match=r"none\.bin"):
        load_head(tmp_path / "none.bin", 4)


def test_an_empty_text_is_read_only_where_it_may_be_empty(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("")
    assert load_text(path, may_be_empty=True) == ""
    with pytest.raises(FormatError, match="empty"):
        load_text(path)


def test_json_lines_are_told_from_a_damaged_document(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(FormatError, match="a line"):
        load_json(path)
