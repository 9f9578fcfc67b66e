"""What a release consists of: one version, and files that hold the package and nothing else."""

import configparser
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

import keras_hyperens as khe

ROOT = pathlib.Path(__file__).parents[1]


def run(*command, cwd=ROOT):
    result = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


def test_the_version_is_in_one_place():
    setup = (ROOT / "setup.cfg").read_text()
    assert "version = attr: keras_hyperens.version.__version__" in setup
    assert f"\nversion: {khe.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    heading = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
    is_development = "dev" in khe.__version__
    assert heading == "Unreleased" if is_development else heading.startswith(khe.__version__)


def test_paper_and_patent_are_cited():
    for name in ("README.md", "CITATION.cff"):
        text = (ROOT / name).read_text()
        assert "2006.13570" in text and "US 2023/0206030" in text
        assert "Hyperparameter Ensembles for Robustness and Uncertainty" in re.sub(r"\s+", " ", text)


def test_lower_bounds_are_those_of_setup():
    settings = configparser.ConfigParser(inline_comment_prefixes=("#",))
    settings.read(ROOT / "setup.cfg")
    names = [line.strip() for line in settings["options"]["install_requires"].splitlines() if line.strip()]
    printed = run(sys.executable, ".ci/lower_bounds.py").split()
    assert printed[: len(names)] == [name.split(",")[0].replace(">=", "==") for name in names]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in printed)


@pytest.mark.integration
def test_wheel_and_sdist(tmp_path):
    """Built from what git knows, as a clean clone would; with what is changed and not committed."""
    clone = tmp_path / "clone"
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", clone)
    wheel, sdist = sorted((tmp_path / "dist").glob("*.whl")), sorted((tmp_path / "dist").glob("*.tar.gz"))
    assert len(wheel) == len(sdist) == 1
    run(sys.executable, "-m", "twine", "check", "--strict", wheel[0], sdist[0])
    with zipfile.ZipFile(wheel[0]) as opened:
        names = opened.namelist()
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "keras_hyperens").rglob("*.py")}
    assert package | {"keras_hyperens/py.typed"} == {name for name in names if name.startswith("keras_hyperens/")}
    assert {name.split("/")[0] for name in names} == {"keras_hyperens", f"keras_hyperens-{khe.__version__}.dist-info"}
    with tarfile.open(sdist[0]) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    assert package | {"keras_hyperens/py.typed", "README.md", "LICENSE", "setup.cfg", "pyproject.toml"} <= inside
