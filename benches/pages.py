"""Where tables go: between two marks of a page. Owns that nothing else of the page is changed."""

from pathlib import Path


def between_marks(whole: str, text: str, marks: tuple[str, str]) -> str:
    """Return *whole* with *text* in the place of what stood between the *marks*."""
    before, begin, rest = whole.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise SystemExit(f"the tables go between two lines of their own, which are not there:\n{''.join(marks)}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def put_between_marks(page: Path, text: str, marks: tuple[str, str]) -> None:
    """Put *text* in the place of what stands between the *marks* of a *page*."""
    page.write_text(between_marks(page.read_text(encoding="utf-8"), text, marks), encoding="utf-8")
