"""A real HTTP server on 127.0.0.1 that answers as a test tells it to."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[Any, ...]
"""(status, content) or (status, content, headers). content: bytes as they are, anything else as JSON."""


class StandIn(ThreadingHTTPServer):
    """Answers POST with what `reply` makes of the body, GET with what `pages` has for the path; keeps the bodies."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.reply: Callable[[dict[str, Any]], Reply] = lambda body: (200, answer(("  exact h.2", -1.0)))
        self.pages: dict[str, Reply] = {}
        self.posts: dict[str, Callable[[dict[str, Any]], Reply]] = {}
        self.bodies: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def start(self) -> "StandIn":
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening: connections are refused from then on."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(*self.server.pages.get(self.path, (404, b"no such page")))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for path, reply in self.server.posts.items():
            if self.path.endswith(path):
                self._send(*reply(body))
                return
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers_seen.append(dict(self.headers))
        self._send(*self.server.reply(body))

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = dict(headers or {})
        self.send_response(status)
        if "Transfer-Encoding" not in headers:
            headers.setdefault("Content-Length", str(len(data)))
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if "Transfer-Encoding" in headers:
            for start in range(0, len(data), 7):
                part = data[start : start + 7]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            data = b"0\r\n\r\n"
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


def answer(*choices: tuple[str, float], finish: str = "stop") -> dict[str, Any]:
    """A completions answer: one token a word, the log-prob shared evenly."""
    made = []
    for text, log_prob in choices:
        tokens = [f" {word}" for word in text.split(" ") if word] if "\n" not in text else list(text)
        if "\n" not in text:
            tokens[0] = (
                " " * (len(text) - len(text.lstrip()) - 1) + tokens[0] if text.startswith(" ") else tokens[0][1:]
            )
        logprobs = {"tokens": tokens, "token_logprobs": [log_prob / len(tokens)] * len(tokens)}
        made.append({"text": text, "finish_reason": finish, "logprobs": logprobs})
    return {"choices": made}
