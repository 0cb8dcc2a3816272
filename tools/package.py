"""Build the sdist and, from it, the wheel; check what is in them; install each into a bare environment and try it.

    package.py FOLDER

The archives are left in FOLDER.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tools" / "smoke.py"


def run(*command: str | Path, **how: object) -> None:
    """Run a command; its failure ends this one."""
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **how)


def check_sdist(path: Path) -> None:
    """An sdist holds every committed file of the package, what builds it, and nothing that is made."""
    with tarfile.open(path) as archive:
        names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "fastnn"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {*listed, "pyproject.toml", "meson.build", "LICENSE", "README.md", "PKG-INFO"}
    made = [name for name in names if name.endswith((".so", ".pyd", ".pyc")) or "__pycache__" in name]
    rest = [name for name in names if name.split("/")[0] in ("tests", "benchmarks", "docs", "tools")]
    if wanted - names or made or rest:
        sys.exit(f"{path.name}: missing {sorted(wanted - names)}, does not belong there {made + rest}")


def check_wheel(path: Path) -> None:
    """A wheel holds every module, the types of the compiled ones, and the licence; no sources of theirs."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        tags = next(archive.read(name).decode() for name in names if name.endswith(".dist-info/WHEEL"))
    sources = [p.relative_to(ROOT).as_posix() for kind in ("py", "pyi") for p in (ROOT / "fastnn").rglob(f"*.{kind}")]
    wanted = {*sources, "fastnn/py.typed"}
    compiled = {p.stem for p in (ROOT / "fastnn" / "_runtime").glob("*.pyx")}
    found = {name.split("/")[-1].split(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    licence = any(name.endswith("/licenses/LICENSE") for name in names)
    foreign = [name for name in names if not name.startswith(("fastnn/", "fastnn_cpu-")) or "__pycache__" in name]
    foreign += [name for name in names if name.endswith((".pyx", ".pxd", ".h", ".build"))]
    tag = f"Tag: cp{sys.version_info[0]}{sys.version_info[1]}-"
    if wanted - names or compiled != found or not licence or foreign or tag not in tags:
        sys.exit(
            f"{path.name}: missing {sorted(wanted - names) + sorted(compiled - found)}, does not belong there "
            f"{foreign}, licence {licence}, {tags!r} should have {tag}"
        )


def try_in_bare_environment(archive: Path) -> None:
    """Install an archive with nothing but what it asks for, in a path with a space, and try it there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "bare environment"
        run(sys.executable, "-m", "venv", home)
        python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run(python, "-m", "pip", "install", "--quiet", archive)
        run(python, SMOKE, cwd=folder, env={**os.environ, "FASTNN_CACHE_DIR": str(home / "kernels")})


def main(folder: Path) -> None:
    """Build, check, try."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    check_sdist(sdist)
    check_wheel(wheel)
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    try_in_bare_environment(wheel)
    try_in_bare_environment(sdist)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
