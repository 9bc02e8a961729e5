"""Theorem sets on the Hugging Face hub: downloaded only where the user writes `hf://`, and said so."""

import logging
from pathlib import Path

from prover.theorem_files.problems import Problem, TheoremFileError
from prover.theorem_files.rows import SUFFIXES

logger = logging.getLogger(__name__)

PREFIX = "hf://"


def is_remote(source: str) -> bool:
    """Whether a source names a data set on the hub rather than a file."""
    return source.startswith(PREFIX)


def local_copy(source: str) -> tuple[Path, str | None]:
    """(downloaded file or folder, split or None) of `hf://OWNER/NAME`, `hf://OWNER/NAME/FILE`, either with `:SPLIT`.

    Raises TheoremFileError where it cannot be downloaded.
    """
    address, _, split = source.removeprefix(PREFIX).removeprefix("datasets/").partition(":")
    owner, _, rest = address.partition("/")
    name, _, file = rest.partition("/")
    if not owner or not name:
        raise TheoremFileError([Problem(source, None, None, "names no data set; expected `hf://OWNER/NAME[/FILE]`")])
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        message = "needs the package huggingface_hub; install it, or download the file and give its path"
        raise TheoremFileError([Problem(source, None, None, message)]) from None
    logger.warning(
        "%s is downloaded from the Hugging Face hub, for you asked for it by `%s`", f"{owner}/{name}", PREFIX
    )
    patterns = [file] if file else [f"*{suffix}{more}" for suffix in SUFFIXES for more in ("", ".gz", ".zst")]
    try:
        folder = snapshot_download(f"{owner}/{name}", repo_type="dataset", allow_patterns=patterns)
    except (OSError, ValueError) as error:  # the hub's errors are of these two kinds
        said = " ".join(str(error).split())[:200]
        raise TheoremFileError([Problem(source, None, None, f"cannot be downloaded: {said}")]) from None
    path = Path(folder) / file if file else Path(folder)
    if not path.exists():
        raise TheoremFileError([Problem(source, None, None, f"the data set has no file {file}")])
    return path, split or None
