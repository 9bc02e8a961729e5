"""`HuggingFacePolicy`: any causal language model of transformers as a tactic generator and a state encoder.

One code path for the shipped 0.5M-parameter model on a laptop's CPU and a 7B prover on a GPU.
"""

import copy
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from prover.policy import DEFAULT_POOLING
from prover.policy.base import PolicyCounters, PolicyError, TacticCandidate
from prover.policy.batching import STEPS, Budget, plan, run
from prover.policy.beam import Completion, beam_search
from prover.policy.decoder import Decoder, PlainDecoder, TreeDecoder
from prover.policy.decoding import DecodingConfig
from prover.policy.encoding import encode_batch
from prover.policy.faithful import fused_copy, tree_attention_is_faithful
from prover.policy.loaded import LoadedModel, context_tokens
from prover.policy.pooling import parse_pooling, pooling_name
from prover.policy.prefixes import shared_prefixes
from prover.policy.prompts import PromptTemplate, prompt_key, template_identity
from prover.policy.weights import checked_device, resolve
from prover.states import normalise

log = logging.getLogger(__name__)
_CLUSTER = 4  # fewer states than this are no batch of their own


class HuggingFacePolicy:
    """See `prover.policy.base.FingerprintedPolicy`. Made by `load_policy`; `with_pooling` and `with_decoding` give
    views that share the model. Calls from several threads are safe, and run one at a time."""

    def __init__(
        self, loaded: LoadedModel, name: str, *, pooling: str = DEFAULT_POOLING, decoding: DecodingConfig | None = None
    ) -> None:
        self._loaded = loaded
        self._name = name
        self._parts = parse_pooling(pooling)
        self.decoding = decoding or DecodingConfig()
        config = loaded.model.config.get_text_config()
        self.hidden_size: int = config.hidden_size
        self.context_tokens: int = context_tokens(config)
        self._identify()

    # ---- identity

    @property
    def template(self) -> PromptTemplate:
        """How a state becomes a prompt."""
        return self._loaded.template

    @property
    def counters(self) -> PolicyCounters:
        """What happened to inputs and outputs so far."""
        return self._loaded.counters

    @property
    def dtype(self) -> str:
        """Data type of the weights, e.g. `float32`; int8 and int4 are computed in another one."""
        return self._loaded.dtype

    @property
    def device(self) -> str:
        """Where the model is, e.g. `cpu` or `cuda:0`."""
        return str(self._loaded.model.device)

    @property
    def budget(self) -> Budget:
        """How many tokens go through the model at once."""
        return self._loaded.budget

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt may have."""
        room = max(1, self.context_tokens - self.decoding.max_tactic_tokens)
        return room if self.decoding.max_prompt_tokens is None else min(self.decoding.max_prompt_tokens, room)

    def _identify(self) -> None:
        """Set what follows from the model, the pooling and the decoding settings."""
        self.pooling: str = pooling_name(self._parts)
        self.encoding_width: int = self.hidden_size * len(self._parts)
        self.fingerprint: str = self._digest("generate/1", json.dumps(asdict(self.decoding), sort_keys=True))
        self.encoder_fingerprint: str = self._digest(
            "encode/1", self.pooling, f"max_tokens={self.decoding.max_encoding_tokens}"
        )
        self.policy_id: str = f"{self._name}:{self.fingerprint[:12]}"

    def _digest(self, *what: str) -> str:
        loaded = self._loaded
        parts = (*what, loaded.weights, loaded.vocabulary, template_identity(loaded.template), self.dtype)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def with_pooling(self, pooling: str) -> Self:
        """The same model with another pooling of `encode_only`."""
        view = copy.copy(self)
        view._parts = parse_pooling(pooling)
        view._identify()
        return view

    def with_decoding(self, decoding: DecodingConfig) -> Self:
        """The same model with other decoding settings."""
        view = copy.copy(self)
        view.decoding = decoding
        view._identify()
        return view

    def token_ids(self, text: str, add_special_tokens: bool) -> list[int]:
        """Token ids of a text, to compare with those of a server of the same model."""
        return list(self._loaded.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"])

    def token_text(self, ids: Sequence[int]) -> str:
        """What token ids spell, special tokens included."""
        return str(
            self._loaded.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def prompt_key(self, state: str) -> str:
        """States with the same key have the same candidates, so a memo may be keyed by it."""
        return prompt_key(self.template, state)

    # ---- generation

    def generate(
        self, states: Sequence[str], n_candidates: int, batch_size: int | None = None
    ) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics per state, best log-prob first; a finished state ("") has none.

        log_prob: nats, over the tactic's tokens and its end, higher is better, model's own (temperature 1).
        batch_size: states at once, at most; None: as many as the budget of tokens allows.
        Raises PolicyError for a model that gives NaN, or for one state that does not fit into the memory.
        """
        if n_candidates < 1:
            raise ValueError(f"n_candidates = {n_candidates} must be at least 1")
        results: list[list[TacticCandidate]] = [[] for _ in states]
        with self._loaded.lock, torch.inference_mode():
            self.counters.states_generated += len(states)
            tokens = self._prompt_tokens(states)
            same: dict[str, list[int]] = {}
            for index, state in enumerate(states):
                if tokens[index]:
                    same.setdefault(self.prompt_key(state), []).append(index)

            def complete(batch: Sequence[int]) -> None:
                made = self._complete([tokens[i] for i in batch], [states[i] for i in batch], n_candidates)
                for index, completions in zip(batch, made, strict=True):
                    results[index] = self._candidates(completions, states[index], n_candidates)

            firsts = [places[0] for places in same.values()]
            width = self._width(n_candidates)
            slots = width * self.decoding.max_tactic_tokens // 2  # most beams end long before the limit
            most = min(batch_size or len(states), max(1, self.budget.logits_rows // width))
            for batch in self._batches(tokens, firsts, self.budget.generate_tokens, most, slots):
                halved = self.budget.halved
                run("generate", batch, complete, self.budget)
                self.counters.batches_halved += self.budget.halved - halved
        for places in same.values():
            for index in places[1:]:
                results[index] = list(results[places[0]])
        return results

    def _batches(
        self, tokens: Sequence[Sequence[int]], places: Sequence[int], budget: int, most: int, extra: int = 0
    ) -> list[list[int]]:
        """Places of states that go through the model together. extra: slots that each needs beside its tokens."""
        order = sorted(places, key=lambda i: (len(tokens[i]), i))
        batches: list[list[int]] = []
        for cluster in _clusters(tokens, order, budget - extra, most):
            lengths = [len(tokens[i]) + extra for i in cluster]
            overhead = self.budget.overhead * (STEPS if extra else 1)
            batches += [[cluster[i] for i in part] for part in plan(lengths, budget, overhead, most)]
        return batches

    def _prompt_tokens(self, states: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt, shortened to fit; [] for a finished state or one that cannot be made to fit."""
        limit = self.prompt_limit
        encoded = self._tokenize([self.template.prompt(state) for state in states])
        for index, state in enumerate(states):
            if not normalise(state):
                encoded[index] = []
                continue
            if len(encoded[index]) > limit:
                encoded[index], dropped = self._shortened(state, limit)
                if not encoded[index]:
                    self.counters.prompts_too_long += 1
                else:
                    self.counters.prompts_shortened += 1
                    self.counters.hypotheses_dropped += dropped
        return encoded

    def _shortened(self, state: str, limit: int) -> tuple[list[int], int]:
        """(token ids of the prompt with as many hypotheses as fit, hypotheses left out); ([], 0) where none fits.

        Bisected: each hypothesis makes a prompt longer, and a state may have thousands.
        """
        shorter = [state]
        while (next_one := self.template.shorten(shorter[-1])) is not None:
            shorter.append(next_one)
        low, high = 1, len(shorter)  # the first that fits is in [low, high); high: none does
        found: list[int] = []
        while low < high:
            middle = (low + high) // 2
            ids = self._tokenize([self.template.prompt(shorter[middle])])[0]
            if len(ids) <= limit:
                found, high = ids, middle
            else:
                low = middle + 1
        return (found, high) if found else ([], 0)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded: list[list[int]] = self._loaded.tokenizer(
            texts,
            add_special_tokens=self.template.add_special_tokens,
            return_attention_mask=False,
            verbose=False,  # what is too long is shortened and counted here
        )["input_ids"]
        for ids in encoded:
            if ids and max(ids) >= self._loaded.n_embeddings:
                token = self._loaded.tokenizer.convert_ids_to_tokens(max(ids))
                raise PolicyError(
                    f"the tokenizer says {max(ids)} for {token!r}, and the model has embeddings for "
                    f"{self._loaded.n_embeddings} tokens: tokenizer and weights do not belong together; copy the "
                    "tokenizer that was saved with these weights, or name another template"
                )
        return encoded

    def _is_faithful(self) -> bool:
        """Whether tree attention works for this model; tried when it is first needed."""
        loaded = self._loaded
        if loaded.faithful is None:
            loaded.faithful = tree_attention_is_faithful(loaded.model, loaded.pad_id)
            if not loaded.faithful:
                log.warning(
                    "%s does not honour 4D attention masks with position ids: decoding without a cache, slowly",
                    type(loaded.model).__name__,
                )
            else:
                loaded.fused = fused_copy(loaded.model, loaded.pad_id)
        return loaded.faithful

    @property
    def decodes_fast(self) -> bool:
        """Whether candidates come from the fast decoder; False: the model does not honour its masks."""
        with self._loaded.lock, torch.inference_mode():
            return self._is_faithful()

    def _decoder(self, prompts: list[list[int]], width: int) -> Decoder:
        loaded = self._loaded
        if self._is_faithful():
            return TreeDecoder(loaded.model, prompts, loaded.pad_id, room=1 + 8 * width, fused=loaded.fused)
        return PlainDecoder(loaded.model, prompts)

    def _n_best(self, n_candidates: int) -> int:
        """Completions to find. Two token sequences can spell one tactic; where that can be, some are made to spare."""
        return n_candidates if self._loaded.injective else n_candidates + max(2, n_candidates // 2)

    def _width(self, n_candidates: int) -> int:
        return max(self.decoding.width or self._n_best(n_candidates), 1)

    def _complete(self, prompts: list[list[int]], states: list[str], n_candidates: int) -> list[list[Completion]]:
        decoding = self.decoding
        width = self._width(n_candidates)
        return beam_search(
            self._decoder(prompts, width),
            [prompt[-1] for prompt in prompts],
            self._loaded.ending,
            n_best=self._n_best(n_candidates),
            width=width,
            max_tokens=decoding.max_tactic_tokens,
            noise=self._noise(states, width) if decoding.method == "sample" else None,
            temperature=decoding.temperature if decoding.method == "sample" else 1.0,
        )

    def _noise(self, states: list[str], width: int) -> Callable[[int, int], torch.Tensor]:
        """Gumbel numbers that depend on the seed, the state's prompt and the step alone."""
        keys = [self.prompt_key(state) for state in states]
        size = self._loaded.ending.stop.shape[0] + 1

        def gumbel(prompt: int, step: int) -> torch.Tensor:
            digest = hashlib.blake2b(f"{self.decoding.seed} {keys[prompt]} {step}".encode(), digest_size=8).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
            uniform = torch.rand((width, size), generator=generator).clamp_(1e-20, 1 - 1e-7)
            return -torch.log(-torch.log(uniform))

        return gumbel

    def _candidates(self, completions: list[Completion], state: str, n_candidates: int) -> list[TacticCandidate]:
        """Distinct readable tactics, best first. Near-equal log-probs are ordered by text, not by rounding noise."""
        best: dict[str, TacticCandidate] = {}
        for completion in completions:  # best rank first
            text = self.token_text(completion.tokens)
            tactic = self.template.tactic(text, state)
            self.counters.candidates_read += 1
            if tactic is None:
                self.counters.candidates_unreadable += 1
            elif len(best) < n_candidates or tactic in best:
                candidate = TacticCandidate(tactic, completion.log_prob, len(completion.tokens))
                if tactic not in best or best[tactic].log_prob < candidate.log_prob:
                    best[tactic] = candidate
        return sorted(best.values(), key=lambda c: (-round(c.log_prob, 4), c.tactic))

    # ---- encoding

    def encode_only(self, states: Sequence[str], batch_size: int | None = None) -> np.ndarray:
        """Pooled hidden vectors of whole states, (n, encoding_width) float32, without the language-model head.

        A state's vector does not depend on its batch, but for the last digits. batch_size: states at once, at most;
        None: as many as the budget of tokens allows.
        """
        vectors = np.empty((len(states), self.encoding_width), dtype=np.float32)
        with self._loaded.lock, torch.inference_mode():
            self.counters.states_encoded += len(states)
            tokens = self._encoding_tokens(states)

            def encode(batch: Sequence[int]) -> None:
                chosen = [tokens[i] for i in batch]
                share = shared_prefixes(chosen) is not None and self._is_faithful()
                model, pad_id = self._loaded.model, self._loaded.pad_id
                vectors[list(batch)] = encode_batch(model, chosen, self._parts, pad_id, share=share).cpu().numpy()

            most = batch_size or len(states)
            for batch in self._batches(tokens, range(len(states)), self.budget.encode_tokens, most):
                halved = self.budget.halved
                run("encode", batch, encode, self.budget)
                self.counters.batches_halved += self.budget.halved - halved
        return vectors

    def _encoding_tokens(self, states: Sequence[str]) -> list[list[int]]:
        texts = [self.template.encoding_text(state) for state in states]
        tokens = self._tokenize(texts)
        limit = min(self.decoding.max_encoding_tokens, self.context_tokens)
        for index, ids in enumerate(tokens):
            if not ids or not normalise(states[index]):
                raise ValueError("an empty state was given to encode_only: a finished proof has no vector")
            if len(ids) > limit:
                tokens[index] = ids[:limit]
                self.counters.encodings_truncated += 1
        return tokens


def _clusters(tokens: Sequence[Sequence[int]], order: Sequence[int], budget: int, most: int) -> list[list[int]]:
    """`order` cut into clusters that share long prefixes, each in the same order, where all do not fit into one batch.

    Sorted by length alone, the states of one theorem would be spread over many batches.
    """
    if not order or (len(order) <= most and len(order) * len(tokens[order[-1]]) <= budget):
        return [list(order)]
    shared = shared_prefixes([tokens[i] for i in order])
    if shared is None:
        return [list(order)]
    groups: dict[int, list[int]] = {}
    for place, group in zip(order, shared.group, strict=True):
        groups.setdefault(group, []).append(place)
    large = [members for members in groups.values() if len(members) >= _CLUSTER]
    inside = {place for members in large for place in members}
    return [*large, [place for place in order if place not in inside]]


def load_huggingface_policy(
    path: str | Path | None = None,
    *,
    pooling: str = DEFAULT_POOLING,
    device: str | None = None,
    dtype: str | None = None,
    template: str | None = None,
    threads: int | None = None,
    decoding: DecodingConfig | None = None,
    batch_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    max_encoding_tokens: int | None = None,
) -> HuggingFacePolicy:
    """See `prover.policy.load_policy`."""
    parse_pooling(pooling)
    if max_prompt_tokens is not None:
        decoding = replace(decoding or DecodingConfig(), max_prompt_tokens=max_prompt_tokens)
    if max_encoding_tokens is not None:
        decoding = replace(decoding or DecodingConfig(), max_encoding_tokens=max_encoding_tokens)
    folder = resolve(path)
    if threads is not None:
        torch.set_num_threads(threads)
    place = "auto" if device == "auto" else checked_device(device)
    if dtype is None:
        dtype = "bfloat16" if place.startswith("cuda") or (place == "auto" and torch.cuda.is_available()) else "float32"
    loaded = LoadedModel.read(folder, dtype, place, template=template, batch_tokens=batch_tokens)
    name = getattr(loaded.model.config, "prover_name", None) or folder.name
    return HuggingFacePolicy(loaded, name, pooling=pooling, decoding=decoding)
