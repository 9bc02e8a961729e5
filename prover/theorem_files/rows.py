"""From files to entries: JSON, JSON Lines and Parquet, gzip and zstd, folders. Nothing here knows theorems."""

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from prover.theorem_files.problems import Problem, TheoremFileError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".lean")
"""Kinds of files that hold theorems; all but Parquet may also be compressed: `.jsonl.gz`, `.jsonl.zst`."""
_COMPRESSION = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a file. `line`: where it starts, or its row in a table, from 1. `fault`: why it cannot be read."""

    line: int | None
    value: object
    fault: str | None = None


def kind_of(path: Path) -> str:
    """The suffix that tells what is in a file, without that of a compression: `.jsonl` for `x.jsonl.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in _COMPRESSION else path.suffix.lower()


def files_in(source: Path) -> list[Path]:
    """The theorem files that a path names: the file itself, or those in the folder, searched downwards, by name.

    A folder with Lean files is taken for those alone. Hidden folders (`.lake`, `.git`) are left out. Raises
    TheoremFileError for a folder without any.
    """
    if not source.is_dir():
        return [source]
    found = [
        path
        for path in sorted(source.rglob("*"))
        if kind_of(path) in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
    ]
    lean = [path for path in found if kind_of(path) == ".lean" and path.name != "lakefile.lean"]
    if not (lean or found):
        raise TheoremFileError([_whole(source, f"is a folder without any file that ends in {', '.join(SUFFIXES)}")])
    return lean or found


def entries_of(path: Path, wanted: frozenset[str]) -> Iterable[Entry]:
    """The entries of a JSON, JSON Lines or Parquet file. Raises TheoremFileError where it cannot be read on.

    wanted: the columns of a table that are read at all.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        return _parquet_entries(path, wanted)
    if kind == ".json":
        return _json_entries(path, wanted)
    if kind in (".jsonl", ".ndjson"):
        return _jsonl_entries(path)
    raise TheoremFileError([_whole(path, f"the file name ends in {path.suffix!r}; expected {', '.join(SUFFIXES)}")])


def columns_of(path: Path) -> list[str] | None:
    """The columns of a table; None for other files. Raises TheoremFileError."""
    if kind_of(path) != ".parquet":
        return None
    import pyarrow.parquet

    from prover.parquet import UNREADABLE

    try:
        names: list[str] = pyarrow.parquet.read_schema(path).names
    except UNREADABLE as error:
        raise TheoremFileError([_whole(path, f"is not a readable Parquet file: {_one_line(error)}")]) from None
    return names


def read_text(path: Path) -> str:
    """The text of a file, decompressed, without a byte-order mark. Raises TheoremFileError."""
    try:
        with _opened(path) as stream:
            data = stream.read()
    except (EOFError, OSError, zlib.error) as error:
        raise TheoremFileError([_whole(path, f"cannot be read: {error}")]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TheoremFileError([Problem(str(path), line, None, _NOT_UTF8)]) from None


_NOT_UTF8 = "is not UTF-8 text; save the file as UTF-8"


def _whole(path: Path, message: str) -> Problem:
    return Problem(str(path), None, None, message)


def _opened(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed by what its name says. Raises OSError."""
    compression = _COMPRESSION.get(path.suffix.lower())
    if compression is None:
        return open(path, "rb")
    if compression == "gzip":
        import gzip
        import io

        unpacked: IO[bytes] = io.BufferedReader(gzip.GzipFile(path, "rb"), 1 << 20)
        return unpacked
    import io

    import pyarrow

    stream: IO[bytes] = io.BufferedReader(pyarrow.input_stream(str(path), compression=compression), 1 << 20)
    return stream


def _jsonl_entries(path: Path) -> Iterator[Entry]:
    try:
        with _opened(path) as stream:
            for line, data in enumerate(stream, start=1):
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                if not data.isspace():
                    yield _parsed(line, data)
    except (EOFError, OSError, zlib.error) as error:
        raise TheoremFileError([_whole(path, f"cannot be read: {error}")]) from None


def _parsed(line: int, data: bytes) -> Entry:
    try:
        return Entry(line, json.loads(data.decode("utf-8")))
    except UnicodeDecodeError:
        return Entry(line, None, _NOT_UTF8)
    except (ValueError, RecursionError) as error:
        return Entry(line, None, f"is not a JSON object: {_fault(error)}; expected one object a line")


def _fault(error: ValueError | RecursionError) -> str:
    """What the JSON parser found wrong with a text."""
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at column {error.colno}"
        case RecursionError():
            return "it is nested too deeply"
    return "a number in it has too many digits"


def _json_entries(path: Path, wanted: frozenset[str]) -> Iterable[Entry]:
    """The list in a JSON document, or JSON Lines under the name of one."""
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data" and _begins_with_lines(text):
            return _jsonl_entries(path)
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise TheoremFileError([Problem(str(path), line, None, f"is not JSON: {_fault(error)}")]) from None
    if isinstance(document, dict) and document.keys() & wanted and ("theorems" not in document or "path" in document):
        return [Entry(1, document)]  # one entry alone
    entries = document.get("theorems") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        message = 'expected {"theorems": [...]}, a list of theorems, or one object a line'
        raise TheoremFileError([Problem(str(path), None, "theorems", message)])
    return (Entry(line, entry) for line, entry in zip(_entry_lines(text), entries, strict=True))


def _begins_with_lines(text: str) -> bool:
    try:
        return isinstance(json.loads(text.lstrip().split("\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return False


def _entry_lines(text: str) -> Iterator[int]:
    """The line on which each element of the list of theorems starts, in valid JSON text."""
    decoder = json.JSONDecoder()

    def skip(position: int, characters: str = "") -> int:
        while text[position] in " \t\r\n" + characters:
            position += 1
        return position

    position = skip(0)
    if text[position] == "{":
        start = None
        position = skip(position + 1)
        while text[position] != "}":
            key, position = decoder.raw_decode(text, position)
            position = skip(position, ":")
            if key == "theorems":
                start = position  # the last of equal keys counts, as it does in json.loads
            _, position = decoder.raw_decode(text, position)
            position = skip(position, ",")
        assert start is not None
        position = start
    position = skip(position + 1)
    line, counted = 1, 0
    while text[position] != "]":
        line += text.count("\n", counted, position)
        counted = position
        yield line
        _, position = decoder.raw_decode(text, position)
        position = skip(position, ",")


def _parquet_entries(path: Path, wanted: frozenset[str]) -> Iterator[Entry]:
    import pyarrow.parquet

    from prover.parquet import UNREADABLE

    try:
        file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
        columns = [name for name in file.schema_arrow.names if name in wanted]
        row = 0
        for batch in file.iter_batches(columns=columns, batch_size=4096):
            for entry in batch.to_pylist():
                row += 1
                yield Entry(row, entry)
    except UNREADABLE as error:
        raise TheoremFileError([_whole(path, f"is not a readable Parquet file: {_one_line(error)}")]) from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
