"""TLS, as far as it is decided: when a session may go over to it, and which contexts verify nobody.

Owns poplib's context, which encrypts and verifies nothing, and the warnings about such contexts. It is kept so that
nothing breaks on the day a program moves here.
"""

import ssl
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pop3fast._errors import CommandError, InsecureTLSWarning, ProtocolError, error_proto
from pop3fast._replies import readable
from pop3fast._trust import is_pinned


def unverified_context(
    used_by: str,
    certfile: str | None = None,
    keyfile: str | None = None,
) -> ssl.SSLContext:
    """Return the context poplib would make, and warn at the line of the program that caused it.

    There is no warning where a program has had ``ssl._create_stdlib_context`` replaced by what verifies.
    """
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    # Without arguments, because ``ssl.create_default_context``, which takes its place, knows none for a certificate.
    create: Callable[[], ssl.SSLContext] = ssl._create_stdlib_context  # type: ignore[attr-defined]
    context = create()
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        message = (
            f"{used_by} without a context verifies neither certificate nor host name; "
            "pass context=ssl.create_default_context()"
        )
        warnings.warn(message, InsecureTLSWarning, stacklevel=_callers_level())
    return context


def warn_about(context: ssl.SSLContext | None) -> None:
    """Warn at the line of the program that gave `connect` a *context* that verifies nothing."""
    if context is not None and context.verify_mode is not ssl.CERT_REQUIRED and not is_pinned(context):
        message = "the context that connect() was given verifies nothing"
        warnings.warn(message, InsecureTLSWarning, stacklevel=_callers_level())


def check_no_tls(*, established: bool) -> None:
    """Raise `error_proto` when there is TLS already."""
    if established:
        raise error_proto("-ERR TLS session already established")


def check_offers_stls(capabilities: Iterable[str]) -> None:
    """Raise `error_proto` unless STLS is among the *capabilities*, in any case (RFC 2595 section 4)."""
    if "STLS" not in map(str.upper, capabilities):
        raise error_proto("-ERR STLS not supported by server")


@contextmanager
def tls_demanded() -> Iterator[None]:
    """Raise a `ProtocolError` where STLS does not come about in the block: it is not to go on in the clear."""
    try:
        yield
    except ProtocolError:
        raise
    except CommandError as error:
        raise ProtocolError(f"the server refuses STLS: {readable(error.response)}") from error
    except error_proto as error:
        raise ProtocolError("the server offers no STLS; pop3s:// is TLS from the first octet") from error


def handshake_ended_in(error: BaseException) -> str:
    """Return why a session is broken whose handshake *error* ended."""
    return f"the TLS handshake ended in {type(error).__name__}"


def _callers_level() -> int:
    """Return the stack level, as seen from our caller, of the first frame that is not this package's."""
    package = __name__.partition(".")[0]
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
        level += 1
    return level
