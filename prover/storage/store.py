"""A folder on a store: bytes in and out, each request tried again, and what went wrong in one sentence."""

import logging
import os
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from prover.files import file_digest, sync_folder

logger = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 5
"""How often a request is made in all, where its failure may heal by itself."""
FIRST_WAIT_S = 0.2
"""Wait before the second try; each later one is twice as long."""
EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Scheme -> extra of this project that installs its client."""
_OPTIONS: dict[str, dict[str, object]] = {
    # The retries of botocore and ours multiply: a store that is not there should be said within seconds.
    "s3": {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 2}, "connect_timeout": 10}}
}
_CLIENTS = ("aiobotocore", "aiohttp", "adlfs", "azure", "botocore", "fsspec", "gcsfs", "google", "s3fs", "urllib3")
"""Packages whose errors say what is wrong with a store."""
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError")


class StorageError(OSError):
    """A store cannot be used. The message names the place, what is wrong and what to do."""


class Store:
    """The folder at a URL. Names are relative to it, with `/` between folders.

    Raises StorageError for a scheme that nothing installed here can read.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        scheme = url.partition("://")[0].lower()
        try:
            self._files, path = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        except ImportError as error:
            extra = EXTRAS.get(scheme)
            how = f"pip install -e '.[{extra}]'" if extra else f"install the fsspec client of {scheme}://"
            raise StorageError(f"{url}: {scheme}:// needs a package that is not installed: {how}") from error
        except ValueError as error:
            raise StorageError(f"{url}: {error}; give a path, or a URL such as s3://BUCKET/FOLDER") from error
        self._path = path.rstrip("/")

    def at(self, name: str) -> str:
        """The URL of a name, for people."""
        return f"{self.url}/{name}"

    def _where(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        try:
            return self._ask(name, "read", lambda: bytes(self._files.cat_file(self._where(name))))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file: readers see the old one or the new one, as object stores promise."""
        self._change(name, lambda: self._files.pipe_file(self._where(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet. False if there is one with another content.

        Raises StorageError for a store that cannot do this.
        """
        try:
            self._change(name, lambda: self._files.pipe_file(self._where(name), content, mode="create"))
        except FileExistsError:
            pass  # perhaps ours: the answer to an earlier try was lost
        except (TypeError, NotImplementedError) as error:
            raise StorageError(
                f"{self.url}: this store cannot make a file only where there is none, so a lock would not hold on it; "
                "work in a local folder and copy it there"
            ) from error
        return self.read(name) == content

    def download(self, name: str, path: Path, *, size: int | None = None, digest: str | None = None) -> bool:
        """Copy a file to `path`, under a temporary name first. False if it is not of that size and SHA-256 digest.

        A transfer that was cut off is made again. Raises FileNotFoundError where there is none.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")

        def fetch() -> bool:
            wanted = self._size(name) if size is None else size
            self._files.get_file(self._where(name), str(temporary))
            got = temporary.stat().st_size
            if got < wanted:
                raise ConnectionError(f"{got} of {wanted} bytes arrived")
            return got == wanted and (digest is None or file_digest(temporary) == digest)

        try:
            if not self._ask(name, "read", fetch):
                return False
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def upload(self, path: Path, name: str) -> None:
        """Copy a file to the store. Raises StorageError unless all of it has arrived."""
        size = path.stat().st_size

        def send() -> None:
            self._files.put_file(str(path), self._where(name))
            there = self._size(name)
            if there != size:
                raise ConnectionError(f"{there} of {size} bytes are there")

        self._change(name, send)

    def copy(self, name: str, other: str) -> None:
        """Copy a file within the store; nothing where there is none."""
        try:
            self._change(other, lambda: self._files.cp_file(self._where(name), self._where(other)), missing=True)
        except FileNotFoundError:
            return

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            self._change(name, lambda: self._files.rm_file(self._where(name)), missing=True)
        except FileNotFoundError:
            return

    def modified(self, name: str) -> datetime | None:
        """When a file was written, by the store's clock; None where there is none."""
        try:
            return self._ask(name, "read", lambda: self._files.modified(self._where(name)))
        except FileNotFoundError:
            return None

    def find(self, below: str = "") -> list[str]:
        """The names of all files below a folder of the store, relative to the store's URL, sorted."""
        prefix = self._path.lstrip("/") + "/"
        found = self._ask(below, "read", lambda: self._files.find(self._where(below)))
        return sorted(str(path).lstrip("/").removeprefix(prefix) for path in found)

    def is_file(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return bool(self._ask(name, "read", lambda: self._files.isfile(self._where(name))))

    def _size(self, name: str) -> int:
        return int(self._files.info(self._where(name))["size"])

    def _change(self, name: str, call: Callable[[], object], *, missing: bool = False) -> None:
        """Make a request that writes. What is missing for a write is the bucket, unless `missing` is expected."""
        try:
            self._ask(name, "written", call)
        except FileNotFoundError as error:
            if missing:
                raise
            raise StorageError(
                f"{self.at(name)} cannot be written: there is no such bucket; make it, or correct the address"
            ) from error

    def _ask(self, name: str, doing: str, call: Callable[[], T]) -> T:
        """Make a request, again if its failure may heal. Raises StorageError, FileNotFoundError, FileExistsError."""
        where = self.at(name) if name else self.url
        for attempt in range(1, TRIES + 1):
            try:
                return call()
            except (FileNotFoundError, FileExistsError, TypeError, NotImplementedError):
                raise
            except Exception as error:
                refused = isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS
                if not (isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS):
                    raise
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                if refused:
                    raise StorageError(
                        f"{where} cannot be {doing}: the store refuses these credentials ({reason}); give others, for "
                        "S3 in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws"
                    ) from error
                if attempt == TRIES:
                    raise StorageError(
                        f"{where} cannot be {doing}: {reason}, {TRIES} times; look at the network and the address "
                        "(for S3, AWS_ENDPOINT_URL), and run this again"
                    ) from error
                logger.info("%s: %s; try %d of %d follows", where, reason, attempt + 1, TRIES)
            time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
        raise AssertionError("unreachable")
