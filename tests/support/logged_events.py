"""The events that tixd can log, found in its source: name by name, with their levels."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "tixd"

#: Functions of tixd/logs.py that log, and the level of each.
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "failure": "error",
}

#: Levels at which somebody must act, or should look.
LOUD = {"warning", "error"}

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def logged_events() -> dict[str, frozenset[str]]:
    """The levels of each event; one whose level its caller chooses counts as a warning."""
    found: dict[str, set[str]] = {}
    modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}
    takers = {name: at for tree in modules.values() for name, at in _takers(tree)}
    for path, tree in modules.items():
        bare = path.name == "logs.py"
        for function in ast.walk(tree):
            if isinstance(function, _Function):
                for event, level in _in_function(tree, function, takers, bare=bare):
                    found.setdefault(event, set()).add(level)
    return {event: frozenset(levels) for event, levels in found.items()}


def _takers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Functions and classes of tixd that are told an event, and at which place."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, _Function):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        elif isinstance(node, ast.ClassDef):
            fields = (part for part in node.body if isinstance(part, ast.AnnAssign))
            names = [ast.unparse(field.target) for field in fields]
        if isinstance(node, _Function | ast.ClassDef) and "event" in names:
            yield node.name, [n for n in names if n != "self"].index("event")


def _in_function(
    tree: ast.Module, function: _Function, takers: dict[str, int], *, bare: bool
) -> Iterator[tuple[str, str]]:
    """Every event of a function's calls, with its level; bare: the module is tixd/logs.py."""
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func).split(".")[-1]
        levels = _levels(call.func, function, bare=bare)
        if levels:
            rest = call.args[:1]
        elif passed := [n for n, a in enumerate(call.args) if _levels(a, function, bare=bare)]:
            levels = _levels(call.args[passed[0]], function, bare=bare)
            rest = call.args[passed[0] + 1 : passed[0] + 2]
        elif called in takers and called not in LEVELS:
            told = {a.value for a in call.args if isinstance(a, ast.Constant)}
            levels = told & LEVELS.keys() or {"warning"}
            rest = call.args[takers[called] : takers[called] + 1]
        else:
            continue
        events = {text for argument in rest for text in _texts(argument, tree, function)}
        yield from ((event, level) for event in events for level in levels)


def _levels(node: ast.expr, function: _Function, *, bare: bool) -> set[str]:
    """The levels of a function of tixd/logs.py, or of a name that was bound to some."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "logs":
            found |= {LEVELS[part.attr]} if part.attr in LEVELS else set()
        if isinstance(node, ast.Name) and isinstance(part, ast.Name):
            for value in _bound(part.id, function):
                found |= _levels(value, function, bare=bare) if value is not node else set()
            if bare and part.id in LEVELS:
                found.add(LEVELS[part.id])
    return found if not isinstance(node, ast.Call) else set()


def _bound(name: str, function: _Function) -> Iterator[ast.expr]:
    """What is assigned to a name, alone or as one of several."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if ast.unparse(target) == name:
                    yield node.value
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=False)
                    yield from (value for part, value in pairs if ast.unparse(part) == name)


def _texts(node: ast.expr, tree: ast.Module, function: _Function) -> set[str]:
    """The texts that an argument may be: as it stands, or as its name was bound."""
    values = [node]
    if isinstance(node, ast.Name):
        values += _bound(node.id, function)
        values += _in_tuples(node.id, tree, function)
    parts = (part for value in values for part in ast.walk(value))
    found = (part.value for part in parts if isinstance(part, ast.Constant))
    return {text for text in found if isinstance(text, str) and text}


def _in_tuples(name: str, tree: ast.Module, function: _Function) -> Iterator[ast.expr]:
    """Where the name is one of several that a call returns: what tuples of texts have there."""
    for node in ast.walk(function):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        for target in (t for t in node.targets if isinstance(t, ast.Tuple)):
            names = [ast.unparse(part) for part in target.elts]
            if name in names:
                tuples = (n.elts for n in ast.walk(tree) if isinstance(n, ast.Tuple))
                alike = (elts for elts in tuples if len(elts) == len(names))
                texts = (e for e in alike if all(isinstance(part, ast.Constant) for part in e))
                yield from (elts[names.index(name)] for elts in texts)
