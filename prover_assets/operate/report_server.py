"""The reports of a data folder, and its searches while they run, as pages on this machine: `make ui` starts it.

It changes nothing that is there.

Only GET and HEAD are answered, only on 127.0.0.1, and only files that lie directly in the report folder of an
iteration, under names that a report has. A path is never joined from what was asked: it is looked up among what is
there.
"""

import argparse
import html
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prover_assets.operate.live_pages import POLICY, PREFIX, LivePages
from prover_assets.store.iterations import in_order
from prover_assets.store.layout import DataFolder, IterationFolder

HOST = "127.0.0.1"
KINDS = {".html": "text/html; charset=utf-8", ".png": "image/png", ".json": "application/json"}
"""What a report folder holds that is handed out, by the end of the name."""
PAGE = "index.html"
_NAMES = frozenset({HOST, "localhost", "[::1]"})
_STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark;"
    "color:light-dark(#1d2529,#e6eaec);background:light-dark(#fff,#14191c)}a{color:light-dark(#0b5394,#8ec5ff)}"
)


def reports_of(data: DataFolder) -> dict[str, dict[str, Path]]:
    """Iteration -> name -> file, of every report that there is. Links are left out: they may lead anywhere."""
    found = {}
    for iteration in data.iterations():
        files = _files(iteration)
        if PAGE in files:
            found[iteration.key] = files
    return found


def _files(iteration: IterationFolder) -> dict[str, Path]:
    if not iteration.report.is_dir() or iteration.report.is_symlink() or iteration.root.is_symlink():
        return {}
    return {
        path.name: path
        for path in iteration.report.iterdir()
        if path.suffix in KINDS and path.is_file() and not path.is_symlink()
    }


class ReportHandler(BaseHTTPRequestHandler):
    """Answers for one data folder. Whatever it does not know is 404; whatever is not GET or HEAD is 405."""

    server_version = "reports"
    sys_version = ""
    server: "ReportServer"

    def do_GET(self) -> None:
        """A list of the reports, a report, or one of its pictures."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """The same without the content."""
        self._answer(body=False)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log what was asked, but not the looks at a search, one per second."""
        if "/state.json" not in self.requestline:
            super().log_request(code, size)

    def _refuse_method(self) -> None:
        """Refuse to change anything: 405."""
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"reports can only be read: GET or HEAD\n", allow="GET, HEAD")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def _answer(self, *, body: bool) -> None:
        # A page elsewhere may have its own name point to 127.0.0.1, to read what is here.
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in _NAMES:
            self._send(HTTPStatus.FORBIDDEN, b"asked under another name than 127.0.0.1\n", body=body)
            return
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path.startswith(PREFIX):
            found = self.server.live.answer(path.removeprefix(PREFIX), address.query)
            self._send(found.status, found.content, found.kind, body=body, policy=POLICY)
            return
        parts = path.split("/")
        reports = reports_of(self.server.data)
        if parts == ["", ""]:
            self._send(HTTPStatus.OK, _list(self.server.data, reports), KINDS[".html"], body=body)
        elif len(parts) == 2 and parts[1] in reports:
            self._send(HTTPStatus.MOVED_PERMANENTLY, b"", location=f"/{parts[1]}/", body=body)
        elif len(parts) == 3 and (file := reports.get(parts[1], {}).get(parts[2] or PAGE)) is not None:
            self._send(HTTPStatus.OK, file.read_bytes(), KINDS[file.suffix], body=body)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"there is no such report; / lists them\n", body=body)

    def _send(
        self,
        status: HTTPStatus,
        content: bytes,
        kind: str = "text/plain; charset=utf-8",
        *,
        body: bool = True,
        location: str = "",
        allow: str = "",
        policy: str = "",
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",  # an iteration that is reported again has the same address
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            **({"Location": location} if location else {}),
            **({"Allow": allow} if allow else {}),
            **({"Content-Security-Policy": policy} if policy else {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _list(data: DataFolder, reports: dict[str, dict[str, Path]]) -> bytes:
    """The page that names the reports, the newest first."""
    links = "".join(f'<li><a href="/{key}/">{key}</a></li>' for key in reversed(in_order(list(reports))))
    folder = html.escape(str(data.root))
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Reports</title><style>{_STYLE}</style></head><body><h1>Reports</h1>"
        f'<p>Of the iterations in {folder}. <a href="{PREFIX}">Searches</a>, also those that run.</p>'
        + (f"<ul>{links}</ul>" if links else "<p>There is none yet: <code>make run</code> makes one.</p>")
        + "</body></html>\n"
    )
    return text.encode()


class ReportServer(ThreadingHTTPServer):
    """Serves the reports and the searches of `data` on 127.0.0.1. port: 0 for any that is free."""

    daemon_threads = True

    def __init__(self, data: DataFolder, port: int) -> None:
        self.data = data
        self.live = LivePages(data.root)
        super().__init__((HOST, port), ReportHandler)


def main(arguments: list[str] | None = None) -> int:
    """Serve the reports of the data folder until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3080, help="port on 127.0.0.1")
    with ReportServer(DataFolder.default(), parser.parse_args(arguments).port) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
