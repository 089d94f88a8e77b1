"""The installed FiftyOne has the private names that labelkit uses, in one module only."""

from __future__ import annotations

import ast
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from packaging.requirements import Requirement

from labelkit.bridges.fiftyone.private import id_of, samples_of

ROOT = Path(__file__).resolve().parents[3]


pytestmark = pytest.mark.usefixtures("fiftyone_database")


def test_the_installed_version_is_within_the_bounds_of_the_extra():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (extra,) = settings["project"]["optional-dependencies"]["review"]
    allowed = Requirement(extra).specifier
    assert version("fiftyone") in allowed
    assert any(bound.operator == "<" for bound in allowed)


@pytest.mark.parametrize(
    "name",
    [
        "core.dataset:Dataset._sample_collection",
        "core.service:ServerService._wait_for_child_port",
        "core.session.session:_server_services",
        "core.session.client:Client.add_event_listener",
    ],
)
def test_this_private_name_is_where_it_was(name):
    resolve_name(f"fiftyone.{name}")


@pytest.mark.parametrize(
    ("owner", "name"), [("core.dataset:Dataset", "_doc"), ("core.session:Session", "_client")]
)
def test_this_private_attribute_is_set_where_it_was(owner, name):
    assert name in resolve_name(f"fiftyone.{owner}").__init__.__code__.co_names


def test_the_patience_of_the_server_is_a_parameter():
    wait = resolve_name("fiftyone.core.service:ServerService._wait_for_child_port")
    assert list(inspect.signature(wait).parameters) == ["self", "port", "timeout"]


def test_samples_are_stored_with_the_id_of_their_dataset():
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath="/images/a.png"))
    (row,) = samples_of(dataset).find()
    assert (row["filepath"], row["_dataset_id"]) == ("/images/a.png", id_of(dataset))
    dataset.delete()


def private_attributes(path: Path) -> list[str]:
    """Attributes with a leading underscore of anything but `self`, `cls` and named tuples."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            own: Any = node.value
            public = node.attr in ("_asdict", "_replace", "_fields")
            if not public and not (isinstance(own, ast.Name) and own.id in ("self", "cls")):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}")
    return [item for item in found if not item.endswith("__")]


def test_no_other_module_uses_private_names_of_fiftyone():
    sources = [
        path for folder in ("labelkit", "workflows") for path in (ROOT / folder).rglob("*.py")
    ]
    users = [path for path in sources if "fiftyone" in path.read_text(encoding="utf-8")]
    assert len(users) > 8
    (adapter,) = [path for path in users if path.name == "private.py"]
    assert len(private_attributes(adapter)) >= 5
    assert [name for path in users if path != adapter for name in private_attributes(path)] == []
