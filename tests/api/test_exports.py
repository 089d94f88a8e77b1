"""What `import labelkit` gives: documented names, soon, and nothing else."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import labelkit
from labelkit import errors

REFERENCE = Path(labelkit.__file__).resolve().parents[1] / "docs" / "api-reference.md"
SOURCE = ast.parse(Path(labelkit.__file__).read_text(encoding="utf-8"))
FUNCTIONS = {
    "bootstrap": labelkit.bootstrap,
    "open": labelkit.open,
    **{
        f"Project.{name}": method
        for name, method in inspect.getmembers(labelkit.Project, inspect.isfunction)
        if not name.startswith("_")
    },
}


@pytest.mark.parametrize("name", labelkit.__all__)
def test_every_name_can_be_imported_and_is_documented(name):
    documented = inspect.getdoc(getattr(labelkit, name))
    assert documented
    assert not documented.startswith(f"{name}(")  # as dataclasses document themselves


def test_the_reference_has_every_name():
    shown = [line for line in REFERENCE.read_text("utf-8").splitlines() if line.startswith(":::")]
    assert sorted(shown) == sorted(f"::: labelkit.{name}" for name in labelkit.__all__)


def test_all_is_sorted_and_has_each_name_once():
    assert labelkit.__all__ == sorted(set(labelkit.__all__))


def test_nothing_else_shows():
    assert sorted(dir(labelkit)) == sorted([*labelkit.__all__, "__version__"])
    with pytest.raises(AttributeError, match="'nonsense'"):
        labelkit.nonsense  # noqa: B018


def test_every_error_of_the_tree_is_exported():
    tree = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}
    assert tree <= set(labelkit.__all__)


def test_editors_and_type_checkers_see_the_same_names():
    for_checkers = next(node for node in SOURCE.body if isinstance(node, ast.If)).body
    lazy, eager = (
        {
            alias.name: node.module
            for node in nodes
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("labelkit")
            for alias in node.names
        }
        for nodes in (for_checkers, SOURCE.body)
    )
    assert lazy == labelkit._LAZY
    assert sorted([*lazy, *eager]) == labelkit.__all__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_explained(name):
    documented = inspect.getdoc(FUNCTIONS[name]) or ""
    arguments = [a for a in inspect.signature(FUNCTIONS[name]).parameters if a != "self"]
    described = documented.partition("Args:")[2]
    heads = [line.partition(":")[0] for line in described.splitlines() if ":" in line]
    explained = {word.strip() for head in heads for word in head.split(",")}
    assert set(arguments) - explained == set()


def test_the_import_loads_nothing_that_is_slow():
    code = (
        "import json, sys\n"
        "import labelkit\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"torch", "numpy", "pandas", "sqlalchemy", "pyarrow", "rich", "typer", "fiftyone"}
    assert set(json.loads(done.stdout)) & slow == set()


def test_a_project_is_opened_without_torch_and_pandas(tmp_path):
    code = (
        "import sys\n"
        "import labelkit as lk\n"
        "try:\n"
        f"    lk.open({str(tmp_path)!r})\n"
        "except lk.ProjectError:\n"
        "    print(*sorted({'torch', 'pandas', 'fiftyone'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
