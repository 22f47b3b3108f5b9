"""poplib to the letter, framed in Rust; and more on the same class when you ask for it.

``import pop3fast as poplib`` is the whole migration.
"""

# The modules below are attributes that programs reach for through poplib, and patch there.
import errno as errno
import re as re
import socket as socket
import ssl as ssl
import sys as sys

from pop3fast._client import POP3 as POP3
from pop3fast._client import POP3_PORT as POP3_PORT
from pop3fast._client_ssl import POP3_SSL as POP3_SSL
from pop3fast._client_ssl import POP3_SSL_PORT as POP3_SSL_PORT
from pop3fast._connect import connect as connect
from pop3fast._errors import AuthenticationError as AuthenticationError
from pop3fast._errors import CommandError as CommandError
from pop3fast._errors import ConnectionBroken as ConnectionBroken
from pop3fast._errors import ConnectionBusy as ConnectionBusy
from pop3fast._errors import ConnectionLost as ConnectionLost
from pop3fast._errors import ConnectionTimedOut as ConnectionTimedOut
from pop3fast._errors import InsecureTLSWarning as InsecureTLSWarning
from pop3fast._errors import LimitExceeded as LimitExceeded
from pop3fast._errors import ProtocolError as ProtocolError
from pop3fast._errors import error_proto as error_proto
from pop3fast._framing import __version__ as __version__
from pop3fast._install import install_as_poplib as install_as_poplib
from pop3fast._message import Message as Message
from pop3fast._message import Piece as Piece
from pop3fast._trust import TlsVersion as TlsVersion
from pop3fast._trust import tls_context as tls_context

# What ``from poplib import *`` gives. Every other public name is asked for by name.
__all__ = ["POP3", "POP3_SSL", "error_proto"]

CR = b"\r"
LF = b"\n"
CRLF = CR + LF
HAVE_SSL = True

_MAXLINE = 2**20
"""The longest line that is read on its own, in octets with its line end: a status line, or any through ``_getline``.
512 times poplib's, because real servers and real mail have passed that; far below what would hurt."""
