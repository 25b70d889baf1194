#!/usr/bin/env bash
# fsspec 2026.9.0: of a file on a web server that is busy (503), or that is not running at all, it is said that there is no
# such file (`info` raises FileNotFoundError), and a folder of a server that is not running is listed as empty.
#
# So who leaves out what is not there, and tries again what failed on the way, leaves out everything while a server is busy.
# The true error is the cause of the one that is raised; `find` gives none.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29: the line at the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q fsspec==2026.9.0 aiohttp==3.14.5
"$folder/env/bin/python" - <<'PYTHON'
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import fsspec


class Busy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


def kind_of_error(action):
    try:
        return action()
    except Exception as error:
        return type(error).__name__


server = HTTPServer(("127.0.0.1", 0), Busy)
threading.Thread(target=server.serve_forever, daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as unused:
    closed = unused.getsockname()[1]
system = fsspec.filesystem("http")
busy, gone = f"http://127.0.0.1:{server.server_port}", f"http://127.0.0.1:{closed}"
found = {
    "info, busy": kind_of_error(lambda: system.info(f"{busy}/a.mp4")),
    "info, not running": kind_of_error(lambda: system.info(f"{gone}/a.mp4")),
    "find, busy": kind_of_error(lambda: system.find(f"{busy}/folder/")),
    "find, not running": kind_of_error(lambda: system.find(f"{gone}/folder/")),
}
print(found)
server.shutdown()
assert found == {
    "info, busy": "FileNotFoundError",
    "info, not running": "FileNotFoundError",
    "find, busy": "ClientResponseError",
    "find, not running": [],
}, "no longer so"
PYTHON
echo "A server that does not answer is taken for one without the file."
