"""`ServerPolicy`: tactics from an OpenAI-compatible completions endpoint (vLLM, SGLang, llama.cpp's server, ...).

The server generates. Hidden vectors come from a local model or from a pooling endpoint, if one is given, since a
completions endpoint has none.
"""

import copy
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np

from prover.json_types import JsonObject
from prover.policy.base import (
    ENCODER_ADVICE,
    PolicyCounters,
    PolicyInterrupted,
    Repooling,
    StateEncoder,
    TacticCandidate,
    Tokenizing,
)
from prover.policy.prompts import (
    STATE_COMMENT,
    PromptTemplate,
    get_template,
    prompt_key,
    template_for,
    template_identity,
    template_names,
)
from prover.policy.server.answers import NoLogProbs, UnreadableChoice, score, text_of
from prover.policy.server.config import ServerConfig
from prover.policy.server.connection import Connection
from prover.policy.server.errors import ContextTooLongError, RequestRefusedError, ServerPolicyError
from prover.policy.server.parallel import side_by_side
from prover.policy.server.patience import Patience
from prover.policy.server.reading import AnswerReader, ServerCounters
from prover.policy.server.start import (
    PROBE_STATES,
    PROBE_TOKENS,
    ProbeBook,
    ServerFacts,
    read_facts,
    server_tokens,
    without_leading_token,
)
from prover.states import normalise

logger = logging.getLogger(__name__)

_IDENTITY = ("model", "temperature", "top_p", "oversampling", "max_tactic_tokens", "seed")


