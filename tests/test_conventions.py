"""The house rules that a machine can keep: who imports whom, what is packaged, what is said."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from labelkit.cli.app import GROUPS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("labelkit", "models", "workflows")
HEAVY = {"torch", "torchvision", "timm", "lightning"}
#: Ways in, above everything else: the command line, FiftyOne's operators, the Python API.
WAYS_IN = {"labelkit.api", "labelkit.cli", "labelkit.fiftyone_plugin", "labelkit"}
#: Modules of the root that anything may import.
FOUNDATION = {"labelkit.ahead", "labelkit.errors", "labelkit.progress", "labelkit.report"}
#: A room holds at most so many modules, `__init__` left out.
MODULES_IN_A_ROOM = 15
OPTIONAL = {
    "av",
    "fiftyone",
    "h5py",
    "label_studio_sdk",
    "mediapipe",
    "pycocotools",
    "scipy",
    "sleap_io",
}


def sources(*folders: str) -> list[Path]:
    """Python files below the folders, each once: links inside `labelkit/` are not followed."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents)
    ]


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[tuple[str, int]]:
    """Dotted names that a file imports and the lines where it does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if top_level_only and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def is_below(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def offences(paths: list[Path], banned: set[str], *, top_level_only: bool = False) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for name, line in imports(path, top_level_only=top_level_only)
        if is_below(name, banned)
    ]


def test_the_walk_finds_all_three_folders_and_no_file_twice():
    found = sources(*FOLDERS)
    assert {path.relative_to(ROOT).parts[0] for path in found} == set(FOLDERS)
    assert len({path.resolve() for path in found}) == len(found)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts if parts[0] == "labelkit" else ("labelkit", *parts))
    return name.removesuffix(".__init__")


def room_of(module: str) -> str:
    """The folder of a module; the root's API and each foundation module count for themselves."""
    if module in FOUNDATION or module == "labelkit":
        return module
    path = ROOT.joinpath(*module.split("."))
    return module if path.is_dir() else module.rpartition(".")[0]


def rooms() -> dict[str, dict[str, str]]:
    """Room -> rooms that it imports, each with one place where it does."""
    known = {module_name(path) for path in sources(*FOLDERS)}
    graph: dict[str, dict[str, str]] = {}
    for path in sources(*FOLDERS):
        room = room_of(module_name(path))
        edges = graph.setdefault(room, {})
        for name, line in imports(path):
            module = name if name in known else name.rpartition(".")[0]
            if module in known and room_of(module) != room:
                edges.setdefault(room_of(module), f"{path.relative_to(ROOT)}:{line}")
    return graph


def test_no_circle_in_the_import_graph_of_rooms():
    graph = rooms()
    assert len(graph) > 20
    while leaves := [room for room, edges in graph.items() if not edges.keys() & graph.keys()]:
        for room in leaves:
            del graph[room]
    assert graph == {}


def test_the_domain_imports_neither_torch_nor_models_nor_workflows():
    below = [p for p in sources("labelkit") if room_of(module_name(p)) not in WAYS_IN]
    assert len(below) > 40
    assert offences(below, HEAVY | {"labelkit.models", "labelkit.workflows"}) == []


def test_nothing_below_imports_a_way_in():
    graph = rooms()
    assert [
        place
        for room, edges in graph.items()
        if room not in WAYS_IN
        for target, place in edges.items()
        if target in WAYS_IN
    ] == []


def test_the_root_package_holds_the_api_and_what_everything_stands_on():
    inside = {path.stem for path in (ROOT / "labelkit").glob("*.py")}
    assert inside == {"__init__"} | {name.rpartition(".")[2] for name in FOUNDATION}


def test_no_room_has_more_than_15_modules():
    folders = Counter(path.parent for path in sources(*FOLDERS) if path.name != "__init__.py")
    crowded = {str(f.relative_to(ROOT)): n for f, n in folders.items() if n > MODULES_IN_A_ROOM}
    assert crowded == {}


def test_every_room_says_in_one_sentence_what_lives_there():
    for path in sources(*FOLDERS):
        if path.name == "__init__.py" and path.parent != ROOT / "labelkit":
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            assert said.endswith("."), path
            assert "\n\n" not in said, path


def test_tests_mirror_the_rooms():
    rooms_of_tests = {path.parent.relative_to(ROOT / "tests") for path in sources("tests")}
    own = {Path("."), Path("support"), Path("bad_input"), Path("killed"), Path("older_projects")}
    strangers = [
        str(folder)
        for folder in rooms_of_tests - own
        if not ((ROOT / folder).is_dir() or (ROOT / "labelkit" / folder).is_dir())
    ]
    assert strangers == []


