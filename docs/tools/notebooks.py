"""The tutorials as pages of the site: text, code and outputs, with the pictures inside the page."""

import html
import pathlib
import re

import nbconvert
import nbformat

BADGE = re.compile(r"^\[!\[Open In Colab\].*$", re.M)


def paths(root: pathlib.Path) -> list[pathlib.Path]:
    """The notebooks, in their order."""
    return sorted((root / "tutorials").glob("[0-9]*.ipynb"))


def page(path: pathlib.Path) -> str:
    """A notebook as Markdown; where Colab's badge was, which is an image from elsewhere, the notebook can be taken."""
    inside = {"ExtractOutputPreprocessor": {"enabled": False}}  # pictures as data, not as files
    markdown, _ = nbconvert.MarkdownExporter(config=inside).from_filename(str(path))
    download = f'<a href="{path.name}" download>Download the notebook</a> ({duration(path)} in full, on two cores)'
    return BADGE.sub(download, markdown)


def entry(path: pathlib.Path, root: pathlib.Path) -> str:
    """A line of a list: title, first paragraph, duration."""
    first = nbformat.read(path, 4).cells[0].source.split("\n\n")
    title, prose = first[0].removeprefix("# "), " ".join(first[2].split())
    return f"- [{html.escape(title)}]({path.relative_to(root).as_posix()}): {prose} ({duration(path)})"


def duration(path: pathlib.Path) -> str:
    """How long the run took whose outputs are kept."""
    seconds = nbformat.read(path, 4).metadata["seconds"]
    return f"{seconds // 60}:{seconds % 60:02} minutes"
