"""contents DIST: what is published is whole.

There is a wheel of each kind, each says what it is made of, and the source has all that is in the checkout.
"""

import json
import sys
import tarfile
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = ["cp311-abi3", "cp314-cp314t", "cp315-abi3.abi3t"]
"""The stable ABI of 3.11; 3.14 without a global lock; the stable ABI of 3.15, with and without one."""
IN_THE_SOURCE = ("tests/test_project.py", "benches/__main__.py", "docs/index.md", "vendor/", ".cargo/config.toml")


def main() -> None:
    """Look at all packages in a folder, and stop at the first that lacks something."""
    dist = Path(sys.argv[1])
    version = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["package"]["version"]
    wheels = sorted(dist.glob(f"pop3fast-{version}-*.whl"))
    assert [path.name.removeprefix(f"pop3fast-{version}-").rsplit("-", 1)[0] for path in wheels] == KINDS, wheels
    for wheel in wheels:
        look_at_wheel(wheel, version)
    with tarfile.open(dist / f"pop3fast-{version}.tar.gz") as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert [part for part in IN_THE_SOURCE if not any(name.startswith(part) for name in names)] == []
    print(f"contents: {len(wheels)} wheels with lists of parts; tests, benchmarks, pages and all crates in the source")


def look_at_wheel(path: Path, version: str) -> None:
    """Check the metadata of a wheel, and its list of parts (an SBOM): crates as Cargo.lock locks them."""
    with zipfile.ZipFile(path) as wheel:
        info = f"pop3fast-{version}.dist-info"
        metadata = BytesParser().parsebytes(wheel.read(f"{info}/METADATA"))
        parts = json.loads(wheel.read(f"{info}/sboms/pop3fast.cyclonedx.json"))
    assert metadata["Version"] == version
    assert (metadata["Description-Content-Type"] or "").startswith("text/markdown")
    assert "# pop3fast" in str(metadata.get_payload())
    assert parts["bomFormat"] == "CycloneDX"
    assert parts["metadata"]["component"]["version"] == version
    locked = {
        (crate["name"], crate["version"])
        for crate in tomllib.loads((ROOT / "Cargo.lock").read_text("utf-8"))["package"]
    }
    listed = {(part["name"], part["version"]) for part in parts["components"]}
    assert listed <= locked, listed - locked
    assert {"memchr", "pyo3", "twox-hash"} <= {name for name, _ in listed}


if __name__ == "__main__":
    main()
