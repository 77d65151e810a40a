"""Every example runs, once: those of the docstrings, and the README's blocks of Python."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastloss
from fastloss.files import formats
from fastloss.loss import LOSSES

LIBRARIES = ("catboost", "dask", "jax", "keras", "lightgbm", "sklearn", "tensorflow", "torch", "xgboost", "xla")
FORMATS = {f"files.{each.module}" for each in formats._LIBRARIES.values()} | {"files.columns"}
BRIDGES = {f"fastloss.{name}" for name in (*LIBRARIES, *FORMATS)}
"""What plugs into another library, which is imported with it: tests/bridges runs these examples."""


def modules(folder, prefix="fastloss."):
    """The names of all modules in a package, which are not imported for it."""
    for found in pkgutil.iter_modules([str(folder)], prefix):
        if found.name not in BRIDGES and not found.name.endswith("__main__"):
            yield found.name
            if found.ispkg:
                yield from modules(folder / found.name.rpartition(".")[2], f"{found.name}.")


MODULES = list(modules(Path(fastloss.__path__[0])))
README = Path(__file__).parents[1] / "README.md"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", ["fastloss", *MODULES])
def test_docstrings(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=FLAGS).failed == 0


@pytest.mark.parametrize("name", LOSSES)
def test_examples_of_losses_are_found(name):
    module = importlib.import_module(LOSSES[name].__module__)
    found = {test.name: test.examples for test in doctest.DocTestFinder().find(module)}
    assert found[f"{module.__name__}.{name}"]


def test_readme(monkeypatch, tmp_path):
    """The blocks run one after the other in one namespace; those with prompts are checked."""
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    blocks = re.findall(
        r"^```(?:python|pycon)\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for number, block in enumerate(blocks):
        if ">>> " in block:
            test = doctest.DocTestParser().get_doctest(block, namespace, f"README block {number}", str(README), 0)
            assert doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False).failed == 0
            namespace = test.globs
        else:
            exec(compile(block, f"README block {number}", "exec"), namespace)
