"""Pictures and the page of HTML: that they are whole, show what there is, and fetch nothing."""

from __future__ import annotations

import base64
import html.parser
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import peer

from fastloss import cli
from fastloss.commands import plot

figures = peer("matplotlib.figure")
image = peer("matplotlib.image")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write logits.npy, (40, 30, 7), and what belongs to it into the working directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("logits.npy", rng.normal(0, 3, (40, 30, 7)).astype(np.float32))
    np.save("flat.npy", rng.normal(0, 3, 1200).astype(np.float32))
    np.save("targets.npy", rng.integers(0, 7, (40, 30)))
    np.save("groups.npy", np.array(["code", "$x", "<b>&"])[rng.integers(0, 3, 40)])


def evaluate(*options):
    return cli.main(["evaluate", *options, "--quiet"])


def panels(monkeypatch, *options):
    """The titles of what is drawn."""
    seen = []
    figure = figures.Figure
    save = figure.savefig

    def savefig(self, *arguments, **settings):
        seen.extend(axes.get_title("left") for axes in self.axes if axes.axison)
        save(self, *arguments, **settings)

    monkeypatch.setattr(figure, "savefig", savefig)
    assert evaluate(*options) == 0
    return [re.sub(r" \(.*", "", title) for title in seen]


def test_what_there_is_is_drawn(files, monkeypatch, capsys):
    np.save("ones.npy", np.random.default_rng(0).integers(0, 2, 1200))
    logits = ("logits.npy", "targets.npy")
    titles = ["Losses", "Loss by position", "Calibration", "Groups of the largest loss"]
    assert panels(monkeypatch, *logits, "--groups", "groups.npy", "--plot", "a.png") == titles
    assert panels(monkeypatch, *logits, "--plot", "a.png") == titles[:3]
    flat = ("flat.npy", "ones.npy", "--plot", "a.png")
    assert panels(monkeypatch, *flat, "--task", "binary") == ["Losses", "Loss along the rows", "Calibration"]
    assert panels(monkeypatch, *flat, "--task", "regression") == ["Losses", "Loss along the rows"]
    assert not [name for name in os.listdir() if "losses" in name]


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_formats(files, capsys, name, start):
    assert evaluate("logits.npy", "targets.npy", "--plot", name) == 0
    assert Path(name).read_bytes().startswith(start)
    capsys.readouterr()
    assert evaluate("logits.npy", "targets.npy", "--plot", "a.gif") == 1
    assert "a.gif: a picture's name must end with one of .png, .svg, .pdf" in capsys.readouterr().err


def test_the_curves_are_the_losses(files, capsys, monkeypatch):
    """The bars count every loss once; the curve is the mean at each position."""
    drawn = {}
    figure = figures.Figure
    monkeypatch.setattr(figure, "savefig", lambda self, *_, **__: drawn.update(zip("hp", self.axes, strict=False)))
    losses = np.random.default_rng(1).gamma(2, 2, (50, 40))
    losses[::7, 3], losses[2, 5], losses[:, 9] = np.nan, np.inf, np.nan
    np.save("losses.npy", losses)
    plot.draw({"loss": 4.0}, "losses.npy", "png")
    [bars] = drawn["h"].patches
    assert bars.get_data().values.sum() == np.isfinite(losses).sum()
    [curve] = drawn["p"].get_lines()
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(losses), losses, 0).sum(axis=0) / np.isfinite(losses).sum(axis=0)
    np.testing.assert_allclose(curve.get_ydata(), finite)
    np.testing.assert_allclose(curve.get_xdata(), np.arange(40) + 0.5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("losses", [np.zeros(0), np.full((3, 4), np.nan), np.zeros((5, 1)), np.full(3, np.inf)])
def test_losses_of_which_there_is_little_to_see(losses, tmp_path):
    np.save(tmp_path / "losses.npy", losses)
    picture = plot.draw({"loss": float("nan")}, str(tmp_path / "losses.npy"), "png")
    assert image.imread(io.BytesIO(picture)).size


class Page(html.parser.HTMLParser):
    """Everything a page refers to, and whether its elements are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.references, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_in_one_piece(files, capsys):
    assert evaluate("logits.npy", "targets.npy", "--groups", "groups.npy", "--worst", "3", "--html", "a.html") == 0
    text = Path("a.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    [reference] = page.references
    kind, _, data = reference.partition(",")
    assert kind == "data:image/png;base64"
    assert image.imread(io.BytesIO(base64.b64decode(data, validate=True))).size
    assert "http" not in text
    assert "url(" not in text
    for each in ("perplexity", "group <b>&", "group $x", "logits.npy: 40 x 30 x 7 float32", '"standard_error"'):
        assert each in page.text
