"""JSON that carries a digest of itself, so that a flipped bit in a number is refused and not read as another number."""

import hashlib
import json
from collections.abc import Mapping

from prover.json_types import JsonValue

DIGEST_KEY = "digest"


def json_text(value: object) -> str:
    """JSON with an indentation of 2; an object gets a last key, `digest`, of all others. Raises ValueError for NaN."""
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key != DIGEST_KEY}
        value[DIGEST_KEY] = _json_digest(json.loads(json.dumps(value, allow_nan=False)))
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_json(text: str) -> JsonValue:
    """JSON as `json_text` writes it, without its digest; any other JSON as it is.

    The digest is checked in text laid out as `json_text` does: who writes the file anew in another layout (a script
    that changes a key) means what is in it. Raises ValueError for text that is no JSON or does not fit its digest.
    """
    value = json.loads(text)
    if isinstance(value, dict) and DIGEST_KEY in value:
        digest = value.pop(DIGEST_KEY)
        if text.startswith('{\n  "') and digest != _json_digest(value):
            raise ValueError(
                f"its content does not fit its `{DIGEST_KEY}`: a part of it was changed since it was written (who "
                "changes it by hand removes that key)"
            )
    return value


def _json_digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
