"""The live page's server: standard library, this machine only, nothing is written.

It listens on 127.0.0.1 alone. The address holds a random token, so that no other program's page can guess it; a request
whose Host or Origin names another place is refused, so that no web site can reach it through the browser.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from thinwire.errors import UserError

Evaluate = Callable[[Mapping[str, Any]], Mapping[str, Any]]
MOST_BYTES = 1 << 16
"""Longest request that is read."""
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class LiveServer(ThreadingHTTPServer):
    """Serves one page and one question: what does the model say to this prompt without these parts?"""

    daemon_threads = True

    def __init__(self, page: str, evaluate: Evaluate, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.page = page.encode()
        self.evaluate = evaluate
        self.token = secrets.token_urlsafe(24)
        self.turn = Lock()
        """One evaluation at a time: they share the model's threads."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The only values of Host that are answered."""
        return tuple(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class Handler(BaseHTTPRequestHandler):
    server: LiveServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Library code prints nothing; the address with its token least of all."""

    def do_GET(self) -> None:
        if self._is_ours(""):
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        if not self._is_ours("evaluate"):
            return
        if self.headers.get_content_type() != "application/json":
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {MOST_BYTES} bytes")
        try:
            request = json.loads(self.rfile.read(int(length)))
            with self.server.turn:
                answer = dict(self.server.evaluate(request))
        except (UserError, ValueError) as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _is_ours(self, name: str) -> bool:
        """Whether host, origin and address are ours; says no to everything else."""
        origin = self.headers.get("Origin")
        allowed = {f"http://{host}" for host in self.server.hosts}
        if self.headers.get("Host") not in self.server.hosts or (origin is not None and origin not in allowed):
            self._refuse(HTTPStatus.FORBIDDEN, "only this machine is answered")
            return False
        wanted = f"/{self.server.token}/{name}"
        if not secrets.compare_digest(self.path.encode(), wanted.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")
            return False
        return True

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        self.close_connection = True
        self._send(status, json.dumps({"error": words}).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
