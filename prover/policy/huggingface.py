"""`HuggingFacePolicy`: any causal language model of transformers as a tactic generator and a state encoder.

One code path for the shipped 0.5M-parameter model on a laptop's CPU and a 7B prover on a GPU.
"""

import copy
import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from safetensors import SafetensorError

from prover.policy.base import TacticCandidate
from prover.policy.beam import Completion, Ending, beam_search
from prover.policy.decoder import Decoder, PlainDecoder, TreeDecoder, tree_attention_is_faithful
from prover.policy.pooling import DEFAULT_POOLING, early_layer, parse_pooling, pool, pooling_name
from prover.policy.prompts import PromptTemplate, get_template, prompt_key
from prover.policy.weights import PolicyLoadError, checked_device, resolve, tokenizer_digest, weights_digest
from prover.states import normalise

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecodingConfig:
    """How candidates are made. Part of the policy's fingerprint."""

    method: Literal["beam", "sample"] = "beam"
    """beam: the likeliest tactics, deterministic. sample: drawn without replacement, by `seed` and the state alone."""
    width: int | None = None
    """Beams a state; None: as many as candidates are asked for."""
    max_tactic_tokens: int = 48
    """A longer tactic is given up."""
    max_prompt_tokens: int = 1024
    """A longer prompt loses its oldest hypotheses, whole lines at a time, until it fits."""
    max_encoding_tokens: int = 2048
    """A longer state is encoded by its first tokens: the main goal comes first."""
    temperature: float = 1.0
    """For `sample`: log-probabilities are divided by it before drawing; reported log-probs are the model's own."""
    seed: int = 0
    """For `sample`."""

    def __post_init__(self) -> None:
        if self.method not in ("beam", "sample"):
            raise ValueError(f"decoding method {self.method!r} is not known; expected 'beam' or 'sample'")
        for name in ("max_tactic_tokens", "max_prompt_tokens", "max_encoding_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.temperature <= 0:
            raise ValueError(f"temperature = {self.temperature} must be above 0; for no randomness use method='beam'")


@dataclass(slots=True)
class PolicyCounters:
    """What happened to inputs, for reports. Counted since the policy was loaded, over all its views."""

    states_generated: int = 0
    states_encoded: int = 0
    prompts_shortened: int = 0  # hypotheses were left out of the prompt
    prompts_too_long: int = 0  # not even the bare conclusion fits: no candidates
    encodings_truncated: int = 0
    candidates_unreadable: int = 0  # completions that were no tactic, or named what the state does not have


@dataclass
class _Loaded:
    """What all views of one model share."""

    model: Any
    tokenizer: Any
    template: PromptTemplate
    ending: Ending
    pad_id: int
    injective: bool  # different token sequences are different texts
    weights: str
    vocabulary: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    counters: PolicyCounters = field(default_factory=PolicyCounters)
    faithful: bool | None = None  # whether tree attention works; None: not tried yet


class HuggingFacePolicy:
    """See `prover.policy.base.FingerprintedPolicy`. Made by `load_policy`; `with_pooling` and `with_decoding` give
    views that share the model. Calls from several threads are safe, and run one at a time."""

    def __init__(
        self, loaded: _Loaded, name: str, *, pooling: str = DEFAULT_POOLING, decoding: DecodingConfig | None = None
    ) -> None:
        self._loaded = loaded
        self._name = name
        self._parts = parse_pooling(pooling)
        self.decoding = decoding or DecodingConfig()
        config = loaded.model.config.get_text_config()
        self.hidden_size: int = config.hidden_size
        self._n_layers: int = config.num_hidden_layers
        self._context: int = getattr(config, "max_position_embeddings", None) or 1 << 30
        self._identify()

    # ---- identity

    @property
    def template(self) -> PromptTemplate:
        """How a state becomes a prompt."""
        return self._loaded.template

    @property
    def counters(self) -> PolicyCounters:
        """Calls, states and tokens so far."""
        return self._loaded.counters

    @property
    def dtype(self) -> str:
        """Data type of the weights, e.g. `float32`."""
        return str(self._loaded.model.dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        """Where the model is, e.g. `cpu` or `cuda:0`."""
        return str(self._loaded.model.device)

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
        parts = (*what, loaded.weights, loaded.vocabulary, loaded.template.name, self.dtype)
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

    def prompt_key(self, state: str) -> str:
        """States with the same key have the same candidates, so a memo may be keyed by it."""
        return prompt_key(self.template, state)

    # ---- generation

    def generate(self, states: Sequence[str], n_candidates: int, batch_size: int = 32) -> list[list[TacticCandidate]]:
        """Up to `n_candidates` distinct tactics a state, best log-prob first; a finished state ("") has none.

        log_prob: nats, over the tactic's tokens and its end, higher is better, model's own (temperature 1).
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
            firsts = sorted((places[0] for places in same.values()), key=lambda i: (len(tokens[i]), i))
            for start in range(0, len(firsts), batch_size):
                batch = firsts[start : start + batch_size]
                made = self._complete([tokens[i] for i in batch], [states[i] for i in batch], n_candidates)
                for index, completions in zip(batch, made, strict=True):
                    results[index] = self._candidates(completions, states[index], n_candidates)
        for places in same.values():
            for index in places[1:]:
                results[index] = list(results[places[0]])
        return results

    def _prompt_tokens(self, states: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt, shortened to fit; [] for a finished state or one that cannot be made to fit."""
        limit = min(self.decoding.max_prompt_tokens, self._context - self.decoding.max_tactic_tokens)
        encoded = self._tokenize([self.template.prompt(state) for state in states])
        for index, state in enumerate(states):
            if not normalise(state):
                encoded[index] = []
                continue
            shorter: str | None = state
            was_shortened = False
            while shorter is not None and len(encoded[index]) > limit:
                shorter = self.template.shorten(shorter)
                if shorter is not None:
                    encoded[index] = self._tokenize([self.template.prompt(shorter)])[0]
                    was_shortened = True
            if len(encoded[index]) > limit:
                encoded[index] = []
                self.counters.prompts_too_long += 1
            elif was_shortened:
                self.counters.prompts_shortened += 1
        return encoded

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self._loaded.tokenizer(
            texts, add_special_tokens=self.template.add_special_tokens, return_attention_mask=False
        )["input_ids"]

    def _decoder(self, prompts: list[list[int]], width: int) -> Decoder:
        loaded = self._loaded
        if loaded.faithful is None:
            loaded.faithful = tree_attention_is_faithful(loaded.model, loaded.pad_id)
            if not loaded.faithful:
                log.warning(
                    "%s does not honour 4D attention masks with position ids: decoding without a cache, slowly",
                    type(loaded.model).__name__,
                )
        if loaded.faithful:
            return TreeDecoder(loaded.model, prompts, loaded.pad_id, room=1 + 8 * width)
        return PlainDecoder(loaded.model, prompts, loaded.pad_id)

    def _complete(self, prompts: list[list[int]], states: list[str], n_candidates: int) -> list[list[Completion]]:
        decoding = self.decoding
        # Two token sequences can spell one tactic; where that can be, some are made to spare.
        n_best = n_candidates if self._loaded.injective else n_candidates + max(2, n_candidates // 2)
        width = max(decoding.width or n_best, 1)
        return beam_search(
            self._decoder(prompts, width),
            [prompt[-1] for prompt in prompts],
            self._loaded.ending,
            n_best=n_best,
            width=width,
            max_tokens=decoding.max_tactic_tokens,
            noise=self._noise(states, width) if decoding.method == "sample" else None,
            temperature=decoding.temperature if decoding.method == "sample" else 1.0,
        )

    def _noise(self, states: list[str], width: int) -> Any:
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
            text = self._loaded.tokenizer.decode(
                list(completion.tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            tactic = self.template.tactic(text, state)
            if tactic is None:
                self.counters.candidates_unreadable += 1
            elif len(best) < n_candidates or tactic in best:
                candidate = TacticCandidate(tactic, completion.log_prob, len(completion.tokens))
                if tactic not in best or best[tactic].log_prob < candidate.log_prob:
                    best[tactic] = candidate
        return sorted(best.values(), key=lambda c: (-round(c.log_prob, 4), c.tactic))

    # ---- encoding

    def encode_only(self, states: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Pooled hidden vectors of whole states, (n, encoding_width) float32, without the language-model head.

        Right padding under a causal mask cannot reach a real token, so a state's vector does not depend on its batch.
        """
        vectors = np.empty((len(states), self.encoding_width), dtype=np.float32)
        with self._loaded.lock, torch.inference_mode():
            self.counters.states_encoded += len(states)
            tokens = self._encoding_tokens(states)
            order = sorted(range(len(states)), key=lambda i: len(tokens[i]))
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                vectors[batch] = self._encode([tokens[i] for i in batch])
        return vectors

    def _encoding_tokens(self, states: Sequence[str]) -> list[list[int]]:
        texts = [self.template.encoding_text(state) for state in states]
        tokens = self._tokenize(texts)
        limit = min(self.decoding.max_encoding_tokens, self._context)
        for index, ids in enumerate(tokens):
            if not ids or not normalise(states[index]):
                raise ValueError("an empty state was given to encode_only: a finished proof has no vector")
            if len(ids) > limit:
                tokens[index] = ids[:limit]
                self.counters.encodings_truncated += 1
        return tokens

    def _encode(self, batch: list[list[int]]) -> np.ndarray:
        model = self._loaded.model
        lengths = torch.tensor([len(ids) for ids in batch])
        padded = torch.full((len(batch), int(lengths.max())), self._loaded.pad_id, dtype=torch.int64)
        for row, ids in enumerate(batch):
            padded[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        wants_early = "early" in self._parts
        output = model.get_decoder()(
            input_ids=padded.to(model.device), use_cache=False, output_hidden_states=wants_early
        )
        early = output.hidden_states[early_layer(self._n_layers)] if wants_early else None
        return pool(self._parts, output.last_hidden_state, early, lengths.to(model.device)).cpu().numpy()


def load_huggingface_policy(
    path: str | Path | None = None,
    *,
    pooling: str = DEFAULT_POOLING,
    device: str | None = None,
    dtype: str | None = None,
    template: str | None = None,
    threads: int | None = None,
    decoding: DecodingConfig | None = None,
) -> HuggingFacePolicy:
    """See `prover.policy.load_policy`."""
    parse_pooling(pooling)
    folder = resolve(path)
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    if threads is not None:
        torch.set_num_threads(threads)
    device = checked_device(device)
    if dtype is None:
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise PolicyLoadError(f"dtype {dtype!r} is not known; expected float32, bfloat16 or float16")
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # ours is the only one on the screen
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, loading = cast(Any, AutoModelForCausalLM).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise PolicyLoadError(f"{folder} cannot be loaded as a causal language model: {error}") from error
    finally:
        if progress_bar:
            transformers_logging.enable_progress_bar()
    if missing := sorted(loading["missing_keys"]):  # the library would fill them with random numbers
        raise PolicyLoadError(
            f"{folder} lacks {len(missing)} of the model's weights, e.g. {missing[0]}: the files are incomplete, or of "
            "another architecture than config.json says; download or save the model again"
        )
    model = model.to(device).eval()
    template_name = template or getattr(model.config, "prover_template", None) or _guess_template(tokenizer)
    chosen = get_template(template_name)
    ending, pad_id = _ending(model, tokenizer, chosen)
    loaded = _Loaded(
        model=model,
        tokenizer=tokenizer,
        template=chosen,
        ending=ending,
        pad_id=pad_id,
        injective=_is_word_level(tokenizer),
        weights=weights_digest(folder),
        vocabulary=tokenizer_digest(folder),
    )
    name = getattr(model.config, "prover_name", None) or folder.name
    return HuggingFacePolicy(loaded, name, pooling=pooling, decoding=decoding)


def _is_word_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and json.loads(backend.to_str())["model"]["type"] == "WordLevel"


def _guess_template(tokenizer: Any) -> str:
    """The template of a model that names none in its config.json (`prover_template`)."""
    vocabulary = tokenizer.get_vocab()
    if "<｜User｜>" in vocabulary and "<｜Assistant｜>" in vocabulary:
        return "deepseek-prover-v2/1"
    if "[PROOFSTEP]" in vocabulary:
        return "goal-proofstep/1"
    return "state-comment/1"


def _ending(model: Any, tokenizer: Any, template: PromptTemplate) -> tuple[Ending, int]:
    """Which tokens end a tactic, over the model's vocabulary (which may be padded beyond the tokenizer's)."""
    size = model.get_output_embeddings().weight.shape[0]
    stop = torch.zeros(size, dtype=torch.bool)
    closing = torch.zeros(size, dtype=torch.bool)
    ends = tokenizer.eos_token_id
    configured = getattr(model.generation_config, "eos_token_id", None)
    for token in [ends, *(configured if isinstance(configured, list) else [configured])]:
        if token is not None and token < size:
            stop[token] = True
    stop[len(tokenizer) :] = True  # rows without a token can never be meant
    texts = tokenizer.batch_decode([[token] for token in range(min(size, len(tokenizer)))])
    for token, text in enumerate(texts):
        if "\n" in text:
            (closing if text.split("\n", 1)[0].strip() else stop)[token] = True
        elif text.strip() and text.strip() in template.stop:
            stop[token] = True
    if not bool(stop.any()):
        raise PolicyLoadError("the tokenizer has neither an end-of-sequence token nor a line break: no tactic can end")
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends if ends is not None else 0)
    return Ending(stop.to(model.device), closing.to(model.device)), pad_id
