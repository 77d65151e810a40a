"""docs/losses.md is what the docstrings say now, and they say all that it needs."""

from __future__ import annotations

import inspect

import make_losses
import pytest

from fastloss.loss import LOSSES


@pytest.mark.parametrize("name", LOSSES)
def test_docstring_says_it_all(name):
    missing = make_losses.entry(LOSSES[name]).missing()
    assert not missing, f"the docstring of {name} lacks {'; '.join(missing)}"


def test_page_is_current():
    page = make_losses.PAGE.read_text(encoding="utf-8")
    # Not by ==, whose report would be as long as the page.
    assert page.splitlines() == make_losses.page().splitlines(), "make docs (python docs/make_losses.py) writes it anew"


@pytest.mark.parametrize("name", LOSSES)
def test_page_has_it(name):
    page = make_losses.page()
    assert f"\n### {name}\n" in page
    found = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert f"{name}(" in found
    assert all(f"\n| `{each}` |" in found for each in inspect.signature(LOSSES[name]).parameters)


def test_parts_of_a_docstring():
    doc = inspect.cleandoc(
        r"""Summary, in
        two lines.

        More: :math:`x`, and

        .. math:: a
            + b

        then.

        Parameters
        ----------
        a, b : int
            Both,
            of them.
        c : float

        See Also
        --------
        torch.a, torch.b : Two.
        relative

        Notes
        -----
        ---- is no title.
        """
    )
    parts = make_losses.sections(doc)
    assert list(parts) == ["", "Parameters", "See Also", "Notes"]
    assert make_losses.paragraphs(parts[""])[0] == "Summary, in two lines."
    assert make_losses.formula("\n".join(parts[""])) == "a + b"
    assert make_losses.formula(r"One :math:`\sum_j |x_j|`.") == r"\sum_j |x_j|"
    assert make_losses.formula("none") == ""
    assert make_losses.descriptions(parts["Parameters"]) == {"a": "Both, of them.", "b": "Both, of them.", "c": ""}
    assert dict(make_losses.see_also(parts["See Also"])) == {"torch.a": "Two.", "torch.b": "Two.", "relative": ""}
    assert make_losses.markdown("``x`` of :func:`f`: :math:`|x|`") == "`x` of `f`: $`|x|`$"
    assert make_losses.row("`a|b`") == "| `a\\|b` |"


def test_a_loss_that_lacks_something_is_named():
    def bare(input: float) -> None:
        """Bare."""

    bare.name, bare.predictions = "bare", ("input",)  # type: ignore[attr-defined]
    missing = make_losses.entry(bare).missing()
    assert missing == ["description of input", "formula", "See Also: a peer, or a relative where there is none"]
