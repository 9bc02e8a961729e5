"""An HTTP proxy on loopback before a server: fails every n-th request, cuts off downloads, delays answers."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Faults:
    """What the proxy does wrong, and how often it did."""

    fail_every: int = 0
    """Every so many requests, in turn: an answer 503, a connection closed without an answer, and one closed after the
    server has done what was asked. 0: never.
    """
    truncate_downloads: int = 0
    """So many downloads of objects are cut off in the middle."""
    delay_s: float = 0.0
    requests: int = 0
    failed: int = 0
    truncated: int = 0
    received: int = 0
    """Bytes of content that clients have sent."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> str:
        with self.lock:
            self.requests += 1
            if self.fail_every and self.requests % self.fail_every == 0:
                self.failed += 1
                return ("answer", "close", "close after")[self.failed % 3]
            return ""

    def truncates(self, length: int) -> bool:
        with self.lock:
            if length < 2 or self.truncate_downloads <= self.truncated:
                return False
            self.truncated += 1
            return True


@contextmanager
def faulty_proxy(host: str, port: int, faults: Faults) -> Iterator[str]:
    """The proxy's address while the context is open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with faults.lock:
                faults.received += len(body)
            how = faults.next()
            time.sleep(faults.delay_s)
            if how == "close":
                self.close_connection = True
                return
            if how == "answer":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            server = http.client.HTTPConnection(host, port, timeout=30)
            server.request(self.command, self.path, body, dict(self.headers))
            answer = server.getresponse()
            content = answer.read()
            server.close()
            if how == "close after":
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            download = self.command == "GET" and answer.status in (200, 206) and "?" not in self.path
            if download and faults.truncates(len(content)):
                content = content[: len(content) // 2]
                self.close_connection = True
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

        def log_message(self, *values: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
