"""The pages hold together: links lead somewhere, pictures are there, what they quote is said, no page is left out.

What their blocks do is `test_readme`'s. Nothing is asked of the network.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")] + sorted(
    DOCS.glob("*.md")
)
TEXTS = {path: path.read_text("utf-8") for path in PAGES}
SOURCE = "".join(path.read_text("utf-8") for path in sorted((ROOT / "python").rglob("*.py")))


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return what can be linked to in a page, as its headings are written where pages are read as files."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", TEXTS[path], flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXTS[page])):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert path.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(path), target


def test_every_page_is_in_the_table_of_contents() -> None:
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", TEXTS[DOCS / "index.md"], re.MULTILINE | re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if re.fullmatch(r"\w+", line)]
    assert sorted([*listed, "index"]) == [path.stem for path in sorted(DOCS.glob("*.md"))]


WIDEST = 90
"""So many columns of code fit into a page beside its table of contents; what is longer is cut off until one scrolls."""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_line_of_code_is_wider_than_a_page(page: Path) -> None:
    blocks = re.findall(r"^( *)```.*?\n(.*?)^ *```$", TEXTS[page], re.MULTILINE | re.DOTALL)
    assert [line for indent, block in blocks for line in block.splitlines() if len(line) - len(indent) > WIDEST] == []


def test_every_picture_says_in_words_what_it_shows() -> None:
    pictures = [found for text in TEXTS.values() for found in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)]
    assert len(pictures) >= 3
    assert [name for said, name in pictures if len(said) < 20] == []


def test_the_plots_are_drawn_from_the_numbers_beside_them() -> None:
    from benches import message_sizes  # noqa: PLC0415 - a benchmark, for this test alone
    from benches.round_trips import drawn  # noqa: PLC0415 - as above

    assert drawn((DOCS / "round-trips.csv").read_text("utf-8"), 250) == (DOCS / "round-trips.svg").read_text("utf-8")
    sizes = (DOCS / "message-sizes.csv").read_text("utf-8")
    assert message_sizes.drawn(sizes) == (DOCS / "message-sizes.svg").read_text("utf-8")


def test_no_number_below_a_plot_is_cut_off() -> None:
    for name in ("round-trips.svg", "message-sizes.svg"):
        drawing = (DOCS / name).read_text("utf-8")
        (width,) = re.findall(r'viewBox="0 0 (\d+) ', drawing)
        numbers = re.findall(r'<text class="s" x="([\d.]+)" y="\d+" text-anchor="middle">([\d,]+)</text>', drawing)
        assert len(numbers) >= 6
        # A digit of 13 px is at most 8 px wide.
        assert [text for x, text in numbers if float(x) + len(text) * 4 > int(width)] == [], name


# What the server or the standard library says; and the codes of RFC 2449 and RFC 3206.
OTHERS = {"certificate verify failed", "TimeoutError", "timed out", "-ERR EOF", "[AUTH]", "[IN-USE]", "[LOGIN-DELAY]"}
OTHERS |= {"[SYS/TEMP]", "[SYS/PERM]"}


def test_each_message_in_the_list_of_errors_is_one_that_is_said_and_they_are_in_order() -> None:
    table = TEXTS[DOCS / "errors.md"].partition("from A to Z")[2]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) >= 20
    names = [re.sub(r"^(the|a) ", "", row.lstrip("`").lstrip("-[").lower()) for row in rows]
    assert names == sorted(names)
    for row in rows:
        for quoted in re.findall(r"`([^`]+)`", row):
            said = [part for part in re.split(r"\.\.\.|: $", quoted) if part.strip()]
            assert quoted in OTHERS or all(part.strip(" :") in SOURCE for part in said), quoted


def test_no_option_in_the_pages_is_one_that_no_command_has() -> None:
    known = {*re.findall(r'"(--[a-z][\w-]+)"', SOURCE), *re.findall(r"\bname=\"(--[\w-]+)", SOURCE)}
    of_others = {"--user", "--now", "--rm", "--all", "--quick", "--write", "--group", "--against", "--messages"}
    for path in (
        DOCS / "unattended.md",
        DOCS / "logins.md",
        DOCS / "gmail.md",
        DOCS / "quickstart.md",
        ROOT / "README.md",
    ):
        used = {*re.findall(r"(?<![\w-])(--[a-z][\w-]+)", TEXTS[path])}
        assert used - known - of_others == set(), path.name
