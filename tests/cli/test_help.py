"""What `--help` prints, in a terminal of 80 columns."""

from collections import defaultdict
from itertools import takewhile

import pytest
import typer
from command_line import labelkit

from labelkit.cli.app import GROUPS, app

COMMANDS = typer.main.get_command(app).commands
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option"
]


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_commands_of_the_loop_are_there():
    loop = {"bootstrap", "push", "pull", "retrain", "status", "evaluate", "export"}
    assert loop | {"studio", "serve", "doctor", "demo"} <= set(COMMANDS)


def test_commands_are_listed_by_group_and_every_summary_fits_on_its_line():
    lines = labelkit("--help").out.splitlines()
    expected = []
    for heading, commands in GROUPS.items():
        expected += ["", f"{heading}:"]
        for command in commands:
            expected.append(f"  {command.__name__:11}  {command.__doc__.splitlines()[0]}")
    assert lines[-len(expected) :] == expected
    assert max(map(len, lines)) <= 80


def test_a_summary_is_one_sentence_and_needs_no_quoting_in_a_shell():
    for command in COMMANDS.values():
        assert command.short_help.endswith(".")
        assert "'" not in command.short_help


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example_that_is_not_wrapped(name):
    lines = iter(labelkit(name, "--help").out.splitlines())
    assert "  Example:" in lines
    example = list(takewhile(str.strip, lines))
    assert example[0].startswith(f"    labelkit {name}")
    assert all(
        line.startswith(f"    labelkit {name}") or before.endswith("\\")
        for before, line in zip(["", *example], example, strict=False)
    )
    assert next(lines) in ("Arguments:", "Options:")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_of_the_help_fits_in_80_columns(name):
    assert [line for line in labelkit(name, "--help").out.splitlines() if len(line) > 80] == []


def test_every_option_of_every_command_has_help_that_ends_like_a_sentence():
    assert [
        (name, option.opts) for name, option in OPTIONS if not (option.help or "").endswith(".")
    ] == []


def test_an_option_takes_the_same_kind_of_value_in_every_command():
    kinds = defaultdict(set)
    for name, option in OPTIONS:
        if shown := option.get_help_record(typer.Context(COMMANDS[name])):
            kinds[option.opts[0]].add(shown[0])
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}
