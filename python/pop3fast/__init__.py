"""poplib to the letter, framed in Rust; and more on the same class when you ask for it.

``import pop3fast as poplib`` is the whole migration.
"""

# The modules below are attributes that programs reach for through poplib, and patch there.
import errno as errno
import re as re
import socket as socket
import ssl as ssl
import sys as sys

from pop3fast._client import POP3, POP3_PORT
from pop3fast._client_ssl import POP3_SSL, POP3_SSL_PORT
from pop3fast._connect import connect
from pop3fast._errors import (
    AuthenticationError,
    CommandError,
    ConnectionBroken,
    ConnectionBusy,
    ConnectionLost,
    ConnectionTimedOut,
    InsecureTLSWarning,
    LimitExceeded,
    ProtocolError,
    error_proto,
)
from pop3fast._install import install_as_poplib
from pop3fast._message import Message, Piece

__all__ = [
    "CR",
    "CRLF",
    "HAVE_SSL",
    "LF",
    "POP3",
    "POP3_PORT",
    "POP3_SSL",
    "POP3_SSL_PORT",
    "AuthenticationError",
    "CommandError",
    "ConnectionBroken",
    "ConnectionBusy",
    "ConnectionLost",
    "ConnectionTimedOut",
    "InsecureTLSWarning",
    "LimitExceeded",
    "Message",
    "Piece",
    "ProtocolError",
    "connect",
    "error_proto",
    "install_as_poplib",
]

CR = b"\r"
LF = b"\n"
CRLF = CR + LF
HAVE_SSL = True

_MAXLINE = 2**20
"""The longest line that is read on its own, in octets with its line end: a status line, or any through ``_getline``.
512 times poplib's, because real servers and real mail have passed that; far below what would hurt."""
