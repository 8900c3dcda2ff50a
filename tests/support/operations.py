"""Count the operations on numpy values in one analysis: each costs a microsecond or more.

`python -m tests.support.operations` analyses a window twice and prints how many operators,
subscripts and calls in tixd.analysis gave a numpy value the second time, when tables are made. What
numpy does inside is not counted, so the number depends on the project's code alone.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any

import numpy as np

PACKAGE = "tixd.analysis"

#: Expressions that give a new value.
_COUNTED = (ast.BinOp, ast.Compare, ast.UnaryOp, ast.Call)

seen = 0


def counted(value: object) -> object:
    """Count the value where it is one of numpy."""
    global seen  # noqa: PLW0603
    seen += isinstance(value, np.ndarray | np.generic)
    return value


class _Counting(ast.NodeTransformer):
    """Puts a call of `counted` around whatever gives a new value."""

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        is_read = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
        if is_read or isinstance(node, _COUNTED):
            name = ast.Name("counted_by_tests", ast.Load())
            return ast.Call(name, [node], [])  # type: ignore[list-item]
        return node


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        tree = _Counting().visit(ast.parse(self.get_data(path)))
        return compile(ast.fix_missing_locations(tree), path, "exec")


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, _: object = None) -> Any:
        spec: ModuleSpec | None = PathFinder.find_spec(name, path)
        if spec and spec.origin and name.startswith(f"{PACKAGE}."):
            spec.loader = _Loader(name, spec.origin)
        return spec


def main() -> None:
    """Analyse and print."""
    builtins.counted_by_tests = counted  # type: ignore[attr-defined]
    sys.meta_path.insert(0, _Finder())
    summarise = importlib.import_module(f"{PACKAGE}.summary").summarise
    rows = importlib.import_module("tests.support.windows").WINDOWS["busy"]
    summarise(rows)
    before = seen
    summarise(rows)
    sys.stdout.write(f"{seen - before}\n")


if __name__ == "__main__":
    main()
