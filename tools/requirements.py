"""Print the requirements of the named groups of pyproject.toml: `build`, or an extra.

pip can install an extra only together with the project; the Makefile wants the
packages first, once, and the project after every change, without its packages.
"""

import sys
import tomllib
from pathlib import Path


def main(groups: list[str]) -> None:
    """Print one requirement a line, the project's own extras resolved."""
    table = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    project = table["project"]
    found = list(project["dependencies"])
    while groups:
        group = groups.pop()
        named = table["build-system"]["requires"] if group == "build" else project["optional-dependencies"][group]
        for requirement in named:
            if requirement.startswith(project["name"] + "["):
                groups += requirement[len(project["name"]) + 1 : -1].split(",")
            else:
                found.append(requirement)
    print("\n".join(dict.fromkeys(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
