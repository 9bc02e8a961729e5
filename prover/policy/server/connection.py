"""One server over HTTP: requests with their retries, and whatever goes wrong as one sentence."""

import json
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from prover.json_types import JsonObject
from prover.policy.server.config import ServerConfig
from prover.policy.server.errors import (
    ContextTooLongError,
    RequestRefusedError,
    ServerPolicyError,
    ServerUnavailableError,
)
from prover.policy.server.patience import Patience

_GONE = frozenset({502, 503, 504})
_ASKS_TO_WAIT = frozenset({425, 429})
_RETRIED = frozenset({408, 409, 500})
_KEY = frozenset({401, 403})
_TOO_LONG = re.compile(
    r"context.{0,3}(length|size|window)|exceed_context_size|max_model_len|too many tokens|prompt.{0,20} too long|"
    r"(input|prompt|sequence).{0,60}(longer than|exceeds)|tokens.{0,80}(must be <=|exceed)",
    re.IGNORECASE | re.DOTALL,
)
_WORDS = 300
_PING_TIMEOUT_S = 5.0
_HUNG_TRIES = 2


class _Unusable(Exception):
    """An answer that a second try may mend. `wait_s`: what the server asks for."""

    def __init__(self, what: str, kind: str, wait_s: float = 0.0, status: int | None = None) -> None:
        super().__init__(what)
        self.kind, self.wait_s, self.status = kind, wait_s, status


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the key to another address."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


