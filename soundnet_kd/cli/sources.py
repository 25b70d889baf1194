"""A function's signature and docstring, read from its source: a command is explained without what it needs to run.

PyTorch alone takes seconds to import, and no help needs it. A name in a signature is looked up where its module imports
or defines it, and so on. Values and dataclasses are then those of the source; any other class, and what libraries
define, is something that no command line can give, and stands only for itself.
"""

import ast
import inspect
import sys
from dataclasses import is_dataclass, make_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[1]


def describe(module: str, function: str) -> tuple[inspect.Signature, str]:
    """Return the signature of a function, with annotations as they are meant, and its docstring.

    Parameters
    ----------
    module : str
        A module of this package, by its full name.
    function : str
    """
    names = _names(module)
    node = names.definitions[function]
    assert isinstance(node, ast.FunctionDef)
    places = node.args.args
    defaults = [inspect.Parameter.empty] * (len(places) - len(node.args.defaults))
    defaults += [names.evaluate(default) for default in node.args.defaults]
    parameters = [
        inspect.Parameter(
            each.arg,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=default,
            annotation=names.annotation(each),
        )
        for each, default in zip(places, defaults, strict=True)
    ]
    return inspect.Signature(parameters), ast.get_docstring(node) or ""


class _Names(dict[str, Any]):
    """What the names of a module stand for, each found when it is first asked for."""

    def __init__(self, module: str) -> None:
        super().__init__()
        path = ROOT.joinpath(*module.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.module = module
        self.definitions: dict[str, ast.stmt] = {}
        self._define(ast.parse(file.read_text(encoding="utf-8")).body)

    def __missing__(self, name: str) -> Any:
        if name not in self.definitions:
            raise KeyError(name)
        self[name] = self._find(name, self.definitions[name])
        return self[name]

    def evaluate(self, expression: ast.expr) -> Any:
        """Return what an expression stands for."""
        return eval(compile(ast.Expression(expression), self.module, "eval"), {}, self)

    def annotation(self, parameter: ast.arg) -> Any:
        """Return the type of a parameter, also one that stands in quotes."""
        if parameter.annotation is None:
            return inspect.Parameter.empty
        kind = self.evaluate(parameter.annotation)
        return self.evaluate(ast.parse(kind, mode="eval").body) if isinstance(kind, str) else kind

    def _define(self, statements: list[ast.stmt]) -> None:
        for each in statements:
            if isinstance(each, ast.ImportFrom):
                self.definitions |= {alias.asname or alias.name: each for alias in each.names}
            elif isinstance(each, ast.Assign):
                self.definitions |= {target.id: each for target in each.targets if isinstance(target, ast.Name)}
            elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                self.definitions[each.target.id] = each
            elif isinstance(each, ast.ClassDef | ast.FunctionDef):
                self.definitions[each.name] = each
            elif isinstance(each, ast.If):
                # What is imported for type checkers only.
                self._define(each.body)

    def _find(self, name: str, definition: ast.stmt) -> Any:
        if isinstance(definition, ast.ImportFrom) and definition.module:
            origin = next(alias.name for alias in definition.names if name == (alias.asname or alias.name))
            root = definition.module.partition(".")[0]
            if root == PACKAGE:
                return _names(definition.module)[origin]
            if root in sys.stdlib_module_names:
                return getattr(import_module(definition.module), origin)
        if isinstance(definition, ast.Assign | ast.AnnAssign) and definition.value is not None:
            return self.evaluate(definition.value)
        if isinstance(definition, ast.ClassDef) and any(map(_is_dataclass, definition.decorator_list)):
            return self._dataclass(definition)
        return type(name, (), {})

    def _dataclass(self, definition: ast.ClassDef) -> type:
        bases: tuple[Any, ...] = tuple(filter(is_dataclass, map(self.evaluate, definition.bases)))
        fields: list[Any] = []
        for each in definition.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                default = [] if each.value is None else [self.evaluate(each.value)]
                fields.append((each.target.id, self.evaluate(each.annotation), *default))
        namespace = {"__doc__": ast.get_docstring(definition)}
        return make_dataclass(definition.name, fields, bases=bases, namespace=namespace)


@cache
def _names(module: str) -> _Names:
    return _Names(module)


def _is_dataclass(decorator: ast.expr) -> bool:
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(name, ast.Name) and name.id == "dataclass"
