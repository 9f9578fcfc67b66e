"""What MkDocs does to the pages of this site before it reads them (mkdocs.yml names this file).

- Links out of `docs/` work: the file becomes part of the site, under `repository/`; a missing one fails the build.
- `{{ Heading; row; column }}` is replaced by that cell of the first table under the heading in benchmarks.md.
- A block of `math` becomes MathML, which needs no script.
- `<!-- tutorials -->` is replaced by a list of the notebooks, each of which is a page.
- `<!-- messages -->` is replaced by a list of all errors and warnings.
"""

import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File
from mkdocs.structure.files import Files

from docs.tools import messages
from docs.tools import notebooks

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
REPOSITORY = "repository"  # where files from outside docs/ are in the site
ALWAYS = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/paper/README.md",
    "benchmarks/selection/README.md",
    "benchmarks/tabular/README.md",
)
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
CODE = re.compile(r"(^```.*?^```$)", re.M | re.S)
SHIM = re.compile(r'<script src="?https://unpkg.com/iframe-worker/shim"?>')
OUTSIDE = re.compile(r"^(\w+:|#|/)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what pages link to outside docs/."""
    for path in sorted(linked_files()):
        source = str(ROOT / path)
        files.append(File.generated(config, f"{REPOSITORY}/{path}", abs_src_path=source))
    for path in notebooks.paths(ROOT):
        uri = f"{REPOSITORY}/{path.relative_to(ROOT).with_suffix('.md').as_posix()}"
        files.append(File.generated(config, uri, content=notebooks.page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as it goes to the site."""
    uri = page.file.src_uri
    source = uri.removeprefix(f"{REPOSITORY}/") if uri.startswith(REPOSITORY) else f"docs/{uri}"
    markdown = with_site_links(markdown, pathlib.PurePosixPath(source).parent, uri)
    if not uri.startswith(REPOSITORY):
        markdown = re.sub(r"\{\{ (.*?); (.*?); (.*?) \}\}", lambda match: cell(*match.groups()), markdown)
        listed = "\n".join(notebooks.entry(path, ROOT) for path in notebooks.paths(ROOT))
        if uri == "messages.md":
            markdown = markdown.replace("<!-- messages -->", messages.listing())
        markdown = markdown.replace("<!-- tutorials -->", with_site_links(listed, pathlib.PurePosixPath(), uri))
    return re.sub(r"```math\n(.*?)```", lambda match: mathematics(match[1]), markdown, flags=re.S)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """A script of our own in the place of one from elsewhere, which the theme needs for search from a file."""
    place = os.path.relpath("search-from-file.js", pathlib.PurePosixPath(page.url or "index.html").parent)
    return SHIM.sub(f'<script src="{place}">', output)


def on_post_template(output_content: str, **_: Any) -> str:
    """The page of a server that has no such page needs neither script."""
    return SHIM.sub("<script>", output_content)


def mathematics(latex: str) -> str:
    """Equations, one a line, as MathML."""
    lines = [latex2mathml.converter.convert(line, display="block") for line in latex.strip().splitlines()]
    return '<div class="mathematics">' + "".join(lines) + "</div>"


def linked_files() -> set[str]:
    """Files outside docs/ that the site needs: those that pages link to, and those that these link to."""
    pages = [path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")]
    found, ahead = set(ALWAYS), [*pages, *ALWAYS, "README.md"]
    found |= {path.relative_to(ROOT).as_posix() for path in notebooks.paths(ROOT)}
    while ahead:
        page = ahead.pop()
        for target in targets(page):
            if not target.startswith("docs/") and target not in found:
                found.add(target)
                ahead += [target] if target.endswith(".md") else []
    return found


def targets(page: str) -> Iterator[str]:
    """What a page of the repository links to in the repository, as paths from its root."""
    for _, link, _ in LINK.findall(CODE.sub("", (ROOT / page).read_text())):
        if not OUTSIDE.match(link):
            yield os.path.normpath((pathlib.PurePosixPath(page).parent / link.partition("#")[0]).as_posix())


def with_site_links(markdown: str, folder: pathlib.PurePosixPath, uri: str) -> str:
    """Links of a text from a folder of the repository, as a page of the site must write them."""

    def replace(match: re.Match[str]) -> str:
        link, hash_, anchor = match[2].partition("#")
        if OUTSIDE.match(match[2]):
            return match[0]
        path = os.path.normpath((folder / link).as_posix())
        if not (ROOT / path).is_file():
            raise FileNotFoundError(f"{uri} links to {match[2]}: there is no file {path}")
        place = path.removeprefix("docs/") if path.startswith("docs/") else f"{REPOSITORY}/{path}"
        place = re.sub(r"\.ipynb$", ".md", place)
        return match[1] + os.path.relpath(place, pathlib.PurePosixPath(uri).parent) + hash_ + anchor + match[3]

    parts = CODE.split(markdown)  # text, code, text, ...
    return "".join(part if number % 2 else LINK.sub(replace, part) for number, part in enumerate(parts))


def cell(place: str, row: str, column: str) -> str:
    """One cell of the first table of benchmarks.md after a line that begins with `place`, without emphasis.

    A row is known by its first cell, or by its first two, joined by a colon.
    """
    lines = (DOCS / "benchmarks.md").read_text().splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(place)]
    if not begins:
        raise ValueError(f"benchmarks.md has no line that begins with {place!r}")
    start = next(number for number in range(begins[0], len(lines)) if lines[number].startswith("| "))
    end = start
    while lines[end].startswith("|"):
        end += 1
    head, _, *rows = [[part.strip().replace("**", "") for part in line.split("|")[1:-1]] for line in lines[start:end]]
    found = [cells for cells in rows if row in (cells[0], ": ".join(cells[:2]))]
    if len(found) != 1 or column not in head:
        raise ValueError(
            f"The table of benchmarks.md under {place!r} has {len(found)} rows {row!r} and the columns {head}"
        )
    return found[0][head.index(column)]
