"""address URL [TAG]: say in this checkout where it is published, before packages are made of it.

Nothing that is committed knows that, since it is true of one repository only. The release knows it: the links of the
README, which an index shows by itself, become whole, and the metadata of the package and of the crate get their URLs.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

URLS = """\
[project.urls]
Repository = "{url}"
Documentation = "{url}/blob/{tag}/docs/index.md"
Changelog = "{url}/blob/{tag}/CHANGELOG.md"
Issues = "{url}/issues"
Security = "{url}/security"

"""


def whole_links(text: str, url: str, tag: str) -> str:
    """Return Markdown with each link to a file of the checkout made one to the file of *tag* at *url*."""
    return re.sub(r"\]\((?!\w+:|#)([^)]+)\)", rf"]({url}/blob/{tag}/\1)", text)


def with_pictures(text: str, url: str, tag: str) -> str:
    """Return Markdown with each picture of the checkout made one that an index can show: the file itself."""
    return re.sub(r"!\[([^\]]*)\]\((?!\w+:)([^)]+)\)", rf"![\1]({url}/raw/{tag}/\2)", text)


def with_urls(pyproject: str, url: str, tag: str) -> str:
    """Return the text of a pyproject.toml with the project's URLs."""
    return pyproject.replace("[project.scripts]\n", f"{URLS.format(url=url, tag=tag)}[project.scripts]\n", 1)


def with_repository(manifest: str, url: str) -> str:
    """Return the text of a Cargo.toml with the repository."""
    return re.sub(r"^(license = .*\n)", rf'\1repository = "{url}"\n', manifest, count=1, flags=re.MULTILINE)


def main() -> None:
    """Change README.md, pyproject.toml and Cargo.toml of this checkout."""
    url, tag, *_ = [*sys.argv[1:], "HEAD"]
    if not re.fullmatch(r"https://[\w./-]+", url) or not re.fullmatch(r"[\w./-]+", tag):
        sys.exit(f"address: no address or no tag: {url!r}, {tag!r}")
    for name, change in (
        ("README.md", lambda text: whole_links(with_pictures(text, url, tag), url, tag)),
        ("pyproject.toml", lambda text: with_urls(text, url, tag)),
        ("Cargo.toml", lambda text: with_repository(text, url)),
    ):
        path = ROOT / name
        path.write_text(change(path.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
