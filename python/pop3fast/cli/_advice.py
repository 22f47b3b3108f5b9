"""Advice: what to do about an error, in one sentence, where that is known.

Pure. Owns how the commonest mistakes show, and never quotes a server or a secret. When too little is known there is no
advice: wrong advice costs more time than none.
"""

import shlex
import ssl
from typing import NamedTuple

from pop3fast import POP3_SSL_PORT, AuthenticationError, ConnectionLost, error_proto
from pop3fast._location import Location

# What OpenSSL says when the octets of a greeting come in the place of a handshake; it depends on its version.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"})

# And when the two have no version of TLS in common, or only ciphers that are not safe any more.
_TOO_OLD = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "VERSION_TOO_LOW",
        "NO_PROTOCOLS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "DH_KEY_TOO_SMALL",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    }
)

# OpenSSL's numbers for what is wrong with a certificate (X509_V_ERR_*).
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_AUTHORITY = frozenset({2, 19, 20, 21})

_ICLOUD = ("icloud.com", "mail.me.com", "mac.com")


class _Provider(NamedTuple):
    """A provider whose users are refused for the same reason again and again."""

    ends: tuple[str, ...]
    """How the names of its servers end."""
    login: str
    """What to do about a password that is refused."""
    oauth: str
    """And about a token."""


_PROVIDERS = (
    _Provider(
        ("gmail.com", "googlemail.com"),
        login="Gmail takes an app password (https://myaccount.google.com/apppasswords) or an OAuth 2 token "
        "(--token-command), not the password of the account, and POP has to be on in its settings",
        oauth="the scope of a token for Gmail is https://mail.google.com/, and it lasts for an hour",
    ),
    _Provider(
        ("outlook.com", "office365.com", "outlook.office.com", "hotmail.com", "live.com"),
        login="Microsoft takes an OAuth 2 token (--token-command) and no password, and POP has to be on for the "
        "mailbox",
        oauth="the scope of a token for Microsoft is https://outlook.office.com/POP.AccessAsUser.All, it lasts for an "
        "hour, and POP has to be on for the mailbox",
    ),
    _Provider(
        ("yahoo.com", "aol.com"),
        login="Yahoo takes an app password, which you make in the account's security settings, not the password of "
        "the account",
        oauth="Yahoo gives OAuth 2 tokens for mail to few programs; it takes an app password, too",
    ),
)


def advice(error: BaseException, location: Location, *, by_token: bool = False) -> str:
    """Return what to do about *error*, which the way to *location* ended with; empty where that is not known.

    *by_token* is whether an OAuth 2 token was to be shown.
    """
    if isinstance(error, error_proto | OSError) and _is_of(location.host, _ICLOUD):
        return "iCloud has no POP3: its mail is to be had by IMAP only"
    if isinstance(error, AuthenticationError):
        provider = next((one for one in _PROVIDERS if _is_of(location.host, one.ends)), None)
        return "" if provider is None else provider.oauth if by_token else provider.login
    if isinstance(error, ssl.SSLCertVerificationError):
        # One that is ours, about a fingerprint, has no number.
        return _about_certificate(getattr(error, "verify_code", 0), location)
    if isinstance(error, ssl.SSLError):
        return _about_tls(error.reason, location)
    if location.scheme != "pop3s" and _says_nothing(error, location):
        return f"a port that says nothing may be one for TLS from the first octet: try {_url('pop3s', location)}"
    return ""


def _about_tls(reason: str, location: Location) -> str:
    if reason in _NO_TLS and location.scheme == "pop3s":
        return f"no TLS from the first octet on this port: try {_url('pop3', location)}, which turns it on (STLS)"
    return "the server has no TLS that is safe (1.2 or newer): only its operator can change that" * (reason in _TOO_OLD)


def _about_certificate(code: int, location: Location) -> str:
    look = _look_at(location)
    if code == _SELF_SIGNED:
        return (
            "the certificate is self-signed; if the server is yours, get the certificate, compare it with the "
            f"server's, and trust it by --ca-file server.pem: {look} >server.pem"
        )
    if code in _UNKNOWN_AUTHORITY:
        return (
            "nobody here knows the authority that signed the certificate: --ca-file takes that authority's own "
            "certificate (PEM); those of public ones come with the system's package ca-certificates"
        )
    if code in _OTHER_NAME:
        return (
            f"the certificate is for another name than {location.host}: put one of its names into the URL, "
            "or say it by --tls-name; "
            f"this shows them: {look} -noout -ext subjectAltName"
        )
    if code == _EXPIRED:
        return "the certificate has expired, and the server needs a new one; unless the clock here is wrong"
    if code == _NOT_YET_VALID:
        return "the certificate is not valid yet: is the clock here right?"
    return ""


def _look_at(location: Location) -> str:
    """Return a command for a shell that gives the server's certificate."""
    where = shlex.quote(location.authority)
    starttls = "" if location.scheme == "pop3s" else " -starttls pop3"
    return f"openssl s_client -connect {where}{starttls} </dev/null | openssl x509"


def _says_nothing(error: BaseException, location: Location) -> bool:
    """Return whether the server said nothing where it should have greeted."""
    if isinstance(error, TimeoutError):
        return ", greeting: " in str(error)
    # A server that hangs up may have many reasons, but hardly another on this port.
    return isinstance(error, ConnectionLost) and error.where.endswith(", greeting") and location.port == POP3_SSL_PORT


def _is_of(host: str, ends: tuple[str, ...]) -> bool:
    return any(f".{host.lower()}".endswith(f".{end}") for end in ends)


def _url(scheme: str, location: Location) -> str:
    return f"{scheme}://{location.authority}"
