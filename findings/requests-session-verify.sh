#!/usr/bin/env bash
# requests 2.34.2: what a session is told to trust is forgotten where REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) is set.
#
# `session.verify = FILE` names the certificates that a session trusts, and `session.verify = False` none at all. Where one
# of the two variables is set, requests takes the variable's file in place of either, for each request of the session; only
# `session.get(..., verify=FILE)` prevails. So a program that offers a setting of its own, and gives it to its session, works
# everywhere but on machines that are set up for all programs: containers and companies that have a certificate authority.
#
# Seen on Linux x86-64, Python 3.11, on 2026-11-29: the lines at the end. A server on this machine has a certificate of one
# authority, the variable names another's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "requests==2.34.2" "trustme==1.2.1"
cat > "$folder/show.py" <<'PYTHON'
import os
import ssl
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests
import trustme

warnings.simplefilter("ignore")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


right, other = trustme.CA(), trustme.CA()
right.cert_pem.write_to_path("right.pem")
other.cert_pem.write_to_path("other.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
right.issue_cert("127.0.0.1").configure_cert(context)
server = HTTPServer(("127.0.0.1", 0), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()

for variable in (None, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop("REQUESTS_CA_BUNDLE", None)
    os.environ.pop("CURL_CA_BUNDLE", None)
    if variable:
        os.environ[variable] = "other.pem"
    for told, of_session, of_request in (
        ("session.verify = 'right.pem'", "right.pem", None),
        ("session.verify = False", False, None),
        ("get(verify='right.pem')", True, "right.pem"),
    ):
        session = requests.Session()
        session.verify = of_session
        try:
            answer = session.get(f"https://127.0.0.1:{server.server_port}/", verify=of_request).status_code
        except requests.exceptions.SSLError:
            answer = "certificate refused"
        print(f"{variable or 'no variable'}, {told}: {answer}")
PYTHON
(cd "$folder" && "$folder/venv/bin/python" show.py) > "$folder/seen"
cat "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
no variable, session.verify = 'right.pem': 200
no variable, session.verify = False: 200
no variable, get(verify='right.pem'): 200
REQUESTS_CA_BUNDLE, session.verify = 'right.pem': certificate refused
REQUESTS_CA_BUNDLE, session.verify = False: certificate refused
REQUESTS_CA_BUNDLE, get(verify='right.pem'): 200
CURL_CA_BUNDLE, session.verify = 'right.pem': certificate refused
CURL_CA_BUNDLE, session.verify = False: certificate refused
CURL_CA_BUNDLE, get(verify='right.pem'): 200
EXPECTED
