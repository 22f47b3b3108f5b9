r"""Real POP3 servers, started on loopback for as long as a test run needs them.

Owns their whole life: a configuration written for the occasion, a folder of its own below the system's temporary
folder, an unprivileged user, two free ports on 127.0.0.1, a certificate made on the spot, mailboxes, and the end of
every process.  It must never read or change how the machine's own mail is set up, listen on another address, or leave
a process or a file behind.

    with DovecotServer() as server:
        server.mailbox.fill([b"Subject: hello\n\nworld\n"])
        client = poplib.POP3(server.host, server.plain_port)

A server that cannot run here raises `UnavailableError` with the reason; `require` turns that into a skip that says so,
and into a failure where the environment says ``CI=true``: there, nothing that was meant to run may be missing.
"""

import pytest

from servers.base import Mailbox, RealServer, UnavailableError, require
from servers.dovecot import DovecotServer
from servers.mailutils import MailutilsServer

__all__ = ["DovecotServer", "Mailbox", "MailutilsServer", "RealServer", "UnavailableError", "require"]

# So that its assertions are explained as well as those in a test.
pytest.register_assert_rewrite("servers.comparison")
