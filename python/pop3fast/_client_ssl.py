"""POP3_SSL: POP3 over a connection that is TLS from its first octet."""

import os
import poplib
import socket
import ssl
import warnings
from typing import NoReturn

from pop3fast._client import GLOBAL_DEFAULT, POP3
from pop3fast._errors import error_proto
from pop3fast._hooks import over_tls
from pop3fast._tls import unverified_context

POP3_SSL_PORT = 995


class POP3_SSL(POP3, poplib.POP3_SSL):  # noqa: N801 - poplib's name
    """A POP3 session over TLS (RFC 8314 section 3.2). See `POP3` for the commands."""

    __module__ = "pop3fast"

    def __init__(
        self,
        host: str,
        port: int = POP3_SSL_PORT,
        keyfile: str | None = None,
        certfile: str | None = None,
        timeout: float | None = GLOBAL_DEFAULT,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Connect to *host*, shake hands and read the greeting; as `POP3`, and ``ssl.SSLError`` when TLS fails.

        Give a *context*, as ``ssl.create_default_context()``: without one neither certificate nor host name is
        verified, which is poplib's way and costs an `InsecureTLSWarning`. *keyfile* and *certfile* name a client
        certificate; they are deprecated, and a `ValueError` together with a context.
        """
        for name, value in (("keyfile", keyfile), ("certfile", certfile)):
            if value is not None and not isinstance(value, str | bytes | os.PathLike):
                # The third argument of `POP3` is the time-out, and in poplib of Python 3.12 there is no third.
                raise TypeError(f"{name} is a path, not {value!r}; timeout= and context= are given by name")
            if context is not None and value is not None:
                raise ValueError(f"context and {name} arguments are mutually exclusive")
        if keyfile is not None or certfile is not None:
            message = "keyfile and certfile are deprecated, use a custom context instead"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        self.keyfile: str | None = keyfile
        self.certfile: str | None = certfile
        if context is None:
            context = unverified_context("POP3_SSL", certfile, keyfile)
        self.context = context
        POP3.__init__(self, host, port, timeout)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return over_tls(self, self.context, super()._create_socket(timeout))

    def stls(  # type: ignore[override]  # poplib's parameters before Python 3.12, of which the newer are a part
        self,
        keyfile: object = None,  # noqa: ARG002
        certfile: object = None,  # noqa: ARG002
        context: object = None,  # noqa: ARG002
    ) -> NoReturn:
        """Raise `error_proto`, whatever *keyfile*, *certfile* or *context* is: this is TLS already, and goes on."""
        message = "-ERR TLS session already established"
        raise error_proto(message)
