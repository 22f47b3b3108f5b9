"""The policy by which `Message.email` parses: ``email.policy.default``, but that no header raises when it is looked at.

The standard library's parser raises for headers that mailboxes are full of (a Message-ID in square brackets, an address
without a name behind a comment), or takes time that grows with the square of their length. Such a header is read as
text: it has the attributes of its kind, empty, and a defect that says so. Owns which headers those are. Never changes
what was received: a header that cannot be folded anew is given as it came.
"""

import email.policy
import re
from contextlib import suppress
from email.errors import HeaderParseError, InvalidHeaderDefect
from email.headerregistry import (
    Address,
    BaseHeader,
    HeaderRegistry,
    SingleAddressHeader,
    UniqueSingleAddressHeader,
)
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pop3fast._encoded_words import without_encoded_words

if TYPE_CHECKING:
    from email.policy import Policy

# For more than so many of these the parser takes more than about a tenth of a second, and four times as long for twice
# as many. A message to two thousand people has less than any.
_MOST: Final = tuple(
    (re.compile(pattern), most)
    for pattern, most in (
        (r"\(", 64),  # comments
        (r"\\", 256),  # quoted pairs
        (r",\s*(?=,)", 64),  # addresses that are none
        (r'"\s*(?=")', 64),  # and their names
        (r"=\?", 512),  # encoded words
        (r"[.;<]", 8192),
        (r"(?i:=\?(?:punycode|idna))", 0),  # no charsets, but Python takes them for some
    )
)
# The library splits at whatever Python takes for a line end (U+000B, U+0085, U+2028), and joins with real ones: what a
# sender put behind would be a header of its own.
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_ANOTHER: Final = re.compile(r"(?:\r\n|\r(?!\n)|\n)(?![ \t])")

_MOST_BEGINNINGS_WITHOUT_END = 16
_MOST_CHARACTERS = 64 * 1024


class _UnreadHeaderDefect(InvalidHeaderDefect):
    """The header makes no sense as one of its kind, and was read as text."""


class _LenientHeader(BaseHeader):
    """The last base of every header's class: makes text of what its kind cannot make sense of."""

    max_count = None
    _unread = False

    def __new__(cls, name: str, value: str) -> Self:
        if _is_cheap(value):
            # An IndexError, a RecursionError, and whatever else the parser has.
            with suppress(Exception):
                return super().__new__(cls, name, value)
        return cls._as_text(name, value)

    @classmethod
    def _as_text(cls, name: str, value: str) -> Self:
        known: dict[str, Any] = {"defects": []}
        try:
            cls.parse("", known)  # type: ignore[attr-defined]  # every kind has it, and this has none
        except Exception:  # noqa: BLE001 - as above; then the kind has nothing but a text
            known = {"parse_tree": None}
        self = str.__new__(cls, _text(value))
        known.pop("decoded", None)
        self.init(name, **known | {"defects": [_UnreadHeaderDefect("this header makes no sense; it was read as text")]})
        self._unread = True
        return self

    def fold(self, *, policy: "Policy[Any]") -> str:
        if getattr(self, "_unread", False):
            raise HeaderParseError("a header that was read as text has no parts to fold")
        folded: str = super().fold(policy=policy)
        return folded


class _FirstAddress:
    """What a header that holds one address does where there is another number of them; the library's raises."""

    addresses: tuple[Address, ...]

    @property
    def address(self) -> Address:
        """The first address, or one in which nothing stands."""
        return self.addresses[0] if self.addresses else Address()


class _Sender(_FirstAddress, UniqueSingleAddressHeader):
    pass


class _ResentSender(_FirstAddress, SingleAddressHeader):
    pass


def _registry() -> HeaderRegistry:
    registry = HeaderRegistry(base_class=_LenientHeader)
    for name, kind in (("sender", _Sender), ("resent-sender", _ResentSender)):
        registry.map_to_type(name, kind)  # type: ignore[arg-type]  # typeshed: of BaseHeader, which it is given then
    return registry


class LenientPolicy(email.policy.EmailPolicy):
    """``email.policy.default`` with headers that never raise."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of every policy
        """Change *settings* of ``email.policy.default``."""
        super().__init__(**{"header_factory": _registry(), **settings})

    def fold(self, name: str, value: str) -> str:
        """Return the header's lines; as they came, where they cannot be folded anew."""
        try:
            folded: str = super().fold(name, value)
        except Exception:  # noqa: BLE001 - of whatever kind, as above
            folded = self._as_it_came(name, value)
        return folded if self._is_one(folded) else self._as_it_came(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the header's lines in octets; as they came, where they cannot be folded anew."""
        with suppress(Exception):  # of whatever kind, as above
            folded = super().fold_binary(name, value)
            if self._is_one(folded.decode("ascii", "replace")):
                return folded
        return self._as_it_came(name, value).encode("utf-8", "surrogateescape")

    def _is_one(self, folded: str) -> bool:
        """Return whether what is *folded* is one header, and the next line another."""
        return _ANOTHER.search(folded.removesuffix(self.linesep)) is None

    def _as_it_came(self, name: str, value: str) -> str:
        first, *others = _LINE_END.split(value.rstrip("\r\n"))
        folded = [line if line.startswith((" ", "\t")) else f" {line}" for line in others]
        return f"{name}: {self.linesep.join([first, *folded])}{self.linesep}"


LENIENT: Final = cast("Policy[EmailMessage]", LenientPolicy())


def _is_cheap(value: str) -> bool:
    """Return whether the parser's time for *value* is bounded."""
    return (
        len(value) <= _MOST_CHARACTERS
        and value.count("=?") - value.count("?=") <= _MOST_BEGINNINGS_WITHOUT_END
        and all(sum(1 for _ in pattern.finditer(value)) <= most for pattern, most in _MOST)
    )


def _text(value: str) -> str:
    """Return *value* as text, its encoded words decoded; an octet that is no UTF-8 is the character for that."""
    text = without_encoded_words(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    # Some charsets can give half a character, which no octets can be made of.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
