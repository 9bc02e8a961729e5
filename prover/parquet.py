"""Parquet files that carry a digest of themselves, so that damage is refused and never read as other data.

A page checksum covers the data of a page, not the page's header and not the file's footer, where one flipped bit can
rename a column or cut off rows. So our files also hold, in the footer's key-value metadata, a SHA-256 digest of the
whole file, computed with zeros in the digest's own place. Files without it (made elsewhere, or by an older version) are
read too; of these, what Arrow can check is checked.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

T = TypeVar("T")

DIGEST_KEY = "prover.digest"
_DIGITS = 64  # of a SHA-256 digest in hex
_BLANK = b"0" * _DIGITS
# A key and a value as the footer's Thrift encoding writes them: field header 0x18 (a string), length, bytes.
_MARK = DIGEST_KEY.encode() + bytes([0x18, _DIGITS])
_TAIL_BYTES = 8  # length of the footer (4 bytes, little-endian) and the magic number
_MAGIC = b"PAR1"
_BLOCK = 1 << 20
_ROWS_AT_ONCE = 250_000  # a file with more rows is read column by column

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError)
"""What Arrow raises on a damaged file: besides its own errors, those of sizes and texts that make no sense."""


class ParquetDamaged(ValueError):
    """A Parquet file that is damaged, or no Parquet file. The message is the reason, without the file's name."""


def write_sealed(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables as row groups with page checksums, then the digest. Not atomic: give a temporary name.

    Raises OSError.
    """
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=max(1, len(table)))
        writer.add_key_value_metadata({DIGEST_KEY: _BLANK.decode()})
    place = _digest_place(path)
    if place is None:
        raise OSError(f"the footer that this pyarrow ({pa.__version__}) wrote has no place for a digest")
    digest = _digest_without(path, place)
    with path.open("rb+") as file:
        file.seek(place)
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def read_table(path: Path, columns: Sequence[str] | None = None, *, sealed: bool | None = None) -> pa.Table:
    """The rows of a file, its digest and page checksums verified where it has them.

    sealed: what `checked_columns` has just said of the file, so that its digest is not computed again.

    Raises ParquetDamaged for anything that cannot be read or was changed since it was written, FileNotFoundError for a
    missing file.
    """
    sealed = check(path) if sealed is None else sealed
    # Not `pq.read_table`: its datasets import pandas, which takes longer than most of our files.
    with _opened(path, None) as file:
        table = file.read(columns=columns)
        if columns is not None:
            table = table.select(columns)  # in this order, and an error where one is missing
        if not sealed:
            table.validate(full=True)  # texts that are not UTF-8 and offsets out of bounds end other libraries
    return table


def read_columns(path: Path, names: Sequence[str], use: Callable[[pa.Table], T], *, sealed: bool) -> list[T]:
    """What `use` makes of the columns `names` of a file: called for all of them, or for one after the other in a large
    file, where what Arrow holds of a column is given back before the next one is read.

    use: takes a table that has some of the columns and all of the rows. sealed: what `checked_columns` said of the
    file. Raises as `read_table`, and what `use` raises.
    """
    with _opened(path, None) as file:
        footer = file.metadata
    if footer.num_rows <= _ROWS_AT_ONCE:
        return [use(read_table(path, names, sealed=sealed))]
    made = []
    for name in names:
        made.append(use(_column(path, name, footer, sealed=sealed)))
        pa.default_memory_pool().release_unused()
    return made


def _column(path: Path, name: str, footer: pq.FileMetaData, *, sealed: bool) -> pa.Table:
    with _opened(path, footer) as file:
        table = file.read([name], use_threads=False)  # memory that other threads took is not given back
        if not sealed:
            table.validate(full=True)
    return table


def checked_columns(path: Path) -> tuple[list[str], bool]:
    """The columns of a file, and whether it has a digest, which is verified. Raises as `read_table`."""
    sealed = check(path)
    with _readable():
        return list(pq.read_schema(path).names), sealed


class RowGroups:
    """The row groups of a file, read one at a time, so that a file of any size needs little memory.

    The digest is verified once, when this is made; page checksums with each reading. No file is kept open. Raises
    ParquetDamaged and FileNotFoundError, as `read_table`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._footer: pq.FileMetaData | None = None
        check(path)
        with self._open() as file:
            if file.num_row_groups > 1:  # a footer grows with the groups: it is not read anew for each of them
                self._footer = file.metadata
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        self.starts = list(accumulate(sizes, initial=0))[:-1]
        """First row of each group, counted from 0 over the file."""

    def read(self, number: int) -> pa.Table:
        """The rows of a group, from 0."""
        with self._open() as file:
            return file.read_row_group(number, use_threads=False)

    def _open(self) -> AbstractContextManager[pq.ParquetFile]:
        return _opened(self.path, self._footer)


@contextmanager
def _opened(path: Path, footer: pq.FileMetaData | None) -> Iterator[pq.ParquetFile]:
    options = {"page_checksum_verification": True, "pre_buffer": False}
    with _readable(), pq.ParquetFile(path, metadata=footer, **options) as file:
        yield file


@contextmanager
def _readable() -> Iterator[None]:
    """What Arrow raises while it reads, as ParquetDamaged. A missing file stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise ParquetDamaged(f"it cannot be read as Parquet ({_one_line(error)})") from error


def check(path: Path) -> bool:
    """Compare a file with its digest. Returns False for one without a digest. Raises ParquetDamaged."""
    try:
        place = _digest_place(path)
        if place is None:
            return False
        with path.open("rb") as file:
            file.seek(place)
            stored = file.read(_DIGITS)
        if stored != _digest_without(path, place):
            raise ParquetDamaged("its content is not what was written: a part of it was changed or lost")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ParquetDamaged(f"it cannot be read ({error.strerror or error})") from error
    return True


def _digest_place(path: Path) -> int | None:
    """Where the digest's digits begin, in bytes from the start; None for a file without one.

    Raises ParquetDamaged for a file that does not begin and end as Parquet does.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < _TAIL_BYTES + len(_MAGIC):
            raise ParquetDamaged(f"it has {size} bytes, too few for a Parquet file: it was cut off, or never written")
        file.seek(size - _TAIL_BYTES)
        tail = file.read(_TAIL_BYTES)
        file.seek(0)
        start = file.read(len(_MAGIC))
        if start != _MAGIC or tail[4:] != _MAGIC:
            raise ParquetDamaged("it does not begin and end as a Parquet file does: it was cut off, or is another kind")
        length = int.from_bytes(tail[:4], "little")
        begin = size - _TAIL_BYTES - length
        if begin < len(_MAGIC):
            raise ParquetDamaged("its footer is longer than the file: a part of it was changed or lost")
        file.seek(begin)
        footer = file.read(length)
    found = footer.rfind(_MARK)
    return None if found < 0 else begin + found + len(_MARK)


def _digest_without(path: Path, place: int) -> bytes:
    """The digest of the file as it is with zeros in the digest's place, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = place
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise ParquetDamaged("it was cut off while it was read")
            digest.update(block)
            left -= len(block)
        digest.update(_BLANK)
        file.seek(place + _DIGITS)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest().encode()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
