"""Trust: from what a person says about certificates to the TLS context that keeps to it.

Owns what a fingerprint is, and that a connection whose certificate has another one is closed before anything is sent.
The context decides, so it is the same for a client that blocks and for one on an event loop.
"""

import os
import re
import ssl
from socket import socket
from typing import Literal, TypeAlias

Path: TypeAlias = str | os.PathLike[str]

TlsVersion: TypeAlias = Literal["1.2", "1.3"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_FINGERPRINT = r"(?i:(?:[0-9a-f]{2}:?){31}[0-9a-f]{2})"


class _PinnedObject(ssl.SSLObject):
    """TLS on an event loop, whose certificate is looked at when the handshake is done."""

    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        if isinstance(context, TrustingContext):
            context.check(self.getpeercert(binary_form=True))


class TrustingContext(ssl.SSLContext):
    """A context that may expect another name in the certificate, or one certificate and no other."""

    fingerprint: bytes = b""
    """The SHA-256 of the certificate that is trusted whatever is in it; empty: the authorities decide."""
    name: str = ""
    """The name that the certificate has to have; empty: the host's."""

    def wrap_socket(  # type: ignore[override]  # the arguments that a client gives
        self, sock: socket, *, server_hostname: str | None = None, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        """Return *sock* over TLS. On an error it is closed."""
        secured = super().wrap_socket(
            sock,
            server_hostname=self.name or server_hostname,
            do_handshake_on_connect=do_handshake_on_connect,
        )
        try:
            self.check(secured.getpeercert(binary_form=True))
        except BaseException:
            secured.close()
            raise
        return secured

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the ssl module's
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return an object for TLS without a socket."""
        return super().wrap_bio(incoming, outgoing, server_side, self.name or server_hostname, session)

    def check(self, certificate: bytes | None) -> None:
        """Raise ``ssl.SSLCertVerificationError`` when a fingerprint is expected, and *certificate* has another."""
        from hashlib import sha256  # noqa: PLC0415 - takes long, and few programs need it

        seen = sha256(certificate or b"").digest()
        if self.fingerprint and seen != self.fingerprint:
            shown = seen.hex(":").upper()
            raise ssl.SSLCertVerificationError(
                1, f"the server's certificate has another fingerprint than was given: {shown}"
            )


def tls_context(
    *,
    ca_file: Path | None = None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
    fingerprint: str | None = None,
    tls_name: str | None = None,
    tls_min: TlsVersion | None = None,
) -> ssl.SSLContext:
    """Return a context that verifies certificates as it is told, for ``context=`` of `connect` and others.

    *ca_file* has the certificates (PEM) to trust instead of the system's. *fingerprint*, a SHA-256 in hexadecimal
    digits, trusts the one certificate that has it, whoever signed it. *tls_name* is the name that the certificate has
    to have in place of the host's. *client_cert* and *client_key* (PEM) are shown to the server. *tls_min*, ``"1.2"``
    or ``"1.3"``, is the least version of TLS.

    Raises `ValueError` for what makes no sense, ``OSError`` and ``ssl.SSLError`` for files that cannot be used.
    """
    check_wishes(client_cert, client_key, fingerprint, tls_min)
    context = _trusting(ca_file, fingerprint, tls_name)
    if tls_min is not None:
        context.minimum_version = _VERSIONS[tls_min]
    if client_cert is not None:
        context.load_cert_chain(client_cert, client_key)
    return context


def check_wishes(
    client_cert: Path | None, client_key: Path | None, fingerprint: str | None, tls_min: TlsVersion | None
) -> None:
    """Raise `ValueError` for what makes no sense in itself."""
    if client_key is not None and client_cert is None:
        raise ValueError("a client's key is for its certificate: give client_cert, too")
    if tls_min is not None and tls_min not in _VERSIONS:
        raise ValueError("the least version of TLS is 1.2 or 1.3")
    if fingerprint is not None and not re.fullmatch(_FINGERPRINT, fingerprint):
        raise ValueError("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons")


def is_pinned(context: ssl.SSLContext) -> bool:
    """Return whether *context* trusts one certificate, for which it needs no authority."""
    return isinstance(context, TrustingContext) and bool(context.fingerprint)


def verifies(context: ssl.SSLContext) -> bool:
    """Return whether with *context* no other server can take the place of the one that is meant."""
    return is_pinned(context) or (context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname)


def _trusting(ca_file: Path | None, fingerprint: str | None, tls_name: str | None) -> ssl.SSLContext:
    # How strictly certificates are looked at, and where keys are logged, is what this Python does by default.
    usual = ssl.create_default_context(cafile=ca_file if fingerprint is None else None)
    if fingerprint is None and tls_name is None:
        return usual
    context = TrustingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = _PinnedObject
    context.name = tls_name or ""
    context.verify_flags = usual.verify_flags
    if usual.keylog_filename:
        context.keylog_filename = usual.keylog_filename
    if fingerprint is not None:
        # One certificate is trusted, whoever signed it and whatever name it has.
        context.fingerprint = bytes.fromhex(fingerprint.replace(":", ""))
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context
