"""The live page's server: this machine only, nothing is written.

It listens on 127.0.0.1 alone. The address holds a random token, so that no other program's page can guess it; a request
whose Host or Origin names another place is refused, so that no web site can reach it through the browser. Every request
gets a status: waitress reads HTTP (lengths, timeouts, many clients at once), msgspec reads the JSON that is asked with.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock, RLock
from types import TracebackType
from typing import Any

import msgspec
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.wasyncore import close_all, loop

from thinwire.errors import UserError

MOST_BYTES = 1 << 16
"""Longest request that is read."""
STALLED_SECONDS = 20
"""A client that sends nothing for so long is let go."""
MOST_CLIENTS = 500
"""Connections that are open at once; further ones wait."""
THREADS = 4
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Start = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Mapping[str, Any], Start], Iterable[bytes]]


@dataclass(frozen=True)
class Question:
    """Something that the page may ask under its address: JSON of a stated type, answered with JSON."""

    asks: type
    answer: Callable[[Any], Any]
    """Of a request, a value that msgspec can write. `UserError` becomes a refusal in its words."""


@dataclass(frozen=True)
class Reply:
    status: HTTPStatus
    content: bytes
    kind: str = "application/json"


class _Parser(HTTPRequestParser):
    """waitress 3.0 lets a Content-Length of more than 4,300 digits through to `int`, which refuses it."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("a number in the head of the request is invalid") from None


class _Channel(HTTPChannel):
    parser_class = _Parser


class _Server(TcpWSGIServer):
    """waitress's server with an end: any thread may stop it while others run it and answer.

    Answers that are ready wake the loop through a pipe. Nothing is written into it from the moment of the stop: it is
    about to be closed, and its number may be another file's by then.
    """

    channel_class = _Channel

    def __init__(self, application: Application, port: int) -> None:
        self.sockets: dict[int, Any] = {}
        self._waking = Lock()
        self._stopped = False
        try:
            super().__init__(
                application,
                self.sockets,
                dispatcher=ThreadedTaskDispatcher(),
                host="127.0.0.1",
                port=port,
                connection_limit=MOST_CLIENTS,
                channel_timeout=STALLED_SECONDS,
                cleanup_interval=max(1, STALLED_SECONDS // 4),
                max_request_body_size=MOST_BYTES + 1,
                max_request_header_size=1 << 14,
                log_socket_errors=False,
                ident="thinwire",
            )
        except OSError:  # the port is taken, and waitress leaves its sockets open
            close_all(self.sockets, ignore_all=True)
            raise
        self.task_dispatcher.set_thread_count(THREADS)

    def run(self) -> None:
        while not self._stopped:
            loop(timeout=1, use_poll=True, map=self.sockets, count=1)

    def pull_trigger(self) -> None:
        with self._waking:
            if not self._stopped:
                super().pull_trigger()

    def stop(self) -> None:
        """Let `run` come to its end."""
        with self._waking:
            if not self._stopped:
                self._stopped = True
                super().pull_trigger()

    def let_go(self) -> None:
        """Close every socket once nobody runs; an answer that is being found has a second to notice."""
        channels: Any = self.active_channels
        for channel in list(channels.values()):
            channel.handle_close()
        self.task_dispatcher.shutdown(timeout=1)
        close_all(self.sockets, ignore_all=True)


class LiveServer:
    """Serves one page and the questions that it asks: name in the address -> `Question`.

    Raises `OSError` when the port is taken.
    """

    def __init__(self, page: str, questions: Mapping[str, Question], port: int = 0) -> None:
        logging.getLogger("waitress").addHandler(logging.NullHandler())  # a client that goes away is no news
        self.page = page.encode()
        self.questions = questions
        self.token = secrets.token_urlsafe(24)
        self.turns = {name: Lock() for name in questions}
        """One answer of each kind at a time: they share the model's threads."""
        self._running = RLock()
        self._server: Any = _Server(self._serve, port)
        self.server_port = int(self._server.effective_port)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The only values of Host that are answered."""
        return tuple(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def serve_forever(self) -> None:
        """Answer until `close` is called from another thread, or until an interrupt."""
        with self._running:
            self._server.run()

    def close(self) -> None:
        """Let all clients go and stop listening; safe from any thread, and twice."""
        self._server.stop()
        with self._running:  # sockets belong to the thread that serves, until it has left them
            self._server.let_go()

    def __enter__(self) -> "LiveServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _serve(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        reply = self._reply(environ)
        headers = {**HEADERS, "Content-Type": reply.kind, "Content-Length": str(len(reply.content))}
        start(f"{reply.status.value} {reply.status.phrase}", list(headers.items()))
        return [reply.content]

    def _reply(self, environ: Mapping[str, Any]) -> Reply:
        origin, allowed = environ.get("HTTP_ORIGIN"), {f"http://{host}" for host in self.hosts}
        if environ.get("HTTP_HOST") not in self.hosts or (origin is not None and origin not in allowed):
            return _refusal(HTTPStatus.FORBIDDEN, "only this machine is answered")
        address = environ.get("REQUEST_URI", "").encode("utf-8", "replace")
        home = f"/{self.token}/".encode()
        ours, name = secrets.compare_digest(address[: len(home)], home), address[len(home) :].decode("utf-8", "replace")
        if not ours or (name and name not in self.questions):
            return _refusal(HTTPStatus.NOT_FOUND, "nothing here")
        method, wanted = environ.get("REQUEST_METHOD"), "POST" if name else "GET"
        if method != wanted:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"this address takes {wanted}")
        return self._asked(name, environ) if name else Reply(HTTPStatus.OK, self.page, "text/html; charset=utf-8")

    def _asked(self, name: str, environ: Mapping[str, Any]) -> Reply:
        question = self.questions[name]
        if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
        length = int(environ.get("CONTENT_LENGTH") or 0)  # waitress has read as much and no more
        try:
            request = msgspec.json.decode(environ["wsgi.input"].read(length), type=question.asks)
            with self.turns[name]:
                return Reply(HTTPStatus.OK, msgspec.json.encode(question.answer(request)))
        except (UserError, msgspec.MsgspecError, UnicodeError) as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        except RecursionError:
            return _refusal(HTTPStatus.BAD_REQUEST, "the request is nested too deeply")


def _refusal(status: HTTPStatus, words: str) -> Reply:
    return Reply(status, msgspec.json.encode({"error": words.encode("utf-8", "replace").decode()}))
