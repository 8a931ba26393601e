"""A service that needs memory for a moment: each picture takes 60 MB while it is made. `album.py PORT`; /health needs none."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

MEMORY = 60_000_000


class Album(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        picture = b"well" if self.path == "/health" else bytes(bytearray(MEMORY)[:1000])
        self.send_response(200)
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Album).serve_forever()
