"""What is asked of a server before a search: is it there, which model is it, how does it answer."""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from prover.files import write_atomic
from prover.json_types import JsonObject
from prover.policy.server.config import ServerConfig
from prover.policy.server.connection import Connection
from prover.policy.server.errors import RequestRefusedError, ServerPolicyError, ServerUnavailableError
from prover.policy.server.patience import Patience
from prover.settings import nearest

logger = logging.getLogger(__name__)

PROBE_STATES = ("p q : Prop\nh : p ∧ q\n⊢ q ∧ p", "n : Nat\n⊢ n + 0 = n")
"""States whose greedy completions tell one set of weights from another."""
PROBE_TOKENS = 8
_SAME_LOG_PROB = 0.02  # nats; the same weights differ by less from one start to the next
_LEADING_TOKEN = re.compile(r"<[^<>\s]+>")


@dataclass(slots=True)
class ServerFacts:
    """What a server says of itself. Empty where it says nothing."""

    root: str = ""
    """Where its weights come from: vLLM's `root`, llama.cpp's `model_path`."""
    owner: str = ""
    """Which program serves, as far as /models says: vllm, sglang, llamacpp, ..."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    slots: int | None = None
    """Completions it can make of one request (llama.cpp)."""
    notes: list[str] = field(default_factory=list)
    """What could not be found out."""

    def sentence(self) -> str:
        """What is known, in words."""
        length = "context not said" if self.context_length is None else f"context {self.context_length} tokens"
        known = [self.owner and f"by {self.owner}", self.root and f"weights {self.root}", length]
        if self.slots is not None:
            known.append(f"{self.slots} completions of a request")
        return ", ".join(part for part in [*known, *self.notes] if part)


def ask_once(config: ServerConfig) -> ServerFacts:
    """`read_facts` of a server that is not waited for."""
    return read_facts(Connection(replace(config, wait_s=0, retries=0), Patience()))


def read_facts(connection: Connection) -> ServerFacts:
    """Ask /models, and check that the configured name is listed there.

    Raises ServerPolicyError if nothing answers, a key is missing, or the name is not served.
    """
    config = connection.config
    address = f"{config.url.rstrip('/')}/models"
    facts = ServerFacts()
    try:
        answer = connection.get(address)
    except RequestRefusedError as error:
        facts.notes.append(f"it lists no models ({error.status})")
        return facts
    except ServerUnavailableError as error:
        if error.status is None:
            raise ServerUnavailableError(f"{error}. Start the server first, or correct the address.") from error
        answer = connection.ask(address)  # it is there, and still loading its model
    listed = answer.get("data") if isinstance(answer, dict) else None
    models = {str(name): one for one in listed or [] if isinstance(one, dict) for name in _names(one)}
    if not models:
        facts.notes.append("it lists no models")
        return facts
    if config.model not in models:
        raise ServerPolicyError(
            f"{config.url} does not serve {config.model!r} (the part after `#`); {nearest(config.model, models)}"
        )
    _read_model(facts, models[config.model])
    if facts.owner == "llamacpp":
        _read_props(facts, connection)
    return facts


def _names(model: JsonObject) -> list[object]:
    aliases = model.get("aliases")
    return [model.get("id"), *(aliases if isinstance(aliases, list) else [])]


def _read_model(facts: ServerFacts, model: JsonObject) -> None:
    facts.root = str(model.get("root") or "")
    facts.owner = str(model.get("owned_by") or "").lower()
    meta = model.get("meta") if isinstance(model.get("meta"), dict) else {}
    assert isinstance(meta, dict)
    length = model.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train")
    facts.context_length = length if isinstance(length, int) and length > 0 else None
    if not facts.root and meta:
        facts.root = json.dumps({name: meta.get(name) for name in ("n_params", "n_embd", "size")})


def _read_props(facts: ServerFacts, connection: Connection) -> None:
    """llama.cpp's own page: how many slots there are, and how long each one's context is."""
    try:
        props = connection.get(f"{base_of(connection.config.url)}/props")
    except ServerPolicyError as error:
        facts.notes.append(f"no /props ({error})")
        return
    if not isinstance(props, dict):
        return
    settings = props.get("default_generation_settings")
    length = settings.get("n_ctx") if isinstance(settings, dict) else None
    if isinstance(length, int) and length > 0:
        facts.context_length = length
    slots = props.get("total_slots")
    facts.slots = slots if isinstance(slots, int) and slots > 0 else None


def base_of(url: str) -> str:
    """The server's address without the API's version: tokenizing and pooling live there."""
    return re.sub(r"/v\d+/?$", "", url.rstrip("/"))


def server_tokens(connection: Connection, prompt: str, *, add_special: bool) -> int | None:
    """How many tokens the server makes of a prompt (vLLM and llama.cpp say); None where it does not say."""
    config = connection.config
    body = {
        "model": config.model,
        "prompt": prompt,
        "content": prompt,
        "add_special_tokens": add_special,
        "add_special": add_special,
    }
    try:
        answer = connection.post_once(f"{base_of(config.url)}/tokenize", body)
    except ServerPolicyError:
        return None
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    return len(tokens) if isinstance(tokens, list) else None


def without_leading_token(prompt: str) -> str | None:
    """A prompt without the special token that it begins with, as its text writes it; None if it begins with none."""
    match = _LEADING_TOKEN.match(prompt)
    return prompt[match.end() :] if match else None


class _Probe(TypedDict):
    """A server seen before."""

    digest: str
    log_probs: list[float]
    """Nats, of the greedy completions of the probes."""


class ProbeBook:
    """Digests of servers seen before, in a file, so that rounding does not make the same weights another policy.

    A server whose probes agree with remembered ones to .02 nats gets the remembered digest.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def digest(self, model: str, tokens: Sequence[str], log_probs: Sequence[float]) -> str:
        """Hex digest of a server's weights, as far as its probes tell. tokens, log_probs: of the greedy completions."""
        known = self._read()
        name = hashlib.sha256("\n".join([model, *tokens]).encode("utf-8", "surrogatepass")).hexdigest()
        for entry in known.get(name, []):
            seen = entry["log_probs"]
            if len(seen) == len(log_probs) and all(
                abs(one - other) <= _SAME_LOG_PROB for one, other in zip(seen, log_probs, strict=True)
            ):
                return str(entry["digest"])
        rounded = [round(value, 2) for value in log_probs]
        digest = hashlib.sha256(json.dumps([name, rounded]).encode()).hexdigest()[:32]
        known.setdefault(name, []).append({"digest": digest, "log_probs": list(log_probs)})
        self._write(known)
        return digest

    def _read(self) -> dict[str, list[_Probe]]:
        if self.path is None or not self.path.is_file():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {
                str(name): [
                    {"digest": str(one["digest"]), "log_probs": [float(v) for v in one["log_probs"]]} for one in some
                ]
                for name, some in found.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("%s cannot be read (%s) and is made anew; it only remembers servers.", self.path, error)
            return {}

    def _write(self, known: dict[str, list[_Probe]]) -> None:
        if self.path is None or not self.path.parent.is_dir():
            return
        text = json.dumps(known)
        try:
            write_atomic(self.path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        except OSError as error:
            logger.warning("%s cannot be written (%s): this server is not remembered.", self.path, error)
