"""The house: habits of the code that a reader may rely on, each kept by a test here.

What import contracts and lint rules can keep is in pyproject.toml and run by scripts/lint.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.debian import program
from tixd import errors

ROOT = Path(__file__).parents[2]

MODULES = sorted((ROOT / "tixd").rglob("*.py"))

TEST_MODULES = sorted((ROOT / "tests").rglob("test_*.py"))

#: Everything that may lie at the top of the repository.
TOP_LEVEL = {
    *(".ci", ".dockerignore", ".gitignore", "Dockerfile", "LICENSE", "README.md"),
    *("pyproject.toml", "scripts", "tests", "tixd", "tixd.service"),
}

#: What a pure module may not import: sockets, files, clocks, the environment.
IMPURE = {
    *("asyncio", "datetime", "io", "multiprocessing", "os", "pathlib", "select", "shutil"),
    *("socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib3", "zmq"),
    *("tixd.directory", "tixd.logs"),
}

#: Packages all of whose modules are pure.
PURE_PACKAGES = {"analysis", "simulation"}

#: They read and write times, and ask no clock; BytesIO is memory; inet_pton opens no socket.
PURE_BUT = {
    "formats": "socket",
    "celery_message": "datetime",
    "form": "io",
    "charts": "datetime",
}

#: Modules of under 60 lines that one other module uses, with the reason why they stand alone.
CRUMBS = {
    "allocator": "a call of the C library, which few modules may make",
    "health": "a command",
    "pages": "the table that each new page is written into",
    "words": "a page",
}

#: A module as comments and docstrings name it.
NAMED = re.compile(r"(?<![\w.])[a-z_]+\.py\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tree(path: Path) -> ast.Module:
    """The module as Python parses it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    """Every function of a module, methods and inner ones too."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines of the body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def called(node: ast.AST) -> str:
    """The dotted name that a call calls; "" for anything else."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def dotted(path: Path) -> str:
    """A module as imports name it."""
    return ".".join(path.parts)


def place(path: Path, node: ast.stmt | ast.expr | None = None) -> str:
    """File and line, as an editor opens them."""
    return f"{path.relative_to(ROOT)}:{node.lineno if node else 1}"


def in_git(*arguments: str) -> list[str]:
    """The lines that git prints; the test is skipped outside a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    done = subprocess.run(
        [program("git", "git"), *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_no_module_is_longer_than_500_lines_and_no_class_than_300():
    lengths = {place(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}
    nodes = ((p, n) for p in MODULES for n in ast.walk(tree(p)) if isinstance(n, ast.ClassDef))
    classes = {place(p, n): (n.end_lineno or 0) - n.lineno + 1 for p, n in nodes}
    assert {name: lines for name, lines in classes.items() if lines > 300} == {}


def test_no_function_body_is_longer_than_40_lines():
    long = [place(p, f) for p in MODULES for f in functions(p) if body_lines(f) > 40]
    assert long == []


def test_nine_in_ten_function_bodies_are_under_20_lines():
    sizes = {place(p, f): body_lines(f) for p in MODULES for f in functions(p)}
    long = sorted(name for name, lines in sizes.items() if lines >= 20)
    assert len(long) <= len(sizes) / 10, long


def test_every_module_opens_with_a_docstring():
    assert [place(path) for path in MODULES if not ast.get_docstring(tree(path))] == []


def public_definitions(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Functions and classes that others may use, and the methods of these classes."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def test_every_public_function_and_class_has_a_docstring():
    found = ((path, node) for path in MODULES for node in public_definitions(tree(path).body))
    assert [place(p, node) for p, node in found if not ast.get_docstring(node)] == []


def test_only_the_commands_print():
    own = [path for path in MODULES if "commands" not in path.parts]
    calls = ((path, node) for path in own for node in ast.walk(tree(path)))
    assert [place(p, node) for p, node in calls if called(node) == "print"] == []


def test_only_one_module_creates_tasks_so_that_none_fails_unseen():
    creating = ("create_task", "ensure_future")
    calls = ((p, n) for p in MODULES if p.stem != "tasks" for n in ast.walk(tree(p)))
    made = [(p, n) for p, n in calls if called(n).split(".")[-1] in creating]
    # A task of a TaskGroup ends its group, and with it what waits for the group.
    own = [place(p, n) for p, n in made if not called(n).startswith("group.")]
    assert own == [], "use tixd.runtime.tasks.start, or start_loop for what never ends"


def is_number(node: ast.expr | None) -> bool:
    """Whether an expression is made of numbers only: 5, -1, 60 * 60, 1 << 20."""
    if node is None:
        return False
    kinds = (ast.Constant, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop)
    constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in constants)
    return bool(constants) and numeric and all(isinstance(part, kinds) for part in ast.walk(node))


def unexplained_numbers(path: Path) -> Iterator[str]:
    """Numbers at a module's top without a `#:` comment right above."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in tree(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_number(node.value):
            above = node.lineno - 2
            while lines[above].startswith("#") and not lines[above].startswith("#:"):
                above -= 1
            if not lines[above].startswith("#:"):
                yield place(path, node)


