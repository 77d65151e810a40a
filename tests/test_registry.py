"""One registry: every loss has reference, cases, documentation and kernel under one name."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from cases import CASES

import fastloss
from fastloss.loss import LOSSES
from fastloss.reference import REFERENCES

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "csrc" / "losses.def"


def test_every_loss_has_a_reference_and_cases():
    assert set(REFERENCES) == set(LOSSES)
    assert set(CASES) == set(LOSSES)


@pytest.mark.skipif(not KERNELS.exists(), reason="needs the C sources")
def test_kernels_and_losses_agree():
    # A loss may need several kernels, named after it; one may serve several losses, and one is of fastloss.sklearn.
    listed = re.findall(r"^[A-Z_]+\((\w+)", KERNELS.read_text(), re.MULTILINE)
    assert [name for name in listed if not name.startswith(tuple(LOSSES))] == ["total_probability"]


@pytest.mark.parametrize("name", LOSSES)
class TestLoss:
    def test_is_public(self, name):
        assert getattr(fastloss, name) is LOSSES[name]
        assert name in fastloss.__all__
        assert LOSSES[name].name == LOSSES[name].__name__ == name
        assert LOSSES[name].family in ("pointwise", "rowwise", "sequence", "linear", "embedding")

    def test_is_a_function_that_pickles_by_name(self, name):
        assert inspect.isfunction(LOSSES[name])
        assert pickle.loads(pickle.dumps(LOSSES[name])) is LOSSES[name]

    def test_is_documented(self, name):
        text = inspect.getdoc(LOSSES[name]) or ""
        missing = [title for title in ("Parameters", "Returns", "Examples") if f"{title}\n---" not in text]
        assert not missing
        assert ">>> " in text
        undocumented = [
            each
            for each in inspect.signature(LOSSES[name]).parameters
            if not re.search(rf"^.*\b{each}\b.* : ", text, re.M)
        ]
        assert not undocumented

    def test_is_in_the_table_of_the_readme(self, name):
        row = re.search(rf"^\| `{name}` \|(.*)\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
        assert row
        *_, grad, hess = (cell.strip() for cell in row[1].split("|"))
        assert grad == ("yes" if hasattr(LOSSES[name], "value_and_grad") else "")
        assert hess == ("yes" if hasattr(LOSSES[name], "grad_hess") else "")

    def test_is_annotated(self, name):
        signature = inspect.signature(LOSSES[name])
        bare = [each.name for each in signature.parameters.values() if each.annotation is each.empty]
        assert not bare
        assert signature.return_annotation is not signature.empty

    def test_reference_takes_the_same_arguments(self, name):
        theirs = inspect.signature(REFERENCES[name]).parameters
        ours = inspect.signature(LOSSES[name]).parameters
        for each in ours.values():
            if each.name != "reduction":
                assert theirs[each.name].default == each.default
        assert set(theirs) - set(ours) <= {"grad_output"}

    def test_derivatives_exist_where_the_reference_has_them(self, name):
        case, loss = CASES[name], LOSSES[name]
        shape = (5,) if loss.family == "pointwise" else (2, 3)
        terms = loss.reference.terms(**case.draw(case.variants[0], np.random.default_rng(0), shape, "float64"))
        assert hasattr(loss, "value_and_grad") == bool(terms.grads)
        assert hasattr(loss, "grad_hess") == (terms.hess is not None)
        assert len(loss.predictions) == len(terms.grads)
        assert set(loss.predictions) <= set(inspect.signature(loss).parameters)
