"""A site on this machine that serves files."""

import base64
import io
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Site:
    """What a running site is told and tells."""

    url: str
    folder: Path
    cut: bool = False
    """Break the connection off in the middle of the file."""
    asked: list[str] = field(default_factory=list)
    ranges: bool = False
    """Send parts of files to who asks for them."""
    parts: list[str] = field(default_factory=list)
    """The parts that were sent."""
    named: bool = True
    """Name the version of each file."""
    password: str = ""
    """Name and password, with a colon between them, that are asked for."""
    told: list[str] = field(default_factory=list)
    """The name and password of each request that had one."""
    busy: int = 0
    """How many requests to answer with 503."""
    cuts: int = 0
    """How many answers to break off in the middle."""


@contextmanager
def serve(folder: Path, certificate: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve a folder at 127.0.0.1 as long as the block lasts; ask this site as a proxy, and it is every site."""
    folder.mkdir(exist_ok=True)

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = SimpleHTTPRequestHandler.extensions_map | {".json": "application/vnd.pypi.simple.v1+json"}

        def do_GET(self) -> None:
            self.path = urlsplit(self.path).path
            if given := self.headers.get("Authorization"):
                site.told.append(base64.b64decode(given.removeprefix("Basic ")).decode())
            if site.password and site.password not in site.told[-1:]:
                self.send_error(401)
                return
            if site.busy:
                site.busy -= 1
                self.send_error(503)
                return
            if self.path.endswith("/") and (folder / self.path[1:] / "index.json").is_file():
                self.path += "index.json"
            path, wanted = folder / unquote(self.path.lstrip("/")), self.headers.get("Range")
            if not (site.ranges and wanted and path.is_file()):
                super().do_GET()
                return
            version = self.date_time_string(path.stat().st_mtime)
            if self.headers.get("If-Range", version) != version:
                super().do_GET()
                return
            content = path.read_bytes()
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1) + 1
            if start >= len(content):
                self.send_error(416)
                return
            site.parts.append(wanted)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
            self.send_header("Content-Length", str(end - start))
            self.send_header("Last-Modified", version)
            self.end_headers()
            self.copyfile(io.BytesIO(content[start:end]), self.wfile)

        def send_header(self, keyword: str, value: str) -> None:
            if site.named or keyword != "Last-Modified":
                super().send_header(keyword, value)

        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            cut = (site.cut or site.cuts > 0) and not self.path.endswith("/")
            site.cuts -= cut and not site.cut
            outputfile.write(content[: len(content) // 2] if cut else content)

        def log_message(self, format: str, *arguments: Any) -> None:
            site.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        if certificate is not None:
            server.socket = certificate.wrap_socket(server.socket, server_side=True)
        site = Site(f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}", folder)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
