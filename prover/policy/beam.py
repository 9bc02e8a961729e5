"""Batched beam search for short completions: deterministic, or a seeded sample without replacement.

Both are one algorithm. A beam carries its log-probability and a rank; in a deterministic search the rank is the
log-probability itself, in a sample it is the log-probability perturbed by Gumbel noise, top-down, so that the best
ranks are a sample without replacement from the model's distribution over whole tactics (Kool, van Hoof and Welling,
"Stochastic Beams and Where to Find Them", 2019, section 4.1). Either rank only falls as a beam grows, hence: once a
state has n finished tactics, a beam that ranks below the worst of them is dropped, and a state without beams is done.

Ending is one event: the probability that any of the stop tokens comes next. It takes up no beam.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from prover.policy.base import PolicyError
from prover.policy.decoder import Decoder


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished completion. log_prob: nats, all its tokens and its ending; rank: what it was chosen by."""

    tokens: tuple[int, ...]
    log_prob: float
    rank: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How completions end. `stop`: (V,) bool, tokens that end one and are no part of it. `closing`: (V,) bool, tokens
    that are the last part of one (a bracket fused with a line break, in some vocabularies)."""

    stop: torch.Tensor
    closing: torch.Tensor


Noise = Callable[[int, int], torch.Tensor]
"""(prompt, step) -> (width, V + 1) standard Gumbel numbers, float32, the last of each row for ending; the same for the
same state and step, whatever else is in the batch."""


def gumbel_children(parent_rank: torch.Tensor, log_probs: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Ranks of all children, conditioned on their maximum being the parent's rank.

    parent_rank: (B, Q); log_probs: (B, Q, C) cumulative log-probabilities of the children; noise: (B, Q, C) standard
    Gumbel. Equation 7 of the paper, in the numerically stable form of its appendix B.3.
    """
    perturbed = log_probs + noise
    highest = perturbed.amax(dim=-1, keepdim=True)
    gap = parent_rank[:, :, None] - perturbed + torch.log1p(-torch.exp(perturbed - highest))
    ranks = parent_rank[:, :, None] - gap.clamp(min=0) - torch.log1p(torch.exp(-gap.abs()))
    return torch.where(log_probs > -math.inf, ranks, -math.inf)


