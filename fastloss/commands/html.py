"""A page of HTML about an evaluation: its figures and pictures, with nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from .output import as_json
from .tables import Section

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #22303c; max-width: 62rem; margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; min-width: 30rem; }
td { padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #e8eef3; }
td:nth-child(2) { text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
td:nth-child(3) { color: #6b7c8a; }
img { max-width: 100%; }
pre { background: #f4f7f9; padding: 1rem; overflow: auto; max-height: 24rem; font-size: 12px; }
"""


def page(title: str, sections: Sequence[Section], picture: bytes, figures: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
    sections : list of Section
        The tables.
    picture : bytes
        PNG.
    figures : dict
        All that is known, which the page has as JSON too.
    """
    data = base64.b64encode(picture).decode()
    tables = "\n".join(_table(section) for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{tables}
<img alt="Pictures of the losses" src="data:image/png;base64,{data}">
<h2>All figures</h2>
<pre>{html.escape(as_json(figures))}</pre>
</body>
</html>
"""


def _table(section: Section) -> str:
    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in section)
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"
