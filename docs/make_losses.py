"""Writes docs/losses.md from the registry: every loss by its docstring, signature and derivatives.

`python docs/make_losses.py` (or `make docs`) writes the page; a test compares it with what would be written.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastloss.loss import LOSSES

PAGE = Path(__file__).with_name("losses.md")
FAMILIES = ("pointwise", "rowwise", "linear", "sequence", "embedding")
INTRODUCTION = """\
<!-- Made from the docstrings by docs/make_losses.py; `make docs` makes it anew. -->

# Losses

Every loss takes NumPy arrays and what converts to them: the [README](../README.md) has dtypes, reductions and the
numerical policy, `help(fastloss.cross_entropy)` errors and examples. Formulas are per element, row or sequence, before
any reduction. The gradient is that of `value_and_grad`, the Hessian that of `grad_hess`, where there is one.
"""


@dataclass(frozen=True)
class Entry:
    """What the page says of one loss."""

    name: str
    signature: str
    summary: str
    formula: str
    parameters: tuple[tuple[str, str, str], ...]
    """Name, default, description."""
    peers: tuple[tuple[str, str], ...]
    """Dotted name, and what is different about it."""
    relatives: tuple[str, ...]
    """What else of fastloss it names: a loss without peers has to name one."""
    predictions: tuple[str, ...]
    hessian: bool

    def missing(self) -> list[str]:
        """What its docstring does not say."""
        found = [f"description of {name}" for name, _, description in self.parameters if not description]
        found += ["summary"] if not self.summary else []
        found += ["formula"] if not self.formula else []
        found += ["See Also: a peer, or a relative where there is none"] if not self.peers + self.relatives else []
        return found


def entry(loss: Any) -> Entry:
    """Read a loss's docstring."""
    parts = sections(inspect.getdoc(loss) or "")
    described = descriptions(parts.get("Parameters", []))
    parameters = inspect.signature(loss).parameters.values()
    related = dict(see_also(parts.get("See Also", [])))
    summary = paragraphs(parts[""])[0] if parts[""] else ""
    return Entry(
        name=loss.name,
        signature=signature(loss),
        summary=re.sub(r"\s*:\s*(:math:`[^`]*`).*", ".", summary),
        formula=formula("\n".join(parts[""])),
        parameters=tuple((each.name, default(each), described.get(each.name, "")) for each in parameters),
        peers=tuple((name, text) for name, text in related.items() if "." in name),
        relatives=tuple(name for name in related if "." not in name),
        predictions=loss.predictions,
        hessian=hasattr(loss, "grad_hess"),
    )


# --- numpydoc, as far as it is used here


def sections(doc: str) -> dict[str, list[str]]:
    """The lines of a cleaned docstring by the underlined title above them; those before any title under ''."""
    lines = doc.splitlines()
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.strip() and re.fullmatch("-{3,}", below) and len(below) == len(line):
            title = line
            found[title] = []
        elif not (title and re.fullmatch("-{3,}", line)):
            found[title].append(line)
    return found


def paragraphs(lines: list[str]) -> list[str]:
    """What empty lines part, each on one line."""
    text = "\n".join(lines).strip()
    return [" ".join(each.split()) for each in re.split(r"\n\s*\n", text)] if text else []


def formula(text: str) -> str:
    """The first displayed formula, or where there is none the first in a line."""
    displayed = re.search(r"^( *)\.\. math::((?:.*\n?)(?:(?:\1 +\S.*)?\n?)*)", text, re.MULTILINE)
    inline = re.search(r":math:`([^`]*)`", text)
    return " ".join((displayed[2] if displayed else inline[1] if inline else "").split()).rstrip(".,;")


def items(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The lines at the margin, each with what is indented below it."""
    head, below = "", []
    for line in [*lines, "."]:
        if line[:1].strip():
            if head:
                yield head, " ".join(" ".join(below).split())
            head, below = line, []
        else:
            below.append(line)


def descriptions(lines: list[str]) -> dict[str, str]:
    """What a section of parameters says of each."""
    return {
        name.strip().lstrip("*"): text for head, text in items(lines) for name in head.partition(" : ")[0].split(",")
    }


def see_also(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The names of a section of relations, each with what is said of it."""
    for head, below in items(lines):
        names, _, text = head.partition(" : ")
        for name in names.split(","):
            yield name.strip(), f"{text} {below}".strip()


def default(parameter: inspect.Parameter) -> str:
    """A parameter's default as it is written."""
    value = parameter.default
    if value is parameter.empty:
        return ""
    return f'"{value}"' if isinstance(value, str) else repr(value)


def signature(loss: Any) -> str:
    """The call, without annotations."""
    words, keyword_only = [], False
    for each in inspect.signature(loss).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            words.append("*")
            keyword_only = True
        words.append(f"{each.name}={default(each)}" if default(each) else each.name)
    return f"{loss.name}({', '.join(words)})"


# --- Markdown, as GitHub has it


def markdown(text: str) -> str:
    """Text of a docstring; its formulas as GitHub protects them from Markdown."""
    text = re.sub(r":math:`([^`]*)`", r"$\0\1\0$", text)
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")
    return text.replace("\0", "`")


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def listed(names: tuple[str, ...]) -> str:
    """Names in code."""
    return ", ".join(f"`{name}`" for name in names)


def subjects() -> dict[str, list[Entry]]:
    """The entries by the module that defines them, whose docstring is the subject."""
    found: dict[str, list[Entry]] = {}
    for loss in sorted(LOSSES.values(), key=lambda each: (FAMILIES.index(each.family), each.__module__)):
        subject = paragraphs((importlib.import_module(loss.__module__).__doc__ or "").splitlines())[0]
        found.setdefault(subject, []).append(entry(loss))
    return found


def overview(entries: list[Entry]) -> Iterator[str]:
    """The table of all losses of a subject."""
    yield row("loss", "what", "gradient", "Hessian", "elsewhere")
    yield row("---", "---", "---", "---", "---")
    for each in entries:
        peers = listed(tuple(name for name, _ in each.peers)) or "none"
        name = f"[`{each.name}`](#{each.name})"
        yield row(name, markdown(each.summary), listed(each.predictions), "yes" if each.hessian else "", peers)


def details(each: Entry) -> Iterator[str]:
    """One loss."""
    yield f"### {each.name}"
    yield f"```python\n{each.signature}\n```"
    yield markdown(each.summary)
    yield f"$`{each.formula}`$"
    rows = [row(f"`{name}`", value and f"`{value}`", markdown(text)) for name, value, text in each.parameters]
    yield "\n".join([row("parameter", "default", ""), row("---", "---", "---"), *rows])
    peers = [f"- `{name}`" + (f": {markdown(text)}" if text else "") for name, text in each.peers] or ["- none"]
    yield "\n".join(
        [
            f"- Gradient: {'by ' + listed(each.predictions) if each.predictions else 'none'}",
            f"- Hessian: {'yes' if each.hessian else 'none'}",
            "- Elsewhere:",
            *(f"  {peer}" for peer in peers),
        ]
    )


def page() -> str:
    """All of it."""
    blocks = [INTRODUCTION.strip()]
    for subject, entries in subjects().items():
        title, _, rest = subject.rstrip(".").partition(": ")
        blocks += [f"## {title}", *([f"{rest[:1].upper()}{rest[1:]}."] if rest else [])]
        blocks.append("\n".join(overview(entries)))
    blocks.append("## One by one")
    for entries in subjects().values():
        for each in entries:
            blocks += details(each)
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
