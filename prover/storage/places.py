"""Which texts name a place on a store, and where its local copies lie."""

import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

WORKING_VARIABLE = "PROVER_STORE_CACHE"
"""Environment variable: the folder of local copies of what lies on stores."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_NOT_STORES = frozenset({"file", "local", "hf", "http", "https"})


def is_url(text: str | os.PathLike[str]) -> bool:
    """Whether a text names a place on a store: `SCHEME://...`, but for `file://`, `hf://` and web addresses."""
    found = _SCHEME.match(text) if isinstance(text, str) else None
    return found is not None and found[1].lower() not in _NOT_STORES


def plain_path(text: str | os.PathLike[str]) -> Path:
    """A path on this machine; `file://` is taken off."""
    if isinstance(text, str) and text.lower().startswith(("file://", "local://")):
        return Path(unquote(urlsplit(text).path))
    return Path(text)


def working_folder(url: str) -> Path:
    """Where the local copy of a place on a store lies: the same for the same URL. It need not exist."""
    given = os.environ.get(WORKING_VARIABLE)
    if given:
        root = Path(given)
    elif os.environ.get("XDG_CACHE_HOME"):
        root = Path(os.environ["XDG_CACHE_HOME"]) / "lean-expert-iteration" / "stores"
    else:
        home = os.path.expanduser("~")
        known = os.path.isabs(home) and os.access(home, os.W_OK)
        base = Path(home) / ".cache" if known else Path(tempfile.gettempdir()) / f"prover-{os.getuid()}"
        root = base / "lean-expert-iteration" / "stores"
    url = url.rstrip("/")
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", url)[-60:].strip("-.")
    return root.absolute() / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
