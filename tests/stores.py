"""An S3 store in the tests' own process (moto), and the faults that a real one shows.

Owns no expectation. A fault is a function of a request (`Asked`) that says what becomes of it.
"""

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, cast

import pytest

from pop3fast.fetch.destinations._bucket import parse_bucket

BUCKET = "mail"


class Asked(NamedTuple):
    """A request."""

    method: str
    name: str
    """Of the object, with its prefix."""
    nth: int
    """How many requests of this method came for it before."""


class Answer(NamedTuple):
    """An answer instead of the store's. *late* is none: the store does what it was asked for, and hangs up."""

    status: str
    code: str = ""
    late: bool = False


SLOW_DOWN = Answer("503 Slow Down", "SlowDown")
DENIED = Answer("403 Forbidden", "AccessDenied")
LOST = Answer("", late=True)


def no_fault(_: Asked) -> Answer | None:
    """Let the store answer."""
    return None


@dataclass
class Store:
    """The server; its one bucket is `BUCKET`."""

    fault: Callable[[Asked], Answer | None] = no_fault
    asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        moto_server = pytest.importorskip("moto.server")
        pytest.importorskip("obstore")
        from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - moto's own

        class Quiet(WSGIRequestHandler):
            def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
                pass

        self._app = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def reset(self) -> None:
        """Begin with an empty bucket and without a fault."""
        self.fault = no_fault
        self._request("POST", f"{self.endpoint}/moto-api/reset")
        self._request("PUT", f"{self.endpoint}/{BUCKET}")
        self.asked.clear()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def url(self, prefix: str = "archive", **options: str) -> str:
        """Return what a person writes for it."""
        said = {"endpoint": self.endpoint, "region": "us-east-1", **options}
        return f"s3://{BUCKET}/{prefix}?" + "&".join(f"{key}={value}" for key, value in said.items())

    def objects(self) -> dict[str, bytes]:
        """Return what is stored, by name and in its order."""
        from moto.s3.models import s3_backends  # noqa: PLC0415 - is skipped where it is not installed

        keys = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys
        return {name: keys[name].value for name in sorted(keys)}

    def mail(self) -> dict[str, bytes]:
        """Return the objects that are no index."""
        return {name: octets for name, octets in self.objects().items() if "/index/" not in name}

    def change(self, name: str, octets: bytes | None) -> None:
        """Put *octets* where *name* is, or take it away."""
        import obstore  # noqa: PLC0415 - is skipped where it is not installed

        bucket = parse_bucket(self.url("")).store()
        self.fault, fault = no_fault, self.fault
        if octets is None:
            obstore.delete(bucket, name)
        else:
            obstore.put(bucket, name, octets)
        self.fault = fault

    @staticmethod
    def _request(method: str, url: str) -> None:
        request = urllib.request.Request(url, method=method)  # noqa: S310 - http
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            answer.read()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        name = environ["PATH_INFO"].removeprefix(f"/{BUCKET}").removeprefix("/")
        with self._lock:
            nth = sum((each.method, each.name) == (environ["REQUEST_METHOD"], name) for each in self.asked)
            asked = Asked(environ["REQUEST_METHOD"], name, nth)
            self.asked.append(asked)
        instead = self.fault(asked)
        if instead is None:
            return cast("Iterable[bytes]", self._app(environ, start))
        if instead.late:
            self._app(environ, lambda *_: None)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(instead.status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{instead.code}</Code><Message>no</Message></Error>".encode()]
