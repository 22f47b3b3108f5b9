"""Message.email(): whatever a message holds, parsing it and looking at its headers raises nothing, and soon ends.

The headers were seen in mail, or are what the standard library's own issues are about.
"""

import copy
import email
import email.policy
import io
import pickle
import sys
from collections.abc import Callable
from email.generator import BytesGenerator
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pop3fast import Message
from pop3fast._header_policy import LENIENT, _is_cheap

# What the standard library reads a header of each name as.
NAMES = sorted({*HeaderRegistry().registry, "received", "x-other", "in-reply-to", "references"})
every_name = pytest.mark.parametrize("name", NAMES)

SEEN = [
    b"<[b378dfc5]@x.example>",
    b"<[ABCDEF====@microsoft.com]>",
    b"(c):",
    b"(x): a@b.com;",
    b"text/plain; name*",
    b"text/plain; name*0*",
    b"text/plain; =x; ;;",
    b"text",
    b"/",
    b'"',
    b"Wed, 14 Jun 100 05:41:34 -0700 (PDT)",
    b"not a date at all",
    b"Mon, 20 Nov 9999999999 12:00:00 +0000",
    b"Fri, 31 Feb 2020 99:99:99 +9999",
    b"Thu, 1 Jan 1970 00:00:00 -9999999",
    b"=?utf-8?b?////=?=",
    b"=?unknown-8bit?q?a=E9?= <a@b>",
    b"=?x-nope?b?SGVsbG8=?=",
    b"=?utf-8?q?=?= =?utf-8?b?=?=",
    b"=?utf-16?b?2AA=?=",
    b"=?utf-7?q?+2AA-?=",
    b"=?punycode?q?" + b"a" * 100 + b"?=",
    b"example@example.org,",
    b"@",
    b"<>",
    b"<",
    b"a@b <",
    b"\xe9t\xe9",
    b"\xe9@\xe9, \xff <\xfe>",
    b"a:b:c;",
    b"undisclosed-recipients:;",
    b"",
    b" ",
    b"\x00\x0b\x0c\x1c\x85",
    b"a\r\n b\r\n\tc",
    b"a\r\n\r b",
    b"(" * 5000,
    b"(" * 100 + b")" * 100,
    b"<" * 3000,
    b"[" * 3000,
    b"\\" * 3000,
    b"1.0(" * 30,
]
seen = pytest.mark.parametrize("value", SEEN, ids=lambda value: ascii(value[:30]))


def parsed(name: str, value: bytes) -> EmailMessage:
    return Message(1, name.encode() + b": " + value + b"\r\n\r\nbody\r\n").email()


def look(mail: EmailMessage) -> None:
    """Look at everything that a header can be asked for, and at what a message makes of it."""
    for name, value in mail.items():
        assert isinstance(value, str)
        assert value in mail.get_all(name, ())
        str(value).encode()  # what octets can be made of, for a log or a database
        for attribute in dir(value):
            if not attribute.startswith("_") and attribute not in dir(str):
                member = getattr(value, attribute)
                if not callable(member):
                    repr(member)
        for address in getattr(value, "addresses", ()):
            str(address)
            repr((address.addr_spec, address.display_name))
    mail.get_content_type()
    mail.get_content_charset()
    mail.get_filename()
    mail.get_boundary()
    mail.get_params()
    mail.is_attachment()
    mail.get_body()
    list(mail.walk())


@every_name
@seen
def test_quirk_q145_no_header_raises_when_it_is_looked_at(name: str, value: bytes) -> None:
    mail = parsed(name, value)
    look(mail)
    assert mail.as_bytes().endswith(b"body\n")
    assert mail.as_string().endswith("body\n")
    for again in (copy.deepcopy(mail), pickle.loads(pickle.dumps(mail))):  # noqa: S301 - our own
        assert again.items() == mail.items()


values = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [
                *(bytes([octet]) for octet in b'"\\()<>[]:;@,.=?*_% \t/-+09aZ'),
                *(b"\r\n ", b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"=?x?", b"=E9", b"\xe9", b"\xc3\xa9", b"\xf0"),
                *(
                    b"a@b.example",
                    b"<a@b>",
                    b"Mon, ",
                    b"1 Jan 2020",
                    b"10:00",
                    b"+0000",
                    b"text/plain",
                    b"charset=",
                    b"name*0*=",
                ),
                *(b"\x00", b"\x85", b"\xe2\x80\xa8", b"1.0", b"base64", b"attachment", b"filename*=utf-8''"),
            ]
        ),
        max_size=14,
    ).map(b"".join),
    st.sampled_from(SEEN),
)


@settings(max_examples=600, deadline=None)
@given(headers=st.lists(st.tuples(st.sampled_from(NAMES), values), min_size=1, max_size=3))
@example(headers=[("message-id", b"<[a]"), ("date", b"1"), ("content-type", b"text/plain; name*")])
def test_no_headers_raise_whatever_they_hold(headers: list[tuple[str, bytes]]) -> None:
    content = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers) + b"\r\nbody\r\n"
    mail = Message(1, content).email()
    look(mail)
    mail.as_bytes()
    mail.as_string()