class Connection:
    """Requests to one server. May be used from several threads."""

    def __init__(self, config: ServerConfig, patience: Patience) -> None:
        self.config, self.patience = config, patience
        self._opener = build_opener(_NoRedirect)

    # -- asking ---------------------------------------------------------------------------------------------------

    def get(self, address: str, timeout_s: float = _PING_TIMEOUT_S) -> object:
        """The JSON at an address, tried once. ServerPolicyError says why there is none."""
        try:
            return self._exchange(Request(address, headers=self._headers()), timeout_s)
        except _Unusable as error:
            raise ServerUnavailableError(f"{address}: {error}", error.status) from error

    def post_once(self, address: str, body: Mapping[str, object], timeout_s: float = _PING_TIMEOUT_S) -> object:
        """One try of a request; ServerPolicyError says what went wrong."""
        try:
            return self._exchange(
                Request(address, json.dumps(body).encode(), self._headers(), method="POST"), timeout_s
            )
        except _Unusable as error:
            raise ServerUnavailableError(f"{address}: {error}", error.status) from error

    def post(self, path: str, body: Mapping[str, object]) -> JsonObject:
        """`post_to` a path below the API's address."""
        return self.post_to(f"{self.config.url.rstrip('/')}/{path}", body)

    def post_to(self, address: str, body: Mapping[str, object]) -> JsonObject:
        """`ask` with a body."""
        return self.ask(address, json.dumps(body).encode())

    def ask(self, address: str, data: bytes | None = None) -> JsonObject:
        """The answer to a request, an object. Waits and tries again as the settings say.

        Raises ContextTooLongError, RequestRefusedError, ServerUnavailableError or ServerPolicyError.
        """
        config = self.config
        method = "GET" if data is None else "POST"
        pause, waited, failures, hung = config.backoff_s, 0.0, 0, 0
        while True:
            self.patience.check()
            answered_before = self.patience.answered
            try:
                answer = self._exchange(Request(address, data, self._headers(), method=method), config.timeout_s)
                if not isinstance(answer, dict):
                    raise ServerPolicyError(f"{address} answered {type(answer).__name__}, expected an object")
                self._raise_error_in_answer(address, answer)
            except _Unusable as error:
                wait = min(pause * random.uniform(0.75, 1.25), 30.0)
                pause = min(pause * 2, 30.0)
                if error.kind in ("gone", "busy"):
                    wait = error.wait_s or min(wait, 5.0)
                    left = config.wait_s - waited
                    if wait > left:
                        raise self._gave_up(address, error, waited) from error
                    self.patience.waiting(f"{config.url}: {error}", left)
                    waited += wait
                elif error.kind == "hung":
                    hung += 1
                    self._check_hung(address, error, hung, self.patience.answered > answered_before)
                else:
                    failures += 1
                    if failures > config.retries:
                        raise ServerUnavailableError(
                            f"{address} gave no usable answer in {failures} tries (last: {error}). Check the server's "
                            f"own log, and that it serves {config.model}."
                        ) from error
                    wait = max(wait, error.wait_s)
                self.patience.pause(wait)
            else:
                self.patience.success()
                return answer

    def _gave_up(self, address: str, error: Exception, waited: float) -> ServerUnavailableError:
        config = self.config
        after = f" after {waited:.0f} s of waiting" if waited else ""
        return ServerUnavailableError(
            f"{address} cannot be reached{after} (last: {error}). Check that the server runs "
            f"(curl {config.url}/models) and start the search again with --resume: what is finished is kept."
        )

    def _check_hung(self, address: str, error: Exception, tries: int, others_answered: bool) -> None:
        """Raise unless a second try makes sense: the server is alive, and this request was unlucky."""
        config = self.config
        alive = others_answered
        if not alive:
            try:
                self.get(f"{config.url.rstrip('/')}/models")
                alive = True
            except RequestRefusedError:
                alive = True
            except ServerPolicyError:
                alive = False
        if not alive:
            raise ServerUnavailableError(
                f"{address} hangs: it took the request and {error}, and does not answer {config.url}/models either. "
                "Restart the server and start the search again with --resume: what is finished is kept."
            )
        if tries >= _HUNG_TRIES:
            raise ServerUnavailableError(
                f"{address} {error}, {tries} times, though the server is alive: it is slow. Ask less at once "
                f"(parallel = {config.parallel}) or allow more time (timeout_s = {config.timeout_s:.0f})."
            )

    # -- one exchange ---------------------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.config.api_key:
            headers["Authorization"] = f"Bearer {self.config.api_key}"
        return headers

    def _exchange(self, request: Request, timeout_s: float) -> object:
        address, deadline = request.full_url, time.monotonic() + timeout_s
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                return _parse(self._read(response, deadline, timeout_s))
        except HTTPError as error:
            with error:
                self._raise_status(address, error)
        except TimeoutError as error:  # while it was answering
            raise _Unusable(f"gave no answer within {timeout_s:.0f} s", "hung") from error
        except (URLError, ConnectionError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise _Unusable(f"nothing answers there ({reason})", "gone") from error
        except HTTPException as error:
            raise _Unusable(f"the answer is cut short ({type(error).__name__})", "garbled") from error

    def _read(self, response: HTTPResponse, deadline: float, timeout_s: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(1 << 16):
            size += len(part)
            if size > self.config.max_answer_bytes:
                raise ServerPolicyError(
                    f"{self.config.url} sent an answer of more than {self.config.max_answer_bytes >> 20} MiB: "
                    "that is no list of tactics"
                )
            if time.monotonic() > deadline:
                raise TimeoutError(f"still sending after {timeout_s:.0f} s")
            parts.append(part)
        if response.length:  # read1 does not complain about a body that ends early
            raise _Unusable(f"the answer is cut short ({response.length} bytes are missing)", "garbled")
        return b"".join(parts)

    def _raise_status(self, address: str, error: HTTPError) -> NoReturn:
        try:
            raw = error.read(1 << 16)
        except (OSError, HTTPException):
            raw = b""
        words = _words(raw)
        if 300 <= error.code < 400:
            raise ServerPolicyError(
                f"{address} is redirected to {error.headers.get('Location')}: give that address, if you trust it"
            )
        self._raise_code(address, error.code, words, _retry_after(error.headers.get("Retry-After")))

    def _raise_code(self, address: str, code: int, words: str, wait_s: float) -> NoReturn:
        what = f"HTTP {code} {words}".rstrip()
        if code in _GONE:
            raise _Unusable(what, "gone" if not wait_s else "busy", wait_s, code)
        if code in _ASKS_TO_WAIT:
            raise _Unusable(f"it asks to wait ({what})", "busy", wait_s, code)
        if code in _KEY:
            raise ServerPolicyError(self._about_key(address, what))
        if code in (400, 413, 422, 500) and _TOO_LONG.search(words):
            raise ContextTooLongError(f"{address}: {words}")
        if code in _RETRIED or code > 504:
            raise _Unusable(what, "failed", wait_s, code)
        hint = ""
        if code in (404, 405):
            hint = f" Does the address end in /v1, and does {self.config.url}/models list {self.config.model}?"
        raise RequestRefusedError(f"{address} refused the request: {what}.{hint}", code, words)

    def _about_key(self, address: str, what: str) -> str:
        variable = self.config.api_key_env
        if self.config.api_key:
            return f"{address} does not accept the key that the environment variable {variable} holds ({what})"
        return f"{address} wants a key ({what}): put it into the environment variable {variable}"

    def _raise_error_in_answer(self, address: str, answer: JsonObject) -> None:
        """Some servers send errors with status 200."""
        error = answer.get("error")
        if isinstance(answer.get("choices"), list) or not (error or answer.get("object") == "error"):
            return
        found = error if isinstance(error, dict) else answer
        words = str(found.get("message") or error or found)[:_WORDS]
        code = found.get("code")
        if _TOO_LONG.search(words):
            raise ContextTooLongError(f"{address}: {words}")
        if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
            self._raise_code(address, code, words, 0.0)
        raise RequestRefusedError(f"{address} answered with an error: {words}", 200, words)


def _parse(raw: bytes) -> object:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _Unusable(f"the server's answer is not UTF-8 text: {raw[:80]!r}", "garbled") from error
    except (ValueError, RecursionError) as error:
        raise _Unusable(f"the server's answer is not JSON: {raw[:80]!r}", "garbled") from error


def _words(raw: bytes) -> str:
    """The server's own words in the body of an error: its message where there is one."""
    text = raw.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text[:_WORDS]
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    if isinstance(found, dict):
        found = found.get("message", found)
    return str(found)[:_WORDS]


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 where it says nothing."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(0.0, seconds) if seconds < float("inf") else 0.0
