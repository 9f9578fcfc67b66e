"""Docstrings as Keras writes them, as the parser of the site wants them (a griffe extension; mkdocs.yml names it).

Keras' `Example:` is not indented, and `Input shape:` is no section of Google's style: they become titles and code.
"""

import re
import textwrap
from typing import Any

import griffe

TITLES = "Input shape|Output shape|Example|References"
PART = re.compile(rf"^({TITLES}):\n(.*?)(?=^[A-Z][\w ]*:\n|\Z)", re.M | re.S)


class KerasSections(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = with_titles(obj.docstring.value)


def with_titles(text: str) -> str:
    """The docstring with a bold title for each section that the parser does not know, and its examples as code."""
    return PART.sub(lambda part: f"**{part[1]}**\n\n{_body(part[1], part[2])}\n\n", text)


def _body(title: str, body: str) -> str:
    body = textwrap.dedent(body).strip("\n")
    return f"```pycon\n{body}\n```" if title == "Example" and body.startswith(">>>") else body
