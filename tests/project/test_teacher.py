"""What another model's round teaches, and what evidence it gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from foreign import Foreign, make_foreign

from labelkit.errors import UsageError
from labelkit.project.teacher import USUAL, evidence, lessons, teacher_named


@pytest.fixture
def foreign(tmp_path) -> Iterator[Foreign]:
    made = make_foreign(tmp_path)
    with made.store:
        yield made


def test_a_teacher_is_the_newest_round_of_its_name(foreign):
    with pytest.raises(UsageError, match=r"none yet.*\n.*labelkit predictions add"):
        teacher_named(foreign.project, "beast-net")
    foreign.add()
    foreign.label(foreign.trainable[:5])
    foreign.add()
    foreign.add(name="other-net")
    assert teacher_named(foreign.project, "beast-net") == {"name": "beast-net", "round": 1}
    with pytest.raises(UsageError, match="beast-net, other-net"):
        teacher_named(foreign.project, "no-net")


def test_an_object_that_was_not_found_teaches_nothing(foreign):
    lost = foreign.trainable[0]
    foreign.add(foreign.file(without=[lost]))
    teacher = {"teacher": teacher_named(foreign.project, "beast-net")}
    assert lessons(foreign.project, {}) == {}
    assert lessons(foreign.project, teacher).keys() == foreign.poses.keys() - {lost}


def test_evidence_spreads_as_far_as_errors_do(foreign):
    lost = foreign.trainable[0]
    foreign.add(foreign.file(without=[lost]))
    teacher = {"teacher": teacher_named(foreign.project, "beast-net")}
    instances = list(foreign.store.instances().values())
    found = evidence(foreign.project, teacher, instances)
    row = {item.id: places for item, places in zip(instances, found, strict=True)}
    assert np.isnan(row[lost][:, :2]).all()
    id_ = foreign.trainable[1]
    # The nose has a namesake and no measured error; the box's long side has 60 pixels.
    assert np.allclose(row[id_][0], [*foreign.poses[id_][1], USUAL * 60])
    assert np.isnan(row[id_][1:, :2]).all()
    assert evidence(foreign.project, {}, instances) is None


def test_pictures_of_no_project_have_no_evidence(foreign):
    teacher = {"teacher": {"name": "beast-net", "round": 7}}
    assert evidence(foreign.project, teacher, []) is None
