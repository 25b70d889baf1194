"""A way to a server on this machine on which things go wrong."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Faults:
    """What is to go wrong, and what was asked for."""

    url: str
    busy: int = 0
    """How many requests to answer with 503."""
    cuts: int = 0
    """How many answers to break off in the middle."""
    cut_uploads: int = 0
    """How many files to break off in the middle that come."""
    upload_answers: list[tuple[int, str]] = field(default_factory=list)
    """Statuses and codes, each the answer to one file that comes, in place of the server's."""
    is_terse: bool = False
    """Leave out which condition did not hold, as MinIO does."""
    denied: bool = False
    """Answer that nobody may come in."""
    asked: list[str] = field(default_factory=list)


@contextmanager
def proxy(target: str) -> Iterator[Faults]:
    """Hand requests to another server as long as the block lasts."""
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _hand_over(self) -> None:
            faults.asked.append(f"{self.command} {self.path}")
            length = int(self.headers.get("Content-Length") or 0)
            if faults.cut_uploads and self.command == "PUT" and length:
                faults.cut_uploads -= 1
                self.rfile.read(length // 2)
                self.close_connection = True
                return
            body = self.rfile.read(length)
            if faults.upload_answers and self.command == "PUT" and length:
                status, code = faults.upload_answers.pop()
                self._answer(status, [], f"<Error><Code>{code}</Code></Error>".encode())
                return
            if faults.busy or faults.denied:
                faults.busy -= not faults.denied
                status, code = (403, "AccessDenied") if faults.denied else (503, "ServiceUnavailable")
                self._answer(status, [], f"<Error><Code>{code}</Code></Error>".encode())
                return
            connection = http.client.HTTPConnection(host)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                if faults.is_terse:
                    content = re.sub(rb"<Condition>.*?</Condition>", b"", content)
                headers = [each for each in answer.getheaders() if each[0].lower() not in _OF_A_CONNECTION]
            finally:
                connection.close()
            if self.command == "HEAD":
                self._answer(answer.status, [*headers, ("Content-Length", answer.getheader("Content-Length") or "0")])
            else:
                self._answer(answer.status, headers, content)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes | None = None) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if content is None:
                self.end_headers()
                return
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if faults.cuts and status in (200, 206) and self.command == "GET" and content:
                faults.cuts -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content if self.command != "HEAD" else b"")

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_over  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        faults = Faults(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield faults
        finally:
            server.shutdown()
            thread.join()


_OF_A_CONNECTION = ("connection", "content-length", "transfer-encoding", "date", "server")
