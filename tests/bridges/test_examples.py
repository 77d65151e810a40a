"""Every script of examples/ runs, in its small setting: the figures it prints hold, and there is its picture."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import needs

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))


def libraries(script):
    """The top-level packages that a script and what the scripts share import, but that itself."""
    found = set()
    for path in (EXAMPLES / f"{script}.py", EXAMPLES / "_common.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.partition(".")[0])
    return sorted(found - {"_common"})


def check_boost_focal(figures):
    losses = {name.partition(":")[0] for name in figures if name.endswith("average precision")}
    assert len(losses) == 4
    for name in losses:
        assert figures[f"{name}: training loss, last tree"] < 0.1 * figures[f"{name}: training loss, first tree"]
        # by lot it is the share of positive rows
        assert figures[f"{name}: average precision"] > 10 * figures["positive rows"] / 100


def check_compare_losses(figures):
    slopes = {name.removesuffix(": slope"): figures[name] for name in figures if name.endswith(": slope")}
    assert len(slopes) == 5
    off = {name: abs(slope - 2) for name, slope in slopes.items()}
    assert off.pop("MSE") > 0.3 > 0.15 > max(off.values())
    assert figures["MAE: points below the line"] == pytest.approx(50, abs=1)
    assert figures["quantile, q 0.75: points below the line"] == pytest.approx(75, abs=1)


def check_perplexity(figures):
    by_context = [figures[f"perplexity, context of {context}"] for context in range(1, 5)]
    assert 256 / 10 > by_context[0] > by_context[1] > by_context[2] > 1
    assert figures["e ** nats"] == figures["2 ** bits"] == by_context[-1]
    of_modules = {name: figure for name, figure in figures.items() if name.startswith("perplexity of ")}
    assert len(of_modules) == 4
    for name, figure in of_modules.items():
        assert of_modules[re.sub("by e$", "by 2", name)] == figure
    assert min(of_modules.values()) < by_context[-1] < max(of_modules.values())


def check_train_binary_keras(figures):
    assert figures["training loss of the last epoch"] < 0.7 * figures["training loss of the first epoch"]
    assert figures["validation accuracy"] > 80
    assert figures["largest difference of an epoch's loss from Keras's"] < 1e-6
    assert figures["largest difference of a weight from Keras's"] < 1e-5


def check_train_binary_torch(figures):
    assert figures["steps"] == 2 * -(-9000 // 32)
    assert figures["training loss of the last epoch"] < 0.7 * figures["training loss of the first epoch"]
    assert figures["validation accuracy"] > 80
    assert figures["largest difference of a step's loss from torch's"] < 1e-6
    assert figures["largest difference of a weight from torch's"] < 1e-5


def check_train_embeddings(figures):
    for name, least in (("triplets", 80), ("SupCon", 60)):
        assert figures[f"{name}: loss of the last epoch"] < 0.7 * figures[f"{name}: loss of the first epoch"]
        assert figures[f"nearest neighbour right, {name}"] > least > 40 > figures["nearest neighbour right, untrained"]


def check_train_network_numpy(figures):
    assert figures["test loss"] < 0.3 < 1 < figures["test loss before"]
    assert figures["test accuracy"] > 90 > 30 > figures["test accuracy before"]


def check_train_retriever(figures):
    assert figures["loss of the last epoch"] < 0.8 * figures["loss of the first epoch"]
    assert figures["recall@10"] > figures["recall@10 before"] > figures["recall@1 before"] > 0
    assert figures["recall@10 of BM25"] > figures["recall@1 of BM25"] > 0


@pytest.mark.parametrize("script", [pytest.param(each, marks=needs(*libraries(each))) for each in SCRIPTS])
def test_script(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{script}.py"), "--small", "--out", str(tmp_path)],
        # one thread: many scripts at once make threads wait for each other
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    printed = re.findall(r"^(\S.*?)  +(\S+)", done.stdout, re.MULTILINE)
    globals()[f"check_{script}"]({name: float(number.replace(",", "")) for name, number in printed})
    (picture,) = tmp_path.iterdir()
    assert picture.name == f"{script}.png"
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_every_script_is_checked_and_described():
    assert SCRIPTS
    assert sorted(name.removeprefix("check_") for name in globals() if name.startswith("check_")) == SCRIPTS
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\.py\]", table, re.MULTILINE)) == SCRIPTS
