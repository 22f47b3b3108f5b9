r"""A POP3 server for a program's own tests, for demonstrations and for benchmarks.

`MailboxServer` is a real server on a free port of the loopback interface: it keeps the states of RFC 1939, speaks TLS
and STLS, pipelines, and misbehaves where it is told to (latency, octets that come one by one, connections that are
cut). It is pure standard library and takes no part in what the client does; any POP3 client can be tested with it::

    import poplib
    import pytest
    from pop3fast.testing import MailboxServer

    @pytest.fixture
    def mailbox():
        with MailboxServer([b"Subject: hello\r\n\r\nHello.\r\n"]) as server:
            yield server

    def test_that_mail_is_deleted_once_it_is_read(mailbox):
        pop = poplib.POP3(mailbox.host, mailbox.port)
        pop.user(mailbox.user)
        pop.pass_(mailbox.password)
        pop.retr(1)
        pop.dele(1)
        pop.quit()
        assert mailbox.deleted == [1]

It is not a server for anything but tests: every user of the machine can connect to it, and the private key of its
certificate is public.
"""

from pop3fast.testing._mailbox_server import CERTIFICATE, MailboxServer
from pop3fast.testing._maildrop import RepeatedMessage

__all__ = ["CERTIFICATE", "MailboxServer", "RepeatedMessage"]
