"""The site builds strictly, has the numbers of the benchmarks, and loads nothing from elsewhere."""

import html
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
pytest.importorskip("latex2mathml", reason="the extra `docs` is not installed")
hooks = pytest.importorskip("docs.tools.hooks", reason="the extra `docs` is not installed")


def test_links_of_the_site():
    folder = pathlib.PurePosixPath("docs/api")
    assert hooks.with_site_links("[a](../../README.md#b)", folder, "api/x.md") == "[a](../repository/README.md#b)"
    assert (
        hooks.with_site_links("[a](../faq.md) [b](https://c.d)", folder, "api/x.md")
        == "[a](../faq.md) [b](https://c.d)"
    )
    assert hooks.with_site_links("[a](../../tutorials/1_first_ensemble.ipynb)", folder, "api/x.md") == (
        "[a](../repository/tutorials/1_first_ensemble.md)"  # a notebook is a page there
    )
    assert hooks.with_site_links("```python\nf[0](x)\n```", folder, "api/x.md") == "```python\nf[0](x)\n```"
    with pytest.raises(FileNotFoundError, match="nothing.md"):
        hooks.with_site_links("[a](../nothing.md)", folder, "api/x.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """That of `make docs`, if it has just run."""
    if "BUILT_SITE" in os.environ:
        return ROOT / os.environ["BUILT_SITE"]
    place = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", place],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return place


@pytest.mark.integration
def test_the_site_has_what_the_pages_promise(site):
    assert "hyper-deep" in html.unescape((site / "choosing.html").read_text())
    assert "<math" in (site / "concepts.html").read_text()
    assert "hyper-batch / batch" in (site / "benchmarks.html").read_text()
    layers = (site / "api" / "layers.html").read_text()
    assert 'id="keras_hyperens.layers.HyperBatchDense"' in layers and "Input shape" in layers
    assert (site / "repository" / "benchmarks" / "defaults" / "plots" / "methods.png").exists()
    assert len(re.findall(r"\d:\d\d minutes", (site / "tutorials.html").read_text())) == 9
    for path in (ROOT / "tutorials").glob("*.ipynb"):
        page = site / "repository" / "tutorials" / path.with_suffix(".html").name
        assert "data:image/png" in page.read_text() and page.with_suffix(".ipynb").exists()


@pytest.mark.integration
def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:[^\"> ]+)", page.read_text())
        assert not loaded, f"{page} loads {loaded}"
