"""A small program for tests of services, run as `python program.py PORT MODE`: http or tcp on 127.0.0.1.

Its HTTP paths: /health (200, or 503 while a file `sick` lies in its directory), /echo (the body), /status/N, /short (less than it
promises), /pid, /burn/MS (so many milliseconds of a core). tcp: each line comes back with "you said " before it.
"""

from __future__ import annotations

import os
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"ten bytes.")
            self.close_connection = True
            return None
        if self.path == "/health":
            return self.answer(503 if Path("sick").exists() else 200, b"")
        if self.path.startswith("/status/"):
            return self.answer(int(self.path.rpartition("/")[2]), b"as asked\n")
        if self.path.startswith("/burn/"):
            until = time.thread_time() + int(self.path.split("/")[2]) / 1000
            while time.thread_time() < until:
                pass
        if self.path == "/pid":
            return self.answer(200, str(os.getpid()).encode())
        return self.answer(200, self.requestline.encode())

    def do_POST(self) -> None:
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(b"you said " + line)


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(port: str, mode: str) -> None:
    print(f"{mode} on port {port}", flush=True)
    address = ("127.0.0.1", int(port))
    server = ThreadingHTTPServer(address, Http) if mode == "http" else TcpServer(address, Tcp)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
