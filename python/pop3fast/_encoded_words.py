"""Encoded words (RFC 2047): what they say.

Takes time linear in the text. The standard library's decoder looks for an end after every beginning of an encoded word,
and needs hours for a hostile subject of a megabyte. What makes no sense stays as it is. Never raises.
"""

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

# Charset, language (RFC 2231 section 5) and encoding. The longest name of a charset that IANA knows has 45 characters.
_BEGINNING = re.compile(r"=\?([\w.:+-]{1,45})(?:\*[\w-]{0,45})?\?([bq])\?", re.ASCII | re.IGNORECASE)
_END = "?="

# Python's own encodings, which are no charsets; the first takes time that grows with the square of the text's length.
_NO_CHARSETS = frozenset({"punycode", "idna", "raw-unicode-escape", "unicode-escape", "undefined"})


class _Words(NamedTuple):
    """Encoded words in one charset, with nothing but blanks between them."""

    start: int
    end: int
    charset: str
    octets: bytes


def without_encoded_words(text: str) -> str:
    """Return *text* with its encoded words decoded, and without the blanks between them."""
    shown: list[str] = []
    shown_to, behind_words = 0, False
    for words in _joined(text):
        try:
            meaning = words.octets.decode(words.charset)
        except (LookupError, ValueError):
            continue
        between = text[shown_to : words.start]
        if not (behind_words and between.isspace()):
            shown.append(between)
        shown.append(meaning)
        shown_to, behind_words = words.end, True
    return "".join([*shown, text[shown_to:]])


def _joined(text: str) -> Iterator[_Words]:
    """Yield the encoded words of a *text*, joined where a character may begin in one and end in the next."""
    start = end = 0
    charset = ""
    octets: list[bytes] = []
    for word in _encoded_words(text):
        if octets and (word.charset != charset or text[end : word.start].strip()):
            yield _Words(start, end, charset, b"".join(octets))
            octets = []
        if not octets:
            start, charset = word.start, word.charset
        octets.append(word.octets)
        end = word.end
    if octets:
        yield _Words(start, end, charset, b"".join(octets))


def _encoded_words(text: str) -> Iterator[_Words]:
    end = 0
    while (beginning := _BEGINNING.search(text, end)) is not None:
        stop = text.find(_END, beginning.end())
        if stop < 0:
            return  # nor has any later one an end
        end = stop + len(_END)
        charset, encoding = beginning[1].lower(), beginning[2].lower()
        try:
            octets = (_base64 if encoding == "b" else _quoted)(text[beginning.end() : stop])
        except ValueError:
            continue
        if charset.replace("_", "-") not in _NO_CHARSETS:
            yield _Words(beginning.start(), end, charset, octets)


def _base64(text: str) -> bytes:
    # Many leave out what fills up the last four characters.
    return binascii.a2b_base64(text + "=" * (-len(text) % 4))


def _quoted(text: str) -> bytes:
    return binascii.a2b_qp(text.encode(), header=True)
