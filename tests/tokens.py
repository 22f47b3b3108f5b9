"""A token server for the tests: it gives tokens as Microsoft and Google do, and keeps what it was asked.

Owns no test.
"""

import base64
import json
import threading
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

Answer = tuple[int, dict[str, object] | bytes]

REFRESH = "refresh-secret"
CLIENT_SECRET = "client-secret"
ACCESS = "access-secret"
DEVICE = "device-secret"


class TokenServer:
    """Listens on a port of the loopback. Each access token is another one, and so is each refresh token."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.instead: Callable[[dict[str, str]], Answer | None] = lambda _: None
        self.given = 0
        self.interval = 3.0
        self.refresh = ""
        """The one that is good now."""
        self.challenge = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def access(self) -> str:
        """The token that was given last."""
        return f"{ACCESS}-{self.given}"

    def answer(self, path: str, form: dict[str, str]) -> Answer:
        """Return status and answer."""
        self.asked.append(form)
        if (other := self.instead(form)) is not None:
            return other
        if path == "/device":
            return 200, {
                "device_code": DEVICE,
                "user_code": "AB-CD",
                "verification_uri": "https://x.example",
                "interval": self.interval,
            }
        grant = form.get("grant_type")
        if grant == "refresh_token" and form["refresh_token"] != self.refresh:
            return 400, {"error": "invalid_grant", "error_description": f"{form['refresh_token']} is\x1b[2J old\nTrace"}
        if grant == "authorization_code":
            digest = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
            if digest != self.challenge:
                return 400, {"error": "invalid_grant"}
        self.given += 1
        tokens: dict[str, object] = {"access_token": self.access, "expires_in": 3600, "token_type": "Bearer"}
        if grant != "client_credentials":
            self.refresh = f"{REFRESH}-{self.given}"
            tokens["refresh_token"] = self.refresh
        return 200, tokens

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                status, answer = outer.answer(self.path, form)
                octets = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{outer.url}/elsewhere")
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def do_GET(self) -> None:
                """Let the person in, and send the browser back; nobody else has anything to get."""
                if not self.path.startswith("/authorize?"):
                    outer.asked.append({})
                    self.send_error(404)
                    return
                given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                outer.challenge = given["code_challenge"]
                back = urlencode({"code": "the-code", "state": given["state"]})
                self.send_response(302)
                self.send_header("Location", f"{given['redirect_uri']}/?{back}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:  # noqa: ANN401
                """Say nothing."""

        return Handler
