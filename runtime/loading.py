"""Finds the tree a command names, as ``module:attribute`` or ``path/to/file.py:attribute``.

Whatever goes wrong becomes one `LoadError` that says what stands there, the rule and the fix.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ringfence.actors.errors import Problem
from ringfence.runtime.tracebacks import described, is_noise
from ringfence.supervisors.spec import DynamicSupervisor, Supervisor


class LoadError(Exception):
    """A command names something that cannot be run."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))


def load_tree(target: str) -> object:
    """Return what ``target`` names; a function without arguments is called for it.

    Raises:
      LoadError: there is no such module or attribute, or loading it failed.
    """
    place, colon, attribute = target.rpartition(":")
    if not (colon and place and attribute):
        rule = "must name a module or a file, a colon and an attribute"
        raise LoadError(
            Problem("TREE", target, rule, "write my_bot.desk:tree or path/to/file.py:tree")
        )
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    found = _attribute(module, attribute, place)
    is_tree = isinstance(found, Supervisor | DynamicSupervisor | type)
    if is_tree or not callable(found):
        return found
    try:
        return found()
    except Exception as error:
        rule = f"calling it failed: {_where(error)}"
        fix = "give a tree, or a function without arguments that returns one"
        raise LoadError(Problem("TREE", target, rule, fix)) from error


def _load_file(place: str) -> ModuleType:
    path = Path(place)
    if not path.is_file():
        near = [p.as_posix() for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        fix = _nearest(path.as_posix(), near, "check the path, seen from the current folder")
        raise LoadError(Problem("TREE", place, "there is no such file", fix))
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # as `python file.py` does
        sys.path.insert(0, folder)
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module  # attrs and pickle look a class up in its module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous
        raise _import_failed(place, error) from error
    return module


def _load_module(place: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:  # as `python -m` does
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place == missing or place.startswith(f"{missing}."):
            near = [path.stem for path in Path.cwd().glob("*.py")]
            fix = _nearest(place, near, "run it from the folder that holds it, or install it")
            rule = f"there is no module called {missing!r}"
            raise LoadError(Problem("TREE", place, rule, fix)) from error
        raise _import_failed(place, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(place, error) from error


def _import_failed(place: str, error: BaseException) -> LoadError:
    rule = f"importing it failed: {_where(error)}"
    fix = "a module with a tree must be importable: start nothing at its top level"
    if isinstance(error, ModuleNotFoundError):
        fix = f"install what provides {error.name!r}"
    elif isinstance(error, SyntaxError):
        fix = "correct the syntax"
    elif not isinstance(error, SystemExit):
        fix = "make `python -c 'import ...'` of it work"
    return LoadError(Problem("TREE", place, rule, fix))


def _where(error: BaseException) -> str:
    """Return an exception with the line of the user's code it came from."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not is_noise(frame.filename) and "importlib" not in frame.filename
    ]
    if not frames or isinstance(error, SyntaxError):
        return described(error)
    return f"{described(error)} ({frames[-1].filename}, line {frames[-1].lineno})"


def _attribute(module: ModuleType, attribute: str, place: str) -> object:
    found: object = module
    for name in attribute.split("."):
        names = dir(found)
        if name not in names and not hasattr(found, name):
            public = [one for one in names if not one.startswith("_")]
            trees = [one for one in public if isinstance(getattr(found, one, None), Supervisor)]
            default = f"it has: {', '.join(trees or public[:10]) or 'nothing public'}"
            raise LoadError(
                Problem(
                    "TREE",
                    f"{place}:{attribute}",
                    f"{place} has no attribute {name!r}",
                    _nearest(name, trees or public, default),
                )
            )
        found = getattr(found, name)
    return found


def _nearest(word: str, known: list[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else otherwise
