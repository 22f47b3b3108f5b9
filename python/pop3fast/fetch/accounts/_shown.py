"""Shown: what a server has shown in an earlier run, in words that a state keeps.

Pure. Words that make no sense say nothing.
"""

from pop3fast._recall import Shown

FIELDS = 3

MOST_DIGITS = 9


def in_words(shown: Shown) -> str:
    """Return *shown* in words; empty where that is nothing."""
    if not shown.mechanism and not shown.pipelines:
        return ""
    return f"{shown.mechanism or '-'} {int(shown.pipelines)} {shown.octets}"


def parse(words: str) -> Shown:
    """Return what *words* say. Whoever logs in decides which mechanism may be used."""
    fields = words.split(" ")
    if len(fields) != FIELDS or not all(number.isascii() and number.isdecimal() for number in fields[1:]):
        return Shown()
    mechanism, pipelines, octets = fields
    return Shown("" if mechanism == "-" else mechanism, pipelines != "0", int(octets[:MOST_DIGITS]))
