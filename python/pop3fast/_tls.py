"""TLS as poplib has it without a context: encrypted, and verified by nobody.

Owns that context and the warning about it. Kept so that nothing breaks on the day a program moves here.
"""

import ssl
import sys
import warnings
from collections.abc import Callable

from pop3fast._errors import InsecureTLSWarning


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


def _callers_level() -> int:
    """Return the stack level, as seen from our caller, of the first frame that is not this package's."""
    package = __name__.partition(".")[0]
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
        level += 1
    return level
