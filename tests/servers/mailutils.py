"""GNU Mailutils' pop3d: another family than Dovecot, with GnuTLS and a mail library of its own.

Owns its configuration: virtual users from a passwd-style file, Maildirs, no PAM, no TCP wrappers, no syslog.  It must
never read /etc/mailutils.conf (`--config-file` stands in its place) nor let a user of the machine log in.

What it does that others do not, and tests have to expect:
- when a session ends with QUIT, it writes an X-UIDL header into each message that it has told the unique-id of, so
  contents and sizes differ between the first session and the second (`RealServer.settle` is that first session);
- a message in a Maildir that does not begin with header lines and a blank line is served without its first lines;
- TOP sends a second blank line between header and body;
- it announces `EXPIRENEVER`, one word, where RFC 2449 has `EXPIRE NEVER`.
"""

import grp
import os
import subprocess
from typing import ClassVar

from servers.base import Account, RealServer, UnavailableError, find_program

#: Virtual users belong to a domain, which is the name of the file that lists them and the end of their login name.
DOMAIN = "example.test"

#: The one thing it cannot do without: when it starts it sets its group to this one, by name.
_GROUP = "mail"

_CONFIGURATION = """\
mode daemon;
foreground yes;
max-children 100;
pidfile "{folder}/pid";
output-buffer-size 65536;
logging {{ syslog no; severity debug; }};
tcp-wrappers {{ enable no; }};
gsasl {{ enable no; }};
# Each list begins with what was compiled in: PAM and the machine's own users.
auth {{ authorization clear; authorization virtdomain; authentication clear; authentication generic; }};
virtdomain {{ passwd-dir "{folder}/domains"; }};
mandatory-locking {{ enable {locking}; lock-directory "{folder}/locks"; }};
tls {{ ssl-certificate-file "{certificate}"; ssl-key-file "{key}"; }};
server 127.0.0.1:{plain_port} {{ tls-mode ondemand; }};
server 127.0.0.1:{tls_port} {{ tls-mode connection; }};
{settings}
"""


class MailutilsServer(RealServer):
    """Mailutils' pop3d with Maildirs and virtual users; a user logs in as user@example.test.

    `locking` lets one session at a time into a mailbox, as RFC 1939 section 4 wants, and refuses the next with
    ``-ERR [IN-USE]``.  It is off by default: the lock of a session that was cut off outlives it by a moment.
    `settings` is configuration text put behind everything else.
    """

    name: ClassVar[str] = "mailutils"

    def __init__(self, *, locking: bool = False, settings: str = "") -> None:
        super().__init__()
        self.locking = locking
        self.settings = settings

    @classmethod
    def check(cls) -> None:
        """Raise UnavailableError when Mailutils' pop3d or openssl is missing, or when it could not take its group."""
        pop3d = find_program("pop3d", "mailutils-pop3d")
        find_program("openssl", "openssl")
        version = subprocess.run([pop3d, "--version"], capture_output=True, check=False, text=True, timeout=10).stdout
        if "GNU Mailutils" not in version:
            # Other POP3 servers use the same file name.
            raise UnavailableError("mailutils-pop3d not installed")
        if os.geteuid() != 0 and grp.getgrgid(os.getegid()).gr_name != _GROUP:
            raise UnavailableError(f"mailutils sets its group to {_GROUP} when it starts, which only root may")

    def choose_account(self) -> Account:
        """Run as nobody in the group mail."""
        return Account.unprivileged(_GROUP)

    def login_name(self, user: str) -> str:
        """Give user@domain."""
        return f"{user}@{DOMAIN}"

    def configure(self) -> list[str]:
        """Write pop3d.conf; give ``pop3d --config-file``."""
        path = self.folder / "pop3d.conf"
        locks = self.folder / "locks"
        locks.mkdir(mode=0o700, exist_ok=True)
        text = _CONFIGURATION.format(
            folder=self.folder,
            locking="yes" if self.locking else "no",
            certificate=self.certificate.certificate,
            key=self.certificate.key,
            plain_port=self.plain_port,
            tls_port=self.tls_port,
            settings=self.settings,
        )
        path.write_text(text, encoding="utf-8")
        self.account.take(locks, path)
        return [find_program("pop3d", "mailutils-pop3d"), f"--config-file={path}"]

    def admit(self, user: str, password: str) -> None:
        """Add a line to the domain's passwd file, which is read at each login."""
        # It compares with what crypt(3) makes; Python's own crypt module is gone from 3.13.
        command = [find_program("openssl", "openssl"), "passwd", "-6", "-stdin"]
        made = subprocess.run(command, input=password, capture_output=True, check=True, text=True, timeout=10)
        domains = self.folder / "domains"
        domains.mkdir(mode=0o700, exist_ok=True)
        entry = (user, made.stdout.strip(), self.account.uid, self.account.gid, user, self.home(user), "/bin/false")
        with (domains / DOMAIN).open("a", encoding="utf-8") as users:
            users.write(":".join(map(str, entry)) + "\n")
        self.account.take(domains, domains / DOMAIN)