@pytest.mark.parametrize(
    ("name", "value", "attributes"),
    [
        ("From", b"(x): a@b.com;", {"addresses": (), "groups": ()}),
        ("Content-Type", b"text/plain; name*", {"content_type": "text/plain", "params": {}}),
        ("Message-ID", b"<[b378dfc5]@x.example>", {}),
    ],
)
def test_a_header_that_makes_no_sense_is_read_as_text_with_what_its_kind_has(
    name: str, value: bytes, attributes: dict[str, object]
) -> None:
    header = parsed(name, value)[name]
    assert header == value.decode()
    if any("read as text" in str(defect) for defect in header.defects):  # or this Python's parser knows better
        assert {attribute: getattr(header, attribute) for attribute in attributes} == attributes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?q?caf=C3=A9?= =?utf-8?b?IQ==?= ((((((" + b"(" * 100, "café! ((((((" + "(" * 100),
        (b"\xe9" + b"(" * 100, "�" + "(" * 100),
        ("é".encode() + b"(" * 100, "é" + "(" * 100),
    ],
)
def test_the_text_of_a_header_that_makes_no_sense_is_decoded(value: bytes, text: str) -> None:
    assert parsed("Subject", value)["subject"] == text


@pytest.mark.parametrize(
    "content",
    [
        b"Message-ID: <[b378dfc5]@x.example>\r\nFrom: " + b"(" * 100 + b"\r\n\r\nbody\r\n",
        b"To: " + b"(x): a@b.com; " * 10 + b"\r\n\r\nbody\r\n",
        b"From: \xe9 " + b"(" * 200 + b"\r\n\r\nbody\r\n",
    ],
)
def test_what_cannot_be_folded_anew_is_given_as_it_came(content: bytes) -> None:
    mail = Message(1, content).email()
    look(mail)
    assert mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")) == content


WELL_FORMED = b"""From: =?utf-8?q?Andr=C3=A9?= <andre@example.org>\r
To: a@example.org, "B, C" <b@example.org>, team: d@example.org, e@example.org;\r
Subject: =?iso-8859-1?q?caf=E9?= =?iso-8859-1?q?s?=\r
Date: Wed, 25 Nov 2026 16:00:00 +0100\r
Message-ID: <1@example.org>\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset="utf-8"; name*=utf-8''caf%C3%A9.txt\r
Content-Disposition: attachment; filename="x.txt"\r
Content-Transfer-Encoding: quoted-printable\r
\r
caf=C3=A9\r
"""


def test_a_well_formed_message_is_what_the_default_policy_makes_of_it() -> None:
    ours, theirs = Message(1, WELL_FORMED).email(), email.message_from_bytes(WELL_FORMED, policy=email.policy.default)
    assert ours.items() == theirs.items()
    assert [header.defects for header in ours.values()] == [header.defects for header in theirs.values()]
    assert ours["to"].addresses == theirs["to"].addresses
    assert ours["date"].datetime == theirs["date"].datetime
    assert ours["content-type"].params == theirs["content-type"].params
    assert ours.get_content() == theirs.get_content() == "café\r\n"
    assert ours.as_bytes() == theirs.as_bytes()
    for header, same in zip(ours.values(), theirs.values(), strict=True):
        assert header.fold(policy=email.policy.default) == same.fold(policy=email.policy.default)


def test_another_policy_is_used_as_it_is() -> None:
    for policy in (email.policy.SMTP, email.policy.default):
        assert Message(1, WELL_FORMED).email(policy).policy is policy


# What the parser would take quadratic time for is not given to it.

HOSTILE: dict[str, Callable[[int], bytes]] = {
    "encoded words without an end": lambda n: b"=?a?q?x" * n,
    "beginnings of encoded words": lambda n: b"=? " * n,
    "encoded words": lambda n: b"=?a?q?x?= " * n,
    "comments": lambda n: b"(a)" * n,
    "open comments": lambda n: b"(" * n,
    "no addresses": lambda n: b"," * n,
    "quotes": lambda n: b'"' * n,
    "quoted pairs": lambda n: b"\\" * n,
    "dots": lambda n: b"a." * n,
    "parameters": lambda n: b"a/b" + b"; a=b" * n,
    "any": lambda n: b"a" * 4 * n,
    "no charset": lambda n: b"=?punycode?q?%b?=" % (b"a" * n),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_what_would_take_the_parser_long_is_read_as_text(make: Callable[[int], bytes]) -> None:
    """Counted, not measured: how many lines of Python run for it, in all of the standard library and here."""
    content = b"From: " + make(20_000) + b"\r\n\r\n"
    lines = 0

    def count(*_: object) -> Any:  # noqa: ANN401 - of itself
        nonlocal lines
        lines += 1
        return count

    mail = Message(1, content).email()
    before = sys.gettrace()
    sys.settrace(count)
    try:
        text = str(mail["from"])
    finally:
        sys.settrace(before)
    assert len(text) > 10_000
    assert lines < 4 * len(content)


def test_a_message_to_two_thousand_people_is_read_as_one() -> None:
    people = [b'"Doe, J. %d (work)" <j.doe.%d@mail.example.org>' % (number, number) for number in range(60)]
    people += [b"User %d <u%d@example.org>" % (number, number) for number in range(1940)]
    value = b",\r\n ".join(people)
    assert not _is_cheap("(" * 65)
    assert _is_cheap(value.replace(b"\r\n", b"").decode())


def test_what_is_written_to_a_file_by_a_generator_is_what_came() -> None:
    out = io.BytesIO()
    BytesGenerator(out, policy=LENIENT).flatten(Message(1, b"From: " + b"(" * 99 + b"\n\nx\n").email())
    assert out.getvalue() == b"From: " + b"(" * 99 + b"\n\nx\n"


@every_name
@pytest.mark.parametrize("between", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_what_python_takes_for_a_line_end_makes_no_second_header_when_it_is_written(name: str, between: str) -> None:
    content = f"{name}: a{between}Bcc: injected@example.org{between}\r\n b\r\n\r\nbody\r\n".encode()
    mail = Message(1, content).email()
    for written in (mail.as_bytes(), mail.as_string().encode("utf-8", "surrogateescape")):
        header = written.partition(b"\n\n")[0]
        assert [line for line in header.split(b"\n")[1:] if not line.startswith((b" ", b"\t"))] == []
        assert email.message_from_bytes(written).keys() == [name]
        # Nor is it changed, unless it is encoded anew.
        assert not between.isascii() or f"a{between}Bcc".encode() in header
