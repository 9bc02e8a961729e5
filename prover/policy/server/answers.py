"""Reading completions: the text, and the log-probs of the tokens that make up its tactic.

Servers agree on the text and on little else. Tokens come as texts, as the vocabulary's own spelling, as lists of bytes
or as numbers; log-probs in two arrays or in a list of objects, sometimes null, NaN or infinite.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prover.json_types import JsonObject

_TOKEN_ID = re.compile(r"token_id:(\d+)")
_BYTES = re.compile(r"(?:bytes:)?(?:\\x[0-9a-fA-F]{2})+")
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPELLING = str.maketrans({"Ġ": " ", "Ċ": "\n", "▁": " ", "ĉ": "\t"})
_IMPOSSIBLE = -9000.0
"""Servers write minus infinity as a number like -9999."""


class UnreadableChoice(Exception):
    """A choice that is left out. `reason` is a word for the counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoLogProbs(Exception):
    """The choice has a text and no log-probs at all."""


@dataclass(frozen=True, slots=True)
class Scored:
    """log_prob: nats, over the tokens up to the end of the tactic. n_tokens: those of the tactic, without its end."""

    log_prob: float
    n_tokens: int
    first_unknown: bool = False
    """The server gave no log-prob for the first token; it is not part of the sum."""


def text_of(choice: JsonObject) -> str:
    """A choice's text. UnreadableChoice if there is none that Lean could be given."""
    text = choice.get("text")
    if text is None and isinstance(choice.get("message"), dict):
        text = choice["message"].get("content")
    if not isinstance(text, str):
        raise UnreadableChoice("no text")
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        raise UnreadableChoice("text that is no Unicode")
    return text


def score(
    choice: JsonObject, text: str, *, whole: bool, decode: Callable[[Sequence[int]], str] | None = None
) -> Scored:
    """The log-prob of a choice's tactic: its first line that says something, or with `whole` all of it.

    decode: of a local tokenizer, for servers that send numbers instead of tokens.
    Raises NoLogProbs, and UnreadableChoice where the log-probs cannot be used or do not belong to the text.
    """
    tokens, values = _tokens_of(choice)
    pieces = _pieces(tokens, text, decode)
    lead = len(text) - len(text.lstrip())
    end = "" if whole else "\n"
    line_ends = bool(end) and end in text[lead:]
    if not line_ends and choice.get("finish_reason") == "length":
        raise UnreadableChoice("cut off")
    if pieces is None:
        if line_ends and text[lead:].partition("\n")[2].strip():
            raise UnreadableChoice("tokens that do not spell the text")
        count = len(values)  # nothing stands behind the line's end, so every token belongs to the tactic
        n_tokens = max(1, count - 1) if line_ends or choice.get("finish_reason") == "stop" else count
        return _sum(values, n_tokens)
    read, count, n_tokens = "", 0, 0
    for piece in pieces:
        read += piece
        count += 1
        if line_ends and "\n" in read.lstrip():
            break
        n_tokens += 1
    return _sum(values[:count], n_tokens)


def _sum(values: Sequence[object], n_tokens: int) -> Scored:
    total, first_unknown = 0.0, False
    for index, value in enumerate(values):
        if value is None and index == 0 and len(values) > 1:
            first_unknown = True
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnreadableChoice("a log-prob that is no number")
        if not math.isfinite(value) or value > 1e-3 or value < _IMPOSSIBLE:
            raise UnreadableChoice("a log-prob that cannot be")
        total += min(float(value), 0.0)
    return Scored(total, n_tokens, first_unknown)


def _tokens_of(choice: JsonObject) -> tuple[list[object], list[object]]:
    """(tokens, log-probs) of any of the known forms."""
    found = choice.get("logprobs")
    if isinstance(found, dict) and isinstance(found.get("content"), list):
        found = found["content"]
    if isinstance(found, dict):
        tokens, values = found.get("tokens"), found.get("token_logprobs")
        if isinstance(tokens, list) and isinstance(values, list) and tokens:
            if len(tokens) != len(values):
                raise UnreadableChoice("tokens without log-probs")
            return tokens, values
        found = None
    if not isinstance(found, list):
        found = choice.get("completion_probabilities")
    if not isinstance(found, list) and isinstance(choice.get("meta_info"), dict):
        found = choice["meta_info"].get("output_token_logprobs")
    if not isinstance(found, list) or not found:
        raise NoLogProbs
    pairs = [_pair(entry) for entry in found]
    return [token for token, _ in pairs], [value for _, value in pairs]


def _pair(entry: object) -> tuple[object, object]:
    """(token, log-prob) of one entry of a list: an object, or SGLang's own [log-prob, number, text]."""
    if isinstance(entry, dict):
        raw = entry.get("bytes")
        if isinstance(raw, list) and raw and all(type(byte) is int and 0 <= byte < 256 for byte in raw):
            return bytes(raw), entry.get("logprob")
        return entry.get("token", entry.get("content", entry.get("id"))), entry.get("logprob")
    if isinstance(entry, list) and len(entry) >= 2:
        return entry[2] if len(entry) > 2 and entry[2] is not None else entry[1], entry[0]
    raise UnreadableChoice("log-probs of an unknown form")


def _pieces(tokens: Sequence[object], text: str, decode: Callable[[Sequence[int]], str] | None) -> list[str] | None:
    """The tokens as texts that spell the completion, as far as line ends go; None if they do not."""
    numbers = [_number(token) for token in tokens]
    if all(number is not None for number in numbers):
        if decode is None:
            return None
        pieces = [decode([number]) for number in numbers if number is not None]
    else:
        pieces = [_text_of_token(token) for token in tokens]
    for spelt in (pieces, [piece.translate(_SPELLING) for piece in pieces]):
        if _spells("".join(spelt), text):
            return spelt
    return None


def _number(token: object) -> int | None:
    if isinstance(token, int) and not isinstance(token, bool):
        return token
    match = _TOKEN_ID.fullmatch(token) if isinstance(token, str) else None
    return int(match[1]) if match else None


def _text_of_token(token: object) -> str:
    """A token's text; bytes that are no character of their own become U+FFFD."""
    if isinstance(token, str):
        if match := _BYTE.fullmatch(token):
            token = bytes([int(match[1], 16)])
        elif _BYTES.fullmatch(token):
            token = bytes(int(code, 16) for code in re.findall(r"\\x([0-9a-fA-F]{2})", token))
        else:
            return token
    if isinstance(token, bytes):
        return token.decode("utf-8", "replace")
    raise UnreadableChoice("tokens of an unknown form")


def _spells(joined: str, text: str) -> bool:
    """Whether tokens spell the text. Only ASCII counts: a character may be cut in two by tokens. What stands behind the
    text is the stop text or an end-of-sequence token, which the text leaves out."""
    ascii_joined = "".join(character for character in joined if character < "\x80").strip(" ")
    ascii_text = "".join(character for character in text if character < "\x80").strip(" ")
    return ascii_joined.startswith(ascii_text)
