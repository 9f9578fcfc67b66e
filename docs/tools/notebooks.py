"""Tutorials as pages of the site: text, code and outputs, with embedded images."""

import html
import pathlib
import re

import nbconvert
import nbformat

BADGE = re.compile(r"^\[!\[Open In Colab\].*$", re.M)


def paths(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the notebooks in order."""
    return sorted((root / "tutorials").glob("[0-9]*.ipynb"))


def page(path: pathlib.Path) -> str:
    """Returns a notebook as Markdown, with a download link instead of the remote badge of Colab."""
    inside = {"ExtractOutputPreprocessor": {"enabled": False}}  # images as data instead of files
    markdown, _ = nbconvert.MarkdownExporter(config=inside).from_filename(str(path))
    download = f'<a href="{path.name}" download>Download the notebook</a> ({duration(path)} in full, on two cores)'
    return BADGE.sub(download, markdown)


def entry(path: pathlib.Path, root: pathlib.Path) -> str:
    """Returns a list item: title, first paragraph, duration."""
    first = nbformat.read(path, 4).cells[0].source.split("\n\n")
    title, prose = first[0].removeprefix("# "), " ".join(first[2].split())
    return f"- [{html.escape(title)}]({path.relative_to(root).as_posix()}): {prose} ({duration(path)})"


def duration(path: pathlib.Path) -> str:
    """Returns the duration of the run with the stored outputs."""
    seconds = nbformat.read(path, 4).metadata["seconds"]
    return f"{seconds // 60}:{seconds % 60:02} minutes"