def test_models_import_only_torch_timm_safetensors_scipy_and_the_standard_library():
    ours = {"labelkit.models"}
    weights = {"timm", "huggingface_hub", "safetensors"}  # the hub is how timm fetches them
    fitting = {"scipy"}  # of the kinematic tree, once a training; no network computes with it
    allowed = {"torch"} | weights | fitting | ours | set(sys.stdlib_module_names)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources("models")
        for name, line in imports(path)
        if not is_below(name, allowed)
        and not (path.name == "checkpoint.py" and name == "labelkit.errors.CheckpointError")
    ]
    assert wrong == []


def test_top_level_names_models_and_workflows_are_never_imported():
    everything = sources(*FOLDERS, "tests", "benchmarks")
    assert offences(everything, {"models", "workflows"}) == []


def test_optional_packages_are_imported_only_where_they_are_used():
    # Only FiftyOne imports its plugin, and finds the operators by their base class.
    ours = [path for path in sources(*FOLDERS) if path.parent.name != "fiftyone_plugin"]
    assert offences(ours, OPTIONAL, top_level_only=True) == []


def test_every_package_folder_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    folders = set()
    for path in sources(*FOLDERS):
        parts = path.parent.relative_to(ROOT).parts
        folders.add(".".join(parts if parts[0] == "labelkit" else ("labelkit", *parts)))
    assert sorted(listed) == sorted(folders)


def test_every_data_file_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    inside = settings["setuptools"]["package-dir"]
    packed: set[Path] = set()
    for package, patterns in settings["setuptools"]["package-data"].items():
        top, _, rest = package.removeprefix("labelkit.").partition(".")
        folder = ROOT / inside.get(f"labelkit.{top}", package.replace(".", "/")) / rest
        for pattern in patterns:
            packed |= set(folder.glob(pattern))
    data = {
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
        if not any(parent.is_symlink() for parent in path.parents)
    }
    assert packed == data


def test_every_folder_with_python_files_is_a_package():
    without = {path.parent for path in sources(*FOLDERS)} - {
        path.parent for path in sources(*FOLDERS) if path.name == "__init__.py"
    }
    assert without == set()


def test_links_let_editors_see_what_the_installer_sees():
    for name in ("models", "workflows"):
        link = ROOT / "labelkit" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name


def test_there_is_no_utils_drawer():
    drawers = {"util", "utils", "helpers", "common", "misc"}
    everything = sources(*FOLDERS, "tests", "benchmarks")
    assert [p for p in everything if p.stem in drawers or p.parent.name in drawers] == []


def test_every_module_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*FOLDERS)
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("arguments", "environment", "printed"),
    [
        (["--help"], {}, "Usage: labelkit"),
        (
            [],
            {
                "_LABELKIT_COMPLETE": "complete_bash",
                "COMP_WORDS": "labelkit retrain --preset ",
                "COMP_CWORD": "3",
            },
            "paper\nplus\ntiny",
        ),
    ],
    ids=["help", "completion"],
)
def test_help_and_completion_import_nothing_heavy(arguments, environment, printed):
    code = (
        "import json, sys\n"
        "from labelkit.cli.app import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | environment,
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert printed in done.stdout
    assert loaded & (HEAVY | OPTIONAL | {"pandas", "pyarrow", "sqlalchemy", "matplotlib"}) == set()


def test_a_command_has_a_workflow_file_of_its_name_in_the_room_of_its_group():
    groups = import_module("labelkit.cli.app").GROUPS
    expected = {
        f"{command.__module__.rpartition('.')[2]}/{command.__name__}.py"
        for commands in groups.values()
        for command in commands
    }
    rooms = {place.partition("/")[0] for place in expected}
    found = {
        str(path.relative_to(ROOT / "workflows"))
        for room in rooms
        for path in (ROOT / "workflows" / room).glob("*.py")
        if path.name != "__init__.py"
    }
    assert found == expected


def test_a_group_of_commands_is_called_like_the_module_that_holds_it():
    modules = {
        heading: {command.__module__ for command in commands}
        for heading, commands in GROUPS.items()
    }
    assert modules == {
        heading: {f"labelkit.cli.{heading.lower().replace(' ', '_')}"} for heading in GROUPS
    }


@pytest.mark.parametrize("target", ["demo", "test", "test-fast", "lint", "docs", "bench"])
def test_make_has_the_targets_that_people_and_machines_use(target):
    assert f"\n{target}: " in (ROOT / "Makefile").read_text(encoding="utf-8")
