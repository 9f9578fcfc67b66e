"""Errors and warnings of the package, read from its source, for docs/messages.md.

    python -m docs.tools.messages            # prints them

Variable parts are replaced by an ellipsis. Statements that only pass on the text of another error are omitted, because
that error has an entry.
"""

import ast
import pathlib
import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from docs.tools.advice import MODULES
from docs.tools.advice import ROOMS

ROOT = pathlib.Path(__file__).parents[2]
GAP = "…"


class Message(NamedTuple):
    """A statement that raises an error or a warning."""

    module: str
    function: str
    kind: str
    text: str


class Source(NamedTuple):
    """Functions and constants that texts of a module can use."""

    functions: dict[str, ast.FunctionDef]  # of the whole package
    constants: dict[str, str]  # of the module


def messages() -> list[Message]:
    """Returns all messages by module, in order."""
    paths = sorted((ROOT / "keras_hyperens").rglob("*.py"))
    trees = {path: ast.parse(path.read_text()) for path in paths}
    functions = {node.name: node for tree in trees.values() for node in ast.walk(tree) if _is_function(node)}
    found = []
    for path, tree in trees.items():
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        source = Source(functions, dict(_constants(tree)))
        said = (Message(module, *parts) for parts in _said_in(tree, "", source))
        found += [each for each in said if each.text.replace(GAP, "").strip(" .:;")]
    return list(dict.fromkeys(found))


def listing() -> str:
    """Returns the messages by module, in Markdown."""
    parts: list[str] = []
    for room, of_room in groupby(messages(), key=lambda message: (message.module + ".").split(".")[1]):
        parts.append(f"## {f'keras_hyperens.{room}'.strip('.')}\n\n{ROOMS[room]}\n")
        for module, said in groupby(of_room, key=lambda message: message.module):
            path = module.removeprefix("keras_hyperens.")
            if path != room and module != "keras_hyperens":
                parts.append(f"### {path}\n")
            if path in MODULES:
                parts.append(f"{MODULES[path]}\n")
            parts.append("\n".join(map(_line, said)) + "\n")
    return "\n".join(parts)


def _line(message: Message) -> str:
    text = re.sub(r"\s+", " ", message.text).strip()
    fence = "``" if "`" in text else "`"
    space = " " if fence == "``" else ""
    return f"- {fence}{space}{text}{space}{fence}  \n  {message.kind}, in `{message.function}`"


def _said_in(node: ast.AST, function: str, source: Source) -> Iterator[tuple[str, str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _said_in(child, f"{function}.{child.name}".lstrip("."), source)
            continue
        if isinstance(child, ast.Call):
            name = ast.unparse(child.func).split(".")[-1]
            if (name.endswith("Error") or name == "warn") and child.args:
                kind = "warning" if name == "warn" else name
                for text in _texts(child.args[0], source):
                    yield function, kind, text
        yield from _said_in(child, function, source)


def _texts(node: ast.expr, source: Source) -> list[str]:
    """Returns the possible texts of an expression."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return _joined([_texts(value, source) for value in values])
        case ast.FormattedValue(value=value):
            return _texts(value, source)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([_texts(left, source), _texts(right, source)])
        case ast.BoolOp(values=values):
            return [text for value in values for text in _texts(value, source)]
        case ast.Name(id=name) if name in source.constants:
            return [source.constants[name]]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in source.functions:
            returned = [each.value for each in ast.walk(source.functions[name]) if isinstance(each, ast.Return)]
            strings = [value for value in returned if isinstance(value, ast.Constant | ast.JoinedStr)]
            return [text for value in strings for text in _texts(value, source)] or [GAP]
    return [GAP]


def _joined(parts: list[list[str]]) -> list[str]:
    texts = [""]
    for part in parts:
        texts = [text + more for text in texts for more in part]
    return texts


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields names in capitals and their values as text."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            try:
                yield node.targets[0].id, str(ast.literal_eval(node.value))
            except ValueError:
                continue


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef)


if __name__ == "__main__":
    print(listing())
