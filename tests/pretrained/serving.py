"""A site on this machine that serves files."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


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


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve a folder at 127.0.0.1 as long as the block lasts."""
    folder.mkdir(exist_ok=True)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = folder / self.path.lstrip("/"), self.headers.get("Range")
            if not (site.ranges and wanted and path.is_file()):
                super().do_GET()
                return
            version = self.date_time_string(path.stat().st_mtime)
            if self.headers.get("If-Range", version) != version:
                super().do_GET()
                return
            content, start = path.read_bytes(), int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            site.parts.append(wanted)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Last-Modified", version)
            self.end_headers()
            self.copyfile(io.BytesIO(content[start:]), self.wfile)

        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            outputfile.write(content[: len(content) // 2] if site.cut else content)

        def log_message(self, format: str, *arguments: Any) -> None:
            site.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}", folder)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
