"""MkDocs hooks that process the pages of the site (configured in mkdocs.yml).

- Files outside of `docs/` that pages link to become part of the site, under `repository/`; missing ones fail the build.
- A `math` block becomes MathML, which requires no script.
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
REPOSITORY = "repository"  # folder of the site for files from outside docs/
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
    """Adds files outside docs/ that pages link to."""
    for path in sorted(linked_files()):
        source = str(ROOT / path)
        files.append(File.generated(config, f"{REPOSITORY}/{path}", abs_src_path=source))
    for path in notebooks.paths(ROOT):
        uri = f"{REPOSITORY}/{path.relative_to(ROOT).with_suffix('.md').as_posix()}"
        files.append(File.generated(config, uri, content=notebooks.page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the processed page."""
    uri = page.file.src_uri
    source = uri.removeprefix(f"{REPOSITORY}/") if uri.startswith(REPOSITORY) else f"docs/{uri}"
    markdown = with_site_links(markdown, pathlib.PurePosixPath(source).parent, uri)
    if not uri.startswith(REPOSITORY):
        listed = "\n".join(notebooks.entry(path, ROOT) for path in notebooks.paths(ROOT))
        if uri == "messages.md":
            markdown = markdown.replace("<!-- messages -->", messages.listing())
        markdown = markdown.replace("<!-- tutorials -->", with_site_links(listed, pathlib.PurePosixPath(), uri))
    return re.sub(r"```math\n(.*?)```", lambda match: mathematics(match[1]), markdown, flags=re.S)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Replaces a remote script, which the theme uses for search from a file, by a local one."""
    place = os.path.relpath("search-from-file.js", pathlib.PurePosixPath(page.url or "index.html").parent)
    return SHIM.sub(f'<script src="{place}">', output)


def on_post_template(output_content: str, **_: Any) -> str:
    """Removes the script from the error page."""
    return SHIM.sub("<script>", output_content)


def mathematics(latex: str) -> str:
    """Returns equations, one per line, as MathML."""
    lines = [latex2mathml.converter.convert(line, display="block") for line in latex.strip().splitlines()]
    return '<div class="mathematics">' + "".join(lines) + "</div>"


def linked_files() -> set[str]:
    """Returns the files outside docs/ that pages link to, directly or indirectly."""
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
    """Yields the links of a page to files of the repository, relative to its root."""
    for _, link, _ in LINK.findall(CODE.sub("", (ROOT / page).read_text())):
        if not OUTSIDE.match(link):
            yield os.path.normpath((pathlib.PurePosixPath(page).parent / link.partition("#")[0]).as_posix())


def with_site_links(markdown: str, folder: pathlib.PurePosixPath, uri: str) -> str:
    """Converts the links of a text in a folder of the repository to links of a page of the site."""

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
