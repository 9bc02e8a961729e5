"""The entries of a data file, as they are: JSON, JSON Lines (also named `.json`, also gzipped) and Parquet."""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from prover.trajectory.reader import TrajectoryError


class TraceFileError(TrajectoryError):
    """A file of traces that cannot be used. The message names the file, the line or row and the field of each fault."""


def raw_entries(path: Path) -> Iterator[tuple[int, object]]:
    """(line, entry) of JSON Lines, (number, entry) of a JSON list, (row, entry) of a table; all from 1.

    A JSON document is a list, or an object with a list `theorems`, or one entry; one that goes on behind its end is
    JSON Lines under another name. Raises `TraceFileError`.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".parquet"]:
        yield from _parquet(path)
        return
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind not in (".json", ".jsonl", ".ndjson"):
        raise TraceFileError(f"{path}: expected a file named .json, .jsonl, .jsonl.gz or .parquet")
    text = _text(path)
    if kind == ".json":
        try:
            document = json.loads(text)
        except RecursionError:
            raise TraceFileError(f"{path}: is nested too deeply") from None
        except ValueError as error:
            if not (isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"):
                raise TraceFileError(f"{path}: is not JSON: {error}") from None
        else:
            listed = document.get("theorems") if isinstance(document, dict) and "path" not in document else document
            items = listed if isinstance(listed, list) else [document]
            yield from enumerate(items, start=1)
            return
    yield from _lines(path, text)


def _lines(path: Path, text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except RecursionError:
                raise TraceFileError(f"{path}, line {number}: is nested too deeply") from None
            except ValueError as error:
                raise TraceFileError(f"{path}, line {number}: is not a JSON object: {error}") from None


def _parquet(path: Path) -> Iterator[tuple[int, object]]:
    import pyarrow.parquet

    from prover.parquet import UNREADABLE

    row = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
        for batch in file.iter_batches(batch_size=1024):
            for entry in batch.to_pylist():
                row += 1
                yield row, entry
    except UNREADABLE as error:
        raise TraceFileError(f"{path}: not a Parquet file that can be read, after row {row}: {error}") from None


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read()
    except (OSError, EOFError, zlib.error) as error:
        raise TraceFileError(f"{path}: cannot be read: {error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TraceFileError(f"{path}, line {line}: is not UTF-8 text; save the file as UTF-8") from None


def file_digest(path: Path) -> str:
    """32 hex digits of BLAKE2b over the file."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
