"""Where tables go: between two marks of a page. Owns that nothing else is changed, and what a quick run may not."""

from argparse import ArgumentParser, Namespace
from pathlib import Path


def refuse_to_write_quickly(parser: ArgumentParser, arguments: Namespace) -> None:
    """End the program where ``--write`` stands beside ``--quick``, whose figures say nothing."""
    if arguments.write and arguments.quick:
        parser.error("what a quick run measures is never written down")


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
