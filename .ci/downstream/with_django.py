"""django-mailbox takes every message of a mailbox and deletes it, with pop3fast in poplib's place."""

import pop3fast

pop3fast.install_as_poplib()

import django  # noqa: E402 - poplib has to be in place before
from django.conf import settings  # noqa: E402

settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django_mailbox"])
django.setup()

from django_mailbox.transports.pop3 import Pop3Transport  # noqa: E402

from pop3fast.testing import MailboxServer  # noqa: E402

MESSAGES = [b"From: ada@example.org\r\nSubject: %d\r\n\r\n.dots\r\n" % number for number in range(20)]

with MailboxServer(MESSAGES) as server:
    transport = Pop3Transport(server.host, server.port)
    transport.connect("user", "password")
    assert type(transport.server) is pop3fast.POP3
    assert [message["Subject"] for message in transport.get_message()] == [str(number) for number in range(20)]
    assert server.deleted == [*range(1, 21)]
print("django-mailbox: 20 messages, and deleted")
