"""Names for JSON that was parsed and is read piece by piece."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

JsonValue: TypeAlias = Any
"""JSON as it was parsed: text, a number, a boolean, None, a list or an object.

The type says nothing, because the file or the program that it is from may say anything. The function that first reads
it checks what it needs (`from_dict` of a settings dataclass, `read_...` of a record) and raises an error that names the
file and the key. What is only written, passed on or printed is an `object` or a `Mapping[str, object]` instead.
"""

JsonObject: TypeAlias = Mapping[str, JsonValue]
"""A JSON object as it was parsed, by key."""

JsonList: TypeAlias = Sequence[JsonValue]
"""A JSON list as it was parsed."""
