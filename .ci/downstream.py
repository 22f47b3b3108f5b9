"""downstream [NAME...]: programs of others with pop3fast in poplib's place; downstream.toml lists them.

Everything goes into target/downstream. Exit status 1 when one of them has failed; the others are tried all the same.
"""

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORK = ROOT / "target" / "downstream"


def tried(name: str, install: list[str], run: list[str]) -> bool:
    """Return whether a program does its work."""
    folder = WORK / name
    venv.create(folder, clear=True, with_pip=True)
    python = str(folder / "bin" / "python")
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    ours = ["--find-links", "dist", "--no-index", "pop3fast"] if wheels else ["."]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return all(
        subprocess.run(command, cwd=ROOT, check=False).returncode == 0
        for command in ([*pip, *ours], [*pip, *install], [python, *run])
    )


def main() -> None:
    """Try the programs that the command line names, or all."""
    programs = tomllib.loads((Path(__file__).parent / "downstream.toml").read_text("utf-8"))
    names = sys.argv[1:] or [*programs]
    if unknown := {*names} - {*programs}:
        sys.exit(f"downstream: not in downstream.toml: {', '.join(sorted(unknown))}")
    failed = [name for name in names if not tried(name, programs[name]["install"], programs[name]["run"])]
    print(f"downstream: {len(names)} tried, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(bool(failed))


main()
