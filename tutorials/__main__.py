"""Runs the notebooks of this folder in full, and keeps their outputs.

    make tutorials                              # all of them
    python -m tutorials 1_first_ensemble        # one

A notebook's source is the `.py` file of its name (Jupytext's percent format), where a diff can be read; the `.ipynb`
beside it is that source and what it put out. How long the run took is in its metadata, and on the site.
"""

import argparse
import pathlib
import tempfile
import time
from typing import Any

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).parent
SOURCES = sorted(path for path in FOLDER.glob("[0-9]*.py"))


def main() -> None:
    names = [path.stem for path in SOURCES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=", ".join(names))
    for name in parser.parse_args().names:
        source = FOLDER / f"{name}.py"
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:  # for the files that it writes
            notebook = executed(source, pathlib.Path(folder))
        seconds = round(time.monotonic() - start)
        notebook.metadata["seconds"] = seconds
        write(notebook, source.with_suffix(".ipynb"))
        print(f"{name:<32}{seconds // 60}:{seconds % 60:02} min", flush=True)


def read(source: pathlib.Path) -> Any:
    """The notebook of a source, without outputs; its cells are numbered, so that a second run changes nothing."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["jupytext"]["cell_metadata_filter"] = "short,tags,-all"  # Jupytext's order changes
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def executed(source: pathlib.Path, folder: pathlib.Path, is_short: bool = False, timeout: int = 1800) -> Any:
    """The notebook with its outputs, run in `folder`.

    What installs packages on Colab is left out. A short run follows the cell of parameters by its own values of them
    (`short` in the cell's metadata).
    """
    notebook = read(source)
    skipped = {number: cell for number, cell in enumerate(notebook.cells) if "colab" in cell.metadata.get("tags", [])}
    for number, cell in skipped.items():
        notebook.cells[number] = nbformat.v4.new_code_cell("", id=cell["id"])
    for cell in notebook.cells:
        if is_short and "short" in cell.metadata:
            cell["source"] += f"\n{cell.metadata['short']}"
    nbclient.NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    for number, cell in skipped.items():
        notebook.cells[number] = cell
    return notebook


def write(notebook: Any, path: pathlib.Path) -> None:
    """Without times of day and TensorFlow's log. Under another name first: a run that is stopped leaves the old one."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if not _is_log(output)]
    temporary = path.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    temporary.replace(path)


def _is_log(output: Any) -> bool:
    """In notebooks TensorFlow writes a part of it to stdout."""
    logs = ("WARNING:tensorflow", "INFO:tensorflow")
    return output.get("name") == "stderr" or output.get("text", "").startswith(logs)


if __name__ == "__main__":
    main()
