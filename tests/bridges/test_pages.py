"""The blocks of the pages about other libraries run."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path

import pytest
from helpers import peer

DOCS = Path(__file__).parents[2] / "docs"
NEEDS = {
    "boosting.md": ("xgboost", "lightgbm", "catboost", "sklearn", "scipy"),
    "recipes.md": ("pyarrow", "pandas", "datasets", "torch"),
}


@pytest.mark.parametrize("page", NEEDS)
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_page(page, monkeypatch, tmp_path):
    for name in NEEDS[page]:
        peer(name)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0
