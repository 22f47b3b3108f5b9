"""nginx as a mail proxy in front of a POP3 server: it takes the login, then passes everything on in pieces of 4 KB.

Owns its configuration, in a folder that is gone afterwards; nothing of the machine's. A thread here tells it where the
server is, as a site's own program would, once a login.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from benches import ports

# Where Debian's package libnginx-mod-mail puts it.
_MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")

_CONFIGURATION = """\
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr emerg;
events {{}}
mail {{
    auth_http 127.0.0.1:{asked};
    server {{
        listen 127.0.0.1:{port};
        protocol pop3;
        pop3_capabilities {said};
    }}
}}
"""


def program() -> str | None:
    """Return the path of nginx; None where it, or its part for mail, is not installed."""
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin") if _MODULE.exists() else None


@contextmanager
def proxied(port: int, capabilities: str) -> Iterator[int]:
    """Give the port of a proxy to *port*, which says *capabilities*; end it with the block."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(port))):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    nginx = program()
    assert nginx is not None
    with HTTPServer(("127.0.0.1", 0), Site) as site, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        own = ports.free()
        path = Path(folder, "nginx.conf")
        path.write_text(
            _CONFIGURATION.format(
                module=_MODULE, folder=folder, asked=site.server_address[1], port=own, said=capabilities
            ),
            encoding="utf-8",
        )
        command = [nginx, "-e", "stderr", "-p", folder, "-c", str(path)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=sys.stderr) as proxy:
            try:
                ports.wait_for(own)
                yield own
            finally:
                proxy.terminate()
                site.shutdown()
