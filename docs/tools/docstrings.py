"""Conversion of Keras docstrings for the parser of the site (a griffe extension of mkdocs.yml).

`Example:` is not indented in Keras, and `Input shape:` is not a section of Google style: they become titles and code.
"""

import re
import textwrap
from typing import Any

import griffe

TITLES = "Input shape|Output shape|Example|References"
PART = re.compile(rf"^({TITLES}):\n(.*?)(?=^[A-Z][\w ]*:\n|\Z)", re.M | re.S)


class KerasSections(griffe.Extension):
    """Converts every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_titles(obj.docstring.value)


def with_titles(text: str) -> str:
    """Returns the docstring with a bold title for each unsupported section, and with examples as code."""
    return PART.sub(lambda part: f"**{part[1]}**\n\n{_body(part[1], part[2])}\n\n", text)


def _body(title: str, body: str) -> str:
    body = textwrap.dedent(body).strip("\n")
    return f"```pycon\n{body}\n```" if title == "Example" and body.startswith(">>>") else body
