"""Completion in a shell: one option installs it, and every choice is offered."""

import pytest
from command_line import labelkit

from labelkit.domain.skeleton import BUILTIN
from labelkit.models.presets import PRESETS
from labelkit.store.conflicts import OURS, THEIRS
from labelkit.workflows.benchmarking.tables import tables
from labelkit.workflows.detector_free.table import DETECTOR_FREE
from labelkit.workflows.intake.register import BOX_CHOICES
from labelkit.workflows.loop.export import FORMATS
from labelkit.workflows.measure.score import METRICS


@pytest.fixture
def completed(monkeypatch):
    """Call it with an unfinished line to get what bash offers for the last word."""

    def complete(line):
        monkeypatch.setenv("_LABELKIT_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        return labelkit().out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("labelkit retrain --preset ", PRESETS),
        ("labelkit bootstrap --preset ", PRESETS),
        ("labelkit bootstrap --boxes ", BOX_CHOICES),
        ("labelkit bootstrap --skeleton ", BUILTIN),
        ("labelkit pull --take ", [THEIRS, OURS]),
        ("labelkit export --format ", FORMATS),
        ("labelkit score --metric ", METRICS),
        ("labelkit benchmark ", [*tables(PRESETS["tiny"]), DETECTOR_FREE]),
        ("labelkit ser", ["serve"]),
        ("labelkit export --pre", []),  # the former name of --with-predictions
    ],
)
def test_every_choice_that_the_workflow_takes_is_offered(completed, line, choices):
    assert completed(line) == list(choices)


@pytest.mark.parametrize("line", ["labelkit evaluate --predictions ", "labelkit pull --file "])
def test_where_nothing_is_offered_the_shell_offers_files(completed, line):
    assert completed(line) == []


def test_the_script_that_a_shell_loads_is_printed(monkeypatch):
    # The shell is named, not detected: make runs tests below one that has no completion.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    outcome = labelkit("--show-completion", "bash")
    assert outcome.code == 0
    assert "_LABELKIT_COMPLETE=complete_bash" in outcome.out
