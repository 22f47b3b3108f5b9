"""Dovecot that takes mail as well: by LMTP on a socket, by IMAP with TLS where that is installed, and by its program.

Owns these settings, and no test.
"""

import socket
from pathlib import Path

from servers.base import UnavailableError
from servers.dovecot import DovecotServer

SETTINGS = """
protocols = pop3 lmtp{imap}
postmaster_address = postmaster@example.org
mail_fsync = optimized
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
{imap_login}
service auth {{
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
"""


IMAP_LOGIN = """
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""


def _free_port() -> int:
    """Return a port that is free now; the kernel chose it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class DeliveringDovecot(DovecotServer):
    """Dovecot with more protocols."""

    has_imap = Path("/usr/lib/dovecot/imap").exists()
    further = ""
    """Settings behind these."""

    @classmethod
    def check(cls) -> None:
        """Raise `UnavailableError` when Dovecot, or its LMTP, is not installed."""
        super().check()
        if not Path("/usr/lib/dovecot/lmtp").exists():
            raise UnavailableError("dovecot-lmtpd is not installed")

    @property
    def lmtp(self) -> str:
        """The socket that takes mail by LMTP."""
        return f"{self.folder}/lmtp"

    def configure(self) -> list[str]:
        """Return what starts it."""
        self.imap_port = _free_port()
        login = IMAP_LOGIN.format(port=self.imap_port) if self.has_imap else ""
        more = {"imap": " imap" * self.has_imap, "imap_login": login}
        self.settings = SETTINGS.format(folder=self.folder, **more) + self.further
        return super().configure()