def test_every_number_at_a_modules_top_says_what_it_means():
    assert [found for path in MODULES for found in unexplained_numbers(path)] == []


def test_no_module_takes_a_name_of_the_standard_library():
    parts = {part for path in MODULES for part in (path.stem, path.parent.name)}
    assert parts & sys.stdlib_module_names == set()


def test_only_known_things_lie_at_the_top_of_the_repository():
    assert {name.split("/")[0] for name in in_git("ls-files")} - TOP_LEVEL == set()


@pytest.mark.parametrize(
    "module", ["tixd.installation", "tixd.pool.worker_main", "tixd.config.settings"]
)
def test_worker_processes_import_no_command_line(module):
    program = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert module in loaded, done.stderr
    assert loaded & {"click", "pydantic", "rich", "tixd.config.loader", "tixd.cli"} == set()


def error_classes() -> list[type[errors.TixdError]]:
    """Every exception of tixd."""
    found = inspect.getmembers(errors, inspect.isclass)
    return [kind for _, kind in found if issubclass(kind, errors.TixdError)]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_opens_with_a_message_for_the_operator(kind):
    paragraph = (kind.__dict__["__doc__"] or "").split("\n\n")[0]
    assert paragraph.endswith(".")
    assert 10 <= len(paragraph) <= 160
    assert paragraph.isprintable(), "a message is one line"


def sentences_in(path: Path) -> Iterator[Function]:
    """The tests of a module, not its helpers."""
    return (node for node in functions(path) if node.name.startswith("test_"))


def test_every_package_has_its_place_in_the_layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {name for row in contracts["contracts"][0]["layers"] for name in row.split(" | ")}
    paths = {path.relative_to(ROOT).parts[:2] for path in MODULES if path.parent != ROOT}
    names = {".".join(parts).removesuffix(".py") for parts in paths} - {"tixd.__init__"}
    assert names == layers


def imported(path: Path) -> Iterator[str]:
    """Everything that a module imports, as dotted names: modules, and what it takes of them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_pure(path: Path) -> bool:
    """Whether a module promises to touch nothing, by its docstring or its package."""
    return path.parent.name in PURE_PACKAGES or (
        (ast.get_docstring(tree(path)) or "").rstrip().endswith("Pure.")
    )


@pytest.mark.parametrize("path", [*filter(is_pure, MODULES)], ids=lambda path: path.stem)
def test_pure_modules_import_no_socket_file_clock_or_environment(path):
    allowed = PURE_BUT.get(path.stem)
    names = {n for n in imported(path) for bad in IMPURE if n == bad or n.startswith(f"{bad}.")}
    assert {name for name in names if name.split(".")[0] != allowed} == set()


def test_every_file_that_the_code_names_is_there():
    names = {path.name for path in [*MODULES, *(ROOT / "tests").rglob("*.py")]}
    named = ((path, name) for path in MODULES for name in NAMED.findall(path.read_text()))
    assert [(place(path), name) for path, name in named if name not in names] == []


def test_no_two_modules_have_the_same_name():
    # Commands and roles bear the names that users type.
    named = [path for path in MODULES if path.parent.name not in ("commands", "roles")]
    stems = Counter(path.stem for path in named)
    assert {stem for stem, count in stems.items() if count > 1} - {"__init__", "base"} == set()


def test_no_module_is_a_crumb_of_its_only_user():
    users: dict[str, set[Path]] = {}
    for path in MODULES:
        for name in imported(path):
            users.setdefault(name, set()).add(path)
    short = [path for path in MODULES if len(path.read_text().splitlines()) < 60]
    dotted_names = {path: dotted(path.relative_to(ROOT).with_suffix("")) for path in short}
    crumbs = {p.stem for p, name in dotted_names.items() if len(users.get(name, ())) == 1}
    assert crumbs - CRUMBS.keys() == set(), "fold it into the module that uses it"


def test_no_assignment_packs_several_attributes_into_one_line():
    targets = ((p, t) for p in MODULES for t in packed_targets(p))
    assert [place(p, t) for p, t in targets] == []


def packed_targets(path: Path) -> Iterator[ast.expr]:
    """Tuples that have an attribute among them and are assigned to."""
    for node in ast.walk(tree(path)):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Tuple) and any(
                isinstance(part, ast.Attribute) for part in target.elts
            ):
                yield target


def test_names_of_tests_are_sentences_of_four_words_or_more():
    found = ((path, test) for path in TEST_MODULES for test in sentences_in(path))
    assert [place(p, t) for p, t in found if len(t.name.split("_")) < 5] == []


def test_bodies_of_tests_have_at_most_20_lines():
    found = ((path, test) for path in TEST_MODULES for test in sentences_in(path))
    assert [place(p, t) for p, t in found if body_lines(t) > 20] == []


def test_no_test_sleeps_to_wait_a_bit():
    calls = ((path, node) for path in TEST_MODULES for node in ast.walk(tree(path)))
    slept = [place(p, node) for p, node in calls if called(node) in ("time.sleep", "sleep")]
    assert slept == [], "poll a condition with a deadline; the helper lives in tests/support"
