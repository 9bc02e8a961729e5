"""A causal language model with what belongs to it: tokenizer, prompt template, tokens that end a tactic, digests."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch

from prover.policy.base import PolicyCounters
from prover.policy.batching import Budget, measured_budget
from prover.policy.beam import Ending
from prover.policy.fused import FusedLlama
from prover.policy.loading import check_folder, load_model, load_tokenizer
from prover.policy.prompts import PromptTemplate, get_template
from prover.policy.weights import PolicyLoadError, tokenizer_digest, weights_digest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class LoadedModel:
    """What all views of one model share."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    template: PromptTemplate
    ending: Ending
    pad_id: int
    n_embeddings: int
    injective: bool  # different token sequences are different texts
    weights: str
    vocabulary: str
    dtype: str  # as chosen; int8 and int4 compute in another one
    budget: Budget
    lock: threading.Lock = field(default_factory=threading.Lock)
    counters: PolicyCounters = field(default_factory=PolicyCounters)
    faithful: bool | None = None  # whether tree attention works; None: not tried yet
    fused: FusedLlama | None = None  # a faster forward pass for it, where there is one

    @classmethod
    def read(cls, folder: Path, dtype: str, place: str, *, template: str | None, batch_tokens: int | None) -> Self:
        """The model, tokenizer and template of a checked folder. place: a torch device, or "auto".

        template, batch_tokens: as of `prover.policy.load_policy`. Raises PolicyLoadError, and ValueError for a template
        that there is not.
        """
        check_folder(folder)
        tokenizer = load_tokenizer(folder)
        model = load_model(folder, dtype, place)
        chosen = _template_of(template, model.config, tokenizer, folder)
        ending, pad_id = _ending(model, tokenizer, chosen)
        return cls(
            model=model,
            tokenizer=tokenizer,
            template=chosen,
            ending=ending,
            pad_id=pad_id,
            n_embeddings=_rows(model.get_input_embeddings()),
            injective=_is_word_level(tokenizer),
            weights=weights_digest(folder),
            vocabulary=tokenizer_digest(folder),
            dtype=dtype,
            budget=measured_budget(model, batch_tokens),
        )


def context_tokens(config: "PreTrainedConfig") -> int:
    """Tokens that a model can read, from its text configuration; 2^30 where it knows no limit.

    A model with `longrope` (Phi-3, Phi-4) reads all tokens differently as soon as one lies beyond its original context,
    so that a state's numbers would depend on its neighbours in the batch; there the original context is the limit.
    """
    limit = getattr(config, "max_position_embeddings", None) or 1 << 30
    rope = getattr(config, "rope_parameters", None) or {}
    for settings in (rope, *(part for part in rope.values() if isinstance(part, dict))):
        if settings.get("rope_type") == "longrope":
            original = settings.get("original_max_position_embeddings")
            original = original or getattr(config, "original_max_position_embeddings", None)
            limit = min(limit, original or limit)
    return int(limit)


def _is_word_level(tokenizer: "PreTrainedTokenizerBase") -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and json.loads(backend.to_str())["model"]["type"] == "WordLevel"


def _template_of(
    given: str | None, config: "PreTrainedConfig", tokenizer: "PreTrainedTokenizerBase", folder: Path
) -> PromptTemplate:
    """The template that is given, else the one that the model's config names, else the one that fits its tokenizer.

    Raises ValueError for one that is given, PolicyLoadError for one of the model's folder, that there is not.
    """
    named = getattr(config, "prover_template", None)
    if given or named is None:
        return get_template(given or _guess_template(tokenizer))
    try:
        return get_template(str(named))
    except ValueError as error:
        raise PolicyLoadError(
            f"{folder}: `prover_template` in its config.json cannot be used: {error}. Restore the file, or choose a "
            "template with --template"
        ) from error


def _guess_template(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The template of a model that names none in its config.json (`prover_template`)."""
    vocabulary = tokenizer.get_vocab()
    if "<｜User｜>" in vocabulary and "<｜Assistant｜>" in vocabulary:
        return "deepseek-prover-v2/1"
    if "[PROOFSTEP]" in vocabulary:
        return "goal-proofstep/1"
    return "state-comment/1"


def _rows(table: torch.nn.Module) -> int:
    """Tokens that a table of embeddings has a row for."""
    return cast(torch.Tensor, table.weight).shape[0]


def _ending(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", template: PromptTemplate
) -> tuple[Ending, int]:
    """Which tokens end a tactic, over the model's vocabulary (which may be padded beyond the tokenizer's)."""
    size = _rows(model.get_output_embeddings())
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
        if "\n" in text and not template.several_tactics:
            (closing if text.split("\n", 1)[0].strip() else stop)[token] = True
        elif text.strip() and text.strip() in template.stop:
            stop[token] = True
    if not bool(stop.any()):
        raise PolicyLoadError("the tokenizer has neither an end-of-sequence token nor a line break: no tactic can end")
    known = _rows(model.get_input_embeddings())
    choices = [token for token in (tokenizer.pad_token_id, ends) if token is not None and 0 <= token < known]
    pad_id = choices[0] if choices else 0  # never looked at, so that any token will do
    return Ending(stop.to(model.device), closing.to(model.device)), pad_id
