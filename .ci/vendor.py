"""vendor SDIST: put the sources of all crates into a source distribution, so that it builds without a network.

Nothing in it says who made it and when, so that the same source gives the same archive.
"""

import gzip
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CONFIG = """\
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "vendor"
"""


def main() -> None:
    """Replace the source distribution that the command line names."""
    sdist = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (root,) = Path(folder).iterdir()
        subprocess.run(["cargo", "vendor", "--quiet", "--locked", "--versioned-dirs", "vendor"], cwd=root, check=True)
        (root / ".cargo").mkdir(exist_ok=True)
        (root / ".cargo" / "config.toml").write_text(CONFIG, encoding="utf-8")
        packed = sdist.with_suffix(".new")
        # Cargo checks each vendored file by its checksum: nothing may be left out, hidden files neither.
        with gzip.GzipFile(packed, "wb", mtime=0) as octets, tarfile.open(fileobj=octets, mode="w") as archive:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    archive.add(path, f"{root.name}/{path.relative_to(root)}", filter=plain)
        packed.replace(sdist)
    print(f"{sdist.name}: with the sources of all crates, {sdist.stat().st_size / 1e6:.1f} MB")


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return *entry* without whose it is and when it was made."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


main()
