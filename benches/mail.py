"""What the benchmarks retrieve: messages of a given size and shape, the same at every run.

Owns the octets; must never leave to chance how many of them there are, or how long their lines.
"""

import base64
import random

_HEADER = b"".join(
    line + b"\r\n"
    for line in (
        b"Return-Path: <sender@example.org>",
        b"Received: from mail.example.org (mail.example.org [192.0.2.1])",
        b"\tby mx.example.net (Postfix) with ESMTPS id 4B0C1F2A3D",
        b"\tfor <reader@example.net>; Tue, 2 Jan 2024 12:00:00 +0000 (UTC)",
        b"Date: Tue, 2 Jan 2024 12:00:00 +0000",
        b"From: Sender <sender@example.org>",
        b"To: Reader <reader@example.net>",
        b"Subject: What is retrieved here is the same at every run",
        b"Message-ID: <20240102120000.4B0C1F2A3D@example.org>",
        b"MIME-Version: 1.0",
        b"Content-Type: application/octet-stream",
        b"Content-Transfer-Encoding: base64",
        b"",
    )
)


def attachment(octets: int, seed: int = 0) -> bytes:
    """Return a message with an attachment in Base64, lines of 76 octets: what most octets of real mail are.

    No line begins with a dot, which is the best case for those who search for nothing else.
    """
    data = random.Random(seed).randbytes(octets)  # noqa: S311 - no secrets here
    body = base64.encodebytes(data).replace(b"\n", b"\r\n")
    return _whole_lines(_HEADER + body, octets)


def short_lines(octets: int) -> bytes:
    """Return a message of lines of one and two octets: as many lines as octets can make."""
    return _whole_lines(b"a\r\nbc\r\n" * (octets // 7 + 1), octets)


def long_lines(octets: int) -> bytes:
    """Return a message of lines of 100,000 octets, as programs make that know no line ends."""
    line = base64.b64encode(random.Random(1).randbytes(75_000)) + b"\r\n"  # noqa: S311 - no secrets here
    return line * max(octets // len(line), 1)


def dot_lines(octets: int) -> bytes:
    """Return a message of lines that all begin with a dot, so that each must be un-stuffed."""
    line = b".Base64 has no dots, but programs and tables of contents have, and ellipses.\r\n"
    return _whole_lines(line * (octets // len(line) + 1), octets)


def _whole_lines(text: bytes, octets: int) -> bytes:
    """Return the lines of *text* that fit into *octets*."""
    return text[: text.rindex(b"\r\n", 0, octets) + 2]
