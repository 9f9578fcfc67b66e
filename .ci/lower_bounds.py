"""Prints the lower bounds of setup.cfg as pip constraints: `name==version`, one a line.

python .ci/lower_bounds.py > constraints.txt
"""

import configparser
import pathlib
import re

SETUP = pathlib.Path(__file__).parents[1] / "setup.cfg"


def lower_bounds() -> list[str]:
    """Of the dependencies and of every extra."""
    settings = configparser.ConfigParser(inline_comment_prefixes=("#",))
    settings.read(SETUP)
    listed = [settings["options"]["install_requires"], *settings["options.extras_require"].values()]
    requirements = [line.strip() for part in listed for line in part.splitlines() if line.strip()]
    return [re.sub(r"(\[.*\])?>=([^,]+).*", r"==\2", requirement) for requirement in requirements]


if __name__ == "__main__":
    print("\n".join(lower_bounds()))
