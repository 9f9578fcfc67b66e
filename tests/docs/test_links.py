"""Links between files of the repository lead somewhere."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)(?:#([^)\s]*))?\)")
ELSEWHERE = ("build", "demo_output", "benchmark_runs", "dist")


def pages():
    """All pages of the repository; environments are not entered."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ELSEWHERE]
        yield from (os.path.relpath(os.path.join(folder, name), ROOT) for name in files if name.endswith(".md"))


PAGES = sorted(pages())


def anchors(path):
    """Of the headings of a page, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links(page):
    folder = (ROOT / page).parent
    for link, anchor in LINK.findall((ROOT / page).read_text()):
        target = folder / link
        assert target.is_file(), f"{page} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page} links to {link}#{anchor}"
        ignored = subprocess.run(["git", "check-ignore", "-q", target], cwd=ROOT, check=False).returncode
        assert ignored != 0, f"{page} links to {link}, which git ignores"


def test_pages_were_looked_at():
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "docs/api/layers.md"} <= set(PAGES)