def beam_search(
    decoder: Decoder,
    last_tokens: Sequence[int],
    ending: Ending,
    *,
    n_best: int,
    width: int,
    max_tokens: int,
    noise: Noise | None = None,
    temperature: float = 1.0,
) -> list[list[Completion]]:
    """Up to `n_best` finished completions a prompt, best rank first.

    last_tokens: the last token of each prompt, which `decoder` has not read yet. width: beams a prompt. A completion
    that has not ended after max_tokens tokens is dropped: half a tactic is none. With `noise`, completions are drawn
    from the model's distribution at `temperature`; their log_prob is the model's own all the same. Raises PolicyError
    for a model whose output is NaN: an empty list would say that it knows no tactic.
    """
    device = ending.stop.device
    stop_ids = ending.stop.nonzero()[:, 0]
    n_prompts = len(last_tokens)
    never = -math.inf
    rows = torch.arange(n_prompts, device=device)  # row of the batch -> prompt
    done_rank = torch.full((n_prompts, n_best), never, device=device)
    done_log_prob = torch.full((n_prompts, n_best), never, device=device)
    done_tokens = torch.zeros((n_prompts, n_best, max_tokens), dtype=torch.int64, device=device)
    done_length = torch.zeros((n_prompts, n_best), dtype=torch.int64, device=device)
    finished: list[tuple[torch.Tensor, ...]] = []

    tokens = torch.tensor(last_tokens, device=device)[:, None]  # (B, Q)
    parents = torch.zeros_like(tokens)
    log_prob = torch.zeros((n_prompts, 1), device=device)  # (B, Q) nats so far
    rank = torch.zeros((n_prompts, 1), device=device)  # (B, Q); -inf: no beam in this column
    heat = torch.zeros((n_prompts, 1), device=device)  # (B, Q) log-prob under the distribution that is sampled from
    history = torch.zeros((n_prompts, 1, max_tokens), dtype=torch.int64, device=device)

    def finish(ranks: torch.Tensor, log_probs: torch.Tensor, sequences: torch.Tensor, length: int) -> None:
        """Merge (B, M) newly finished completions into the best of each row."""
        nonlocal done_rank, done_log_prob, done_tokens, done_length
        best = torch.cat([done_rank, ranks], dim=1).topk(n_best, dim=1)
        picked = best.indices
        done_rank = best.values
        done_log_prob = torch.cat([done_log_prob, log_probs], dim=1).gather(1, picked)
        new_length = torch.full_like(ranks, length, dtype=torch.int64)
        done_length = torch.cat([done_length, new_length], dim=1).gather(1, picked)
        done_tokens = torch.cat([done_tokens, sequences], dim=1).gather(
            1, picked[:, :, None].expand(-1, -1, max_tokens)
        )

    for step in range(max_tokens + 1):
        next_log_prob = decoder.step(tokens, parents)  # (B, Q, V)
        if step == 0 and bool(next_log_prob.isnan().any()):
            raise PolicyError(
                "the model gives NaN instead of probabilities: its weights are damaged, or its numbers overflow; load "
                "it with another dtype (float32), or download it again"
            )
        batch, columns, vocabulary = next_log_prob.shape
        total = log_prob[:, :, None] + next_log_prob
        ended = torch.logsumexp(total[:, :, stop_ids], dim=-1)  # (B, Q)
        total[:, :, stop_ids] = never
        total.masked_fill_((rank == never)[:, :, None], never)
        if noise is None:
            child_rank, ended_rank = total, ended.masked_fill(rank == never, never)
        else:
            drawn = torch.stack([noise(prompt, step)[:columns] for prompt in rows.tolist()]).to(device)
            hot = heat[:, :, None] + torch.log_softmax(next_log_prob / temperature, dim=-1)
            hot_end = torch.logsumexp(hot[:, :, stop_ids], dim=-1)
            hot.masked_fill_(total == never, never)
            both = gumbel_children(rank, torch.cat([hot, hot_end[:, :, None]], dim=-1), drawn)
            child_rank, ended_rank = both[:, :, :-1], both[:, :, -1].masked_fill(rank == never, never)
        if step > 0:  # an empty tactic is none
            finish(ended_rank, ended, history, step)
        if step == max_tokens:
            break

        best = child_rank.reshape(batch, -1).topk(min(width, columns * vocabulary), dim=1)
        parents = best.indices // vocabulary
        tokens = best.indices % vocabulary
        rank = best.values
        log_prob = total.reshape(batch, -1).gather(1, best.indices)
        heat = log_prob if noise is None else hot.reshape(batch, -1).gather(1, best.indices)
        history = history.gather(1, parents[:, :, None].expand(-1, -1, max_tokens))
        history[:, :, step] = tokens
        closing = ending.closing[tokens]
        if bool(closing.any()):
            finish(rank.masked_fill(~closing, never), log_prob, history, step + 1)
            rank = rank.masked_fill(closing, never)
        rank = rank.masked_fill(rank <= done_rank[:, -1:], never)

        alive = rank > never
        columns_left = int(alive.sum(dim=1).amax())
        if columns_left == 0:
            break
        if columns_left < rank.shape[1]:
            # Live beams first, in their order: a beam's column must not depend on other states of the batch.
            order = alive.to(torch.int8).sort(dim=1, descending=True, stable=True).indices[:, :columns_left]
            rank, log_prob, heat = rank.gather(1, order), log_prob.gather(1, order), heat.gather(1, order)
            tokens, parents = tokens.gather(1, order), parents.gather(1, order)
            history = history.gather(1, order[:, :, None].expand(-1, -1, max_tokens))
        open_rows = alive.any(dim=1)
        n_open = int(open_rows.sum())
        if n_open <= 0.75 * batch:
            finished.append(tuple(x[~open_rows] for x in (rows, done_rank, done_log_prob, done_length, done_tokens)))
            chosen = open_rows.nonzero()[:, 0]
            decoder.keep(chosen)
            rows, rank, log_prob, heat = rows[chosen], rank[chosen], log_prob[chosen], heat[chosen]
            tokens, parents, history = tokens[chosen], parents[chosen], history[chosen]
            done_rank, done_log_prob = done_rank[chosen], done_log_prob[chosen]
            done_length, done_tokens = done_length[chosen], done_tokens[chosen]

    finished.append((rows, done_rank, done_log_prob, done_length, done_tokens))
    results: list[list[Completion]] = [[] for _ in range(n_prompts)]
    for group in finished:
        for row, ranks, log_probs, lengths, sequences in zip(*(part.tolist() for part in group), strict=True):
            results[row] = [
                Completion(tuple(sequence[:length]), value, chosen_by)
                for chosen_by, value, length, sequence in zip(ranks, log_probs, lengths, sequences, strict=True)
                if chosen_by > never
            ]
    return results