class ServerPolicy:
    """See `prover.policy.base.FingerprintedPolicy`. encoder: whose vectors `encode_only` gives.

    Without `start` nothing is asked until the first `generate`, and the fingerprint covers name and settings alone.
    With it, it also covers where the server's weights come from and how it completes fixed prompts.
    """

    def __init__(
        self,
        config: ServerConfig,
        encoder: StateEncoder | None = None,
        *,
        open_encoder: Callable[[str, str | None], StateEncoder] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.config = config
        self._use_template(config.template)
        self.counters = PolicyCounters()
        self.facts = ServerFacts()
        self._open_encoder = open_encoder
        self._patience = Patience(sleep)
        self._connection = Connection(config, self._patience)
        self._stop: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._reader = AnswerReader(config.url, self.counters, self._lock)
        self._n_limit: int | None = None  # choices that the server makes of one request, where that is not `n`
        self._drops_first_token = False  # the server puts its own before the prompt
        self._decode: Callable[[Sequence[int]], str] | None = None
        self._identify("")
        self.encoder_source: str = ""
        self._lend(encoder)

    @property
    def answers(self) -> ServerCounters:
        """What happened to the server's answers so far."""
        return self._reader.counters

    def _lend(self, encoder: StateEncoder | None) -> None:
        """Take hidden vectors from `encoder`."""
        self._encoder = encoder
        self.hidden_size: int = encoder.hidden_size if encoder else 0
        self.pooling: str = encoder.pooling if encoder else "none"
        self.encoding_width: int = encoder.encoding_width if encoder else 0
        self.encoder_fingerprint: str = encoder.encoder_fingerprint if encoder else ""

    def use_encoder(self, where: str, pooling: str | None = None) -> None:
        """See `prover.policy.base.TakesEncoder`."""
        if self._open_encoder is None:
            raise ValueError(f"this policy was made without a way to open an encoder, so {where} cannot be one")
        self._lend(self._open_encoder(where, pooling))
        self.encoder_source = str(Path(where).resolve()) if Path(where).is_dir() else where

    def with_pooling(self, pooling: str) -> Self:
        """The same server and encoder with another pooling. ValueError if there is no encoder, or it has no other."""
        if not isinstance(self._encoder, Repooling):
            raise ValueError(f"{self.policy_id} has no encoder that could pool as {pooling}")
        view = copy.copy(self)
        view._lend(self._encoder.with_pooling(pooling))
        return view

    def _identify(self, weights: str) -> None:
        settings = {name: value for name, value in asdict(self.config).items() if name in _IDENTITY}
        settings |= {"template": template_identity(self.template)}
        if weights:
            settings |= {"weights": weights}
        digest = hashlib.sha256(f"server/1 {json.dumps(settings, sort_keys=True)}".encode())
        self.fingerprint: str = digest.hexdigest()
        self.policy_id: str = f"{self.config.model}@server:{self.fingerprint[:12]}"

    def prompt_key(self, state: str) -> str:
        """States with the same key have the same candidates."""
        return prompt_key(self.template, state)

    def stop_when(self, stop: Callable[[], bool]) -> None:
        """`generate` ends with PolicyInterrupted soon after `stop` becomes true, whatever is in flight."""
        self._stop = stop

    def encode_only(self, states: Sequence[str]) -> np.ndarray:
        """The encoder's vectors. ServerPolicyError if there is none."""
        if self._encoder is None:
            raise ServerPolicyError(
                "this policy was made without an encoder: a completions endpoint has no hidden vectors to give; "
                f"{ENCODER_ADVICE}, encoder=... in Python, or search without an energy model"
            )
        return self._encoder.encode_only(states)

    # -- at start -------------------------------------------------------------------------------------------------

    def start(self, probe_file: Path | None = None, *, choose_template: bool = False) -> ServerFacts:
        """Ask the server what it is, check its name and its tokens, and make it part of the fingerprint.

        probe_file: remembers digests, see `ProbeBook`. choose_template: by the name of the model, or of the folder that
        the server has it from. Raises ServerPolicyError with what to do.
        """
        config = self.config
        self.facts = read_facts(self._connection)
        if choose_template:
            self._choose_template()
        if self.facts.slots:
            self._n_limit = self.facts.slots
        if self.facts.owner == "vllm":  # whatever the server's own default is
            self._extras |= {"return_tokens_as_token_ids": False}
        tokens: list[str] = []
        log_probs: list[float] = []
        for state in PROBE_STATES:
            answer = self._probe(self.template.prompt(state))
            if state == PROBE_STATES[0]:
                answer = self._check_tokens(state, answer)
            choice = next((one for one in answer.get("choices") or [] if isinstance(one, dict)), {})
            try:
                text = text_of(choice)
                tokens.append(text)
                log_probs.append(score({**choice, "finish_reason": "stop"}, text, whole=True).log_prob)
            except NoLogProbs as error:
                if text.strip():
                    raise self._reader.no_log_probs() from error
            except UnreadableChoice as error:
                self.facts.notes.append(f"a probe could not be read: {error.reason}")
        weights = {"root": self.facts.root, "context": self.facts.context_length}
        if tokens:
            weights |= {
                "probe": ProbeBook(probe_file).digest(f"{config.model} {self.template.name}", tokens, log_probs)
            }
        self._identify(json.dumps(weights, sort_keys=True))
        for note in self.facts.notes:
            logger.info("%s: %s", config.url, note)
        return self.facts

    def _choose_template(self) -> None:
        """Raises ValueError for a model that no causal policy can be made of."""
        known = template_for(self.config.model, self.facts.root)
        if known is None:
            logger.warning(
                "No prompt template is known for the model %s, so it sees its states as comments (%s). Name one with "
                "--template: %s, or a file of your own.",
                *(self.config.model, STATE_COMMENT, ", ".join(template_names())),
            )
        self._use_template(known or STATE_COMMENT)

    def _use_template(self, name: str) -> None:
        self.template: PromptTemplate = get_template(name)
        self._extras: dict[str, object] = {} if self.template.add_special_tokens else {"add_special_tokens": False}

    def _probe(self, prompt: str) -> JsonObject:
        body = self._body(prompt, 1, 0) | {"temperature": 0, "top_p": 1, "max_tokens": PROBE_TOKENS}
        return self._post(body)

    def _check_tokens(self, state: str, answer: JsonObject) -> JsonObject:
        """Compare the tokens that the server made of a prompt with those that there should be.

        A server that puts its own first token before one that the prompt has shifts every log-prob. It is then sent the
        prompt without it. Returns the answer to go by.
        """
        prompt = self._text(self.template.prompt(state))
        special = self.template.add_special_tokens
        expected = self._local_tokens(prompt, special)
        if expected is None:
            expected = server_tokens(self._connection, prompt, add_special=special)
        usage = answer.get("usage")
        found = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if expected is None or not isinstance(found, int):
            self.facts.notes.append("its tokens could not be compared: no tokenizer here, and no /tokenize there")
            return answer
        if found == expected:
            if isinstance(self._encoder, Tokenizing):
                self._decode = self._encoder.token_text
            return answer
        if found == expected + 1 and not special and without_leading_token(prompt) is not None:
            self._drops_first_token = True
            again = self._probe(prompt)
            usage = again.get("usage")
            if isinstance(usage, dict) and usage.get("prompt_tokens") == expected:
                logger.info(
                    "%s puts a first token of its own before prompts; it gets them without one", self.config.url
                )
                return again
            self._drops_first_token = False
        logger.warning(
            "%s makes %d tokens of a prompt that should have %d: log-probs may be shifted. Check the template (%s) and "
            "the server's tokenizer.",
            *(self.config.url, found, expected, self.template.name),
        )
        return answer

    def _local_tokens(self, prompt: str, special: bool) -> int | None:
        """By the encoder's tokenizer, if it is of the same model as far as its name tells."""
        if not isinstance(self._encoder, Tokenizing):
            return None
        name = self._encoder.policy_id.rpartition(":")[0].lower()
        served = {self.config.model.lower(), Path(self.config.model).name.lower(), Path(self.facts.root).name.lower()}
        return len(self._encoder.token_ids(prompt, special)) if name in served else None

    # -- generation -----------------------------------------------------------------------------------------------

    def generate(self, states: Sequence[str], n_candidates: int) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics per state, best log-prob first.

        log_prob: nats, over the tactic's tokens, and its end where the server reports one. Raises
        ServerUnavailableError when the server stays away, ServerPolicyError when it cannot be used, and
        PolicyInterrupted when the search is to stop.
        """
        if n_candidates < 1:
            raise ValueError(f"n_candidates = {n_candidates} must be at least 1")
        places: dict[str, list[int]] = {}
        for index, state in enumerate(states):
            if normalise(state):
                places.setdefault(self.prompt_key(state), []).append(index)
        firsts = [states[where[0]] for where in places.values()]
        self._patience.interrupted.clear()
        try:
            found = side_by_side(
                lambda state: self._ask(state, n_candidates), firsts, workers=self.config.parallel, check=self._check
            )
        except BaseException:
            self._patience.interrupted.set()  # what is in flight is not tried again
            raise
        results: list[list[TacticCandidate]] = [[] for _ in states]
        for where, candidates in zip(places.values(), found, strict=True):
            for index in where:
                results[index] = list(candidates)
        return results

    def _check(self) -> None:
        if self._stop():
            raise PolicyInterrupted("the search was stopped while the server was at work")

    def _ask(self, state: str, n_candidates: int) -> list[TacticCandidate]:
        """The candidates of one state, with a shorter prompt if the server's context asks for it."""
        with self._lock:
            self.counters.states_generated += 1
        shown: str | None = state
        while shown is not None:
            try:
                found = self._sample(shown, n_candidates)
            except ContextTooLongError as error:
                shown = self.template.shorten(shown)
                with self._lock:
                    self.counters.hypotheses_dropped += shown is not None
                self._reader.say("long", "%s. Such states lose their oldest hypotheses, or get no candidates.", error)
                continue
            with self._lock:
                self.counters.prompts_shortened += shown is not state
                self._reader.counters.states_short_of_candidates += len(found) < n_candidates
            return found
        with self._lock:
            self.counters.prompts_too_long += 1
        return []

    def _sample(self, state: str, n_candidates: int) -> list[TacticCandidate]:
        """Ask until there are enough distinct tactics, or all samples are drawn. One request, if the server heeds n."""
        wanted = max(1, round(n_candidates * self.config.oversampling))
        best: dict[str, TacticCandidate] = {}
        drawn = turn = 0
        while drawn < wanted and (turn == 0 or len(best) < n_candidates):
            asked = min(self._n_limit or wanted, wanted - drawn)
            choices = self._choices(state, asked, turn)
            if 0 < len(choices) < asked:
                self._n_limit = len(choices)
                self._reader.say(
                    "n",
                    "%s makes %d completions of a request for %d; it is asked more often.",
                    self.config.url,
                    len(choices),
                    asked,
                )
            drawn += len(choices) or asked
            turn += 1
            for candidate in self._reader.read(choices, state, self.template, self._decode):
                if candidate.tactic not in best or best[candidate.tactic].log_prob < candidate.log_prob:
                    best[candidate.tactic] = candidate
        if len(best) < n_candidates:
            self._reader.say(
                "few",
                "%s gave %d distinct tactics of %d wanted for a state, in %d samples; a higher temperature or "
                "oversampling gives more.",
                *(self.config.url, len(best), n_candidates, drawn),
            )
        return sorted(best.values(), key=lambda candidate: (-candidate.log_prob, candidate.tactic))[:n_candidates]

    def _choices(self, state: str, n: int, turn: int) -> list[JsonObject]:
        digest = hashlib.blake2b(f"{self.config.seed} {self.prompt_key(state)}".encode(), digest_size=4).digest()
        seed = ((int.from_bytes(digest, "little") >> 1) + turn) % (1 << 31)
        answer = self._post(self._body(self.template.prompt(state), n, seed))
        choices = answer.get("choices")
        if not isinstance(choices, list):
            raise ServerPolicyError(
                f"{self.config.url} answered without `choices` (keys: {', '.join(sorted(map(str, answer)))}): is it an "
                "OpenAI-compatible completions endpoint?"
            )
        return [choice if isinstance(choice, dict) else {} for choice in choices]

    def _text(self, prompt: str) -> str:
        return (without_leading_token(prompt) or prompt) if self._drops_first_token else prompt

    def _body(self, prompt: str, n: int, seed: int) -> dict[str, object]:
        config = self.config
        return {
            "model": config.model,
            "prompt": self._text(prompt),
            "n": n,
            "max_tokens": config.max_tactic_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "logprobs": 1,
            "seed": seed,
            "stop": self._stop_texts(),
            **self._extras,
        }

    def _post(self, body: dict[str, object]) -> JsonObject:
        """Ask for completions. Options that the server does not know are left out from then on, and so is n."""
        try:
            return self._connection.post("completions", body)
        except RequestRefusedError as error:
            refused = error.status in (400, 422)
            extras = [name for name in self._extras if name in body and name in error.words]
            if refused and extras:
                self._extras = {name: value for name, value in self._extras.items() if name not in extras}
                return self._post({name: value for name, value in body.items() if name not in extras})
            if refused and body["n"] != 1:
                answer = self._connection.post("completions", body | {"n": 1})
                self._n_limit = 1
                self._reader.say("n", "%s makes one completion of a request; it is asked more often.", self.config.url)
                return answer
            raise

    def _stop_texts(self) -> list[str]:
        """Fences and turn markers. A line break may not be one: some prompts leave the indentation to the model, and
        the first line's end is found in the answer."""
        blank_line = [] if self.template.several_tactics else ["\n\n"]
        return [*self.template.stop, *blank_line][:4]
