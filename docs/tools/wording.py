"""Word list of expressions to avoid in README, documentation, docstrings and messages; the glossary has the terms.

python -m docs.tools.wording            # prints matches, and fails if there are any
"""

import ast
import pathlib
import re
import sys
from collections.abc import Iterator

from docs.tools import messages

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ("*.md", "docs/*.md", "docs/api/*.md", "tutorials/[0-9]*.py")
AVOID = {  # expression: replacement
    r"(train\w*|test|tun\w*|validation|held-out|many|these|those|new|foreign) rows|(each|every) row": "sample",
    r"made-up|(?<!make )sure|surest?|surer|unsure": "synthetic; confident, uncertain",
    r"what it does not know|honest\w*|deaf|turned by": "uncertainty, calibrated; rotated by",
    r"driv(es?|en by)|legal|illegal|mend(s|ed)?|anew": "controls, valid, corrects, again",
    r"of (its|their|one's|your) own|by (itself|hand)": "custom, separate, member-specific, manually",
    r"looks? at|looked (at|into)|in (the|its) place of": "uses, checks, traces; instead of",
    r"go(es)? on|went on|nobody|somebody|whoever": "continues, resumes; no user",
    r"says|saying|said|yes-or-no|pays? for|at the price of": "states, returns; binary; costs",
    r"as (it is|they are)": "unchanged",
}
PATTERNS = {re.compile(rf"\b({avoid})\b", re.I): replacement for avoid, replacement in AVOID.items()}
CODE = re.compile(r"^```.*?^```$|^    .*?$|`[^`\n]*`|\]\([^)]*\)|^\|.*?$|^# %%(?! \[m).*?(?=^# %%|\Z)", re.M | re.S)
EXAMPLES = re.compile(r"`[^`]*`|^ *>>> .*?(?=\n\n|\Z)", re.M | re.S)  # code of a docstring


def texts() -> Iterator[tuple[str, int, str]]:
    """Yields path, first line and prose of pages, docstrings and messages."""
    for path in (path for pattern in PAGES for path in sorted(ROOT.glob(pattern))):
        yield path.relative_to(ROOT).as_posix(), 1, without(CODE, path.read_text())
    for path in sorted((ROOT / "keras_hyperens").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                prose = without(EXAMPLES, ast.get_docstring(node) or "")
                yield path.relative_to(ROOT).as_posix(), node.body[0].lineno, prose
    for message in messages.messages():
        yield f"message of {message.module}.{message.function}", 0, without(EXAMPLES, message.text)


def without(code: re.Pattern[str], text: str) -> str:
    """Returns a text of the same length, with code replaced by blanks."""
    return code.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def matches() -> Iterator[str]:
    """Yields a line for each expression to avoid outside of code and tables."""
    for path, start, prose in texts():
        for pattern, replacement in PATTERNS.items():
            for match in pattern.finditer(prose):
                line = start + prose[: match.start()].count("\n")
                yield f"{path}:{line}: {match[0]!r}: use {replacement}"


if __name__ == "__main__":
    sys.exit("\n".join(matches()) or None)
