"""getmail6 retrieves a mailbox with pop3fast in poplib's place."""

import tempfile

import pop3fast

pop3fast.install_as_poplib()

from getmailcore import retrievers  # noqa: E402 - poplib has to be in place before

from pop3fast.testing import MailboxServer  # noqa: E402

SUBJECTS = [f"message {number}" for number in range(20)]
MESSAGES = [f"From: ada@example.org\r\nSubject: {subject}\r\n\r\n.dots\r\n".encode() for subject in SUBJECTS]


def retrieved(server: MailboxServer, folder: str) -> list[str]:
    """Return the subjects of what is new to getmail, which keeps its notes in *folder*."""
    retriever = retrievers.SimplePOP3Retriever(
        server=server.host,
        port=server.port,
        username="user",
        password="password",
        getmaildir=folder,
        configparser=None,
    )
    retriever.checkconf()
    retriever.initialize({"use_netrc": False, "logger": None, "verbose": 0})
    assert type(retriever.conn) is pop3fast.POP3
    subjects = []
    for msgid in retriever:
        if retriever.oldmail.get(msgid) is None:
            message = retriever.getmsg(msgid)
            assert b"\n.dots" in message.flatten(delivered_to=False, received=False)
            subjects.append(message.content()["subject"])
            retriever.delivered(msgid)
    retriever.quit()
    return subjects


with tempfile.TemporaryDirectory() as name, MailboxServer(MESSAGES) as there:
    assert retrieved(there, name) == SUBJECTS
print("getmail6: 20 messages")
