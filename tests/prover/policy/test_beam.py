"""The beam search against exhaustive enumeration of a small language."""

import itertools
import math

import pytest
import torch

from prover.policy.beam import Ending, beam_search, gumbel_children

VOCABULARY = 5
STOP, CLOSING = 0, 4
MAX_TOKENS = 4


class TableDecoder:
    """A language model whose next-token distribution depends on the prompt and the last two tokens."""

    def __init__(self, prompts: list[int]) -> None:
        self.prompts = prompts
        self.paths: list[list[tuple[int, ...]]] = [[()] for _ in prompts]
        self.rows_stepped = 0

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        first = all(path == [()] for path in self.paths)
        if first:
            self.paths = [[(token,) for token in row] for row in tokens.tolist()]
        else:
            self.paths = [
                [(*self.paths[row][parent], token) for token, parent in zip(ts, ps, strict=True)]
                for row, (ts, ps) in enumerate(zip(tokens.tolist(), parents.tolist(), strict=True))
            ]
        self.rows_stepped += tokens.shape[0]
        return torch.stack(
            [
                torch.stack([next_log_probs(prompt, path[1:]) for path in row])
                for prompt, row in zip(self.prompts, self.paths, strict=True)
            ]
        )

    def keep(self, rows: torch.Tensor) -> None:
        self.prompts = [self.prompts[row] for row in rows.tolist()]
        self.paths = [self.paths[row] for row in rows.tolist()]


def next_log_probs(prompt: int, path: tuple[int, ...]) -> torch.Tensor:
    seed = hash((prompt, path[-2:])) % (1 << 31)
    return torch.log_softmax(2 * torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)), dim=0)


def enumerate_completions(prompt: int) -> dict[tuple[int, ...], float]:
    """All finished completions of at most MAX_TOKENS tokens with their log-probabilities."""
    found: dict[tuple[int, ...], float] = {}
    for length in range(1, MAX_TOKENS + 1):
        for path in itertools.product(range(1, VOCABULARY), repeat=length):
            if CLOSING in path[:-1]:
                continue
            total = sum(float(next_log_probs(prompt, path[:i])[token]) for i, token in enumerate(path))
            if path[-1] != CLOSING:
                total += float(next_log_probs(prompt, path)[STOP])
            found[path] = total
    return found


def ending() -> Ending:
    stop, closing = torch.zeros(VOCABULARY, dtype=torch.bool), torch.zeros(VOCABULARY, dtype=torch.bool)
    stop[STOP] = closing[CLOSING] = True
    return Ending(stop, closing)


def test_a_wide_beam_finds_exactly_the_likeliest_completions() -> None:
    prompts = [1, 2, 3, 7]
    made = beam_search(
        TableDecoder(prompts), prompts, ending(), n_best=6, width=VOCABULARY**MAX_TOKENS, max_tokens=MAX_TOKENS
    )
    for prompt, completions in zip(prompts, made, strict=True):
        expected = sorted(enumerate_completions(prompt).items(), key=lambda item: -item[1])[:6]
        assert [c.tokens for c in completions] == [path for path, _ in expected]
        assert [c.log_prob for c in completions] == pytest.approx([value for _, value in expected], abs=1e-5)


def test_results_do_not_depend_on_the_batch() -> None:
    prompts = [1, 2, 3, 7, 9, 12]
    together = beam_search(TableDecoder(prompts), prompts, ending(), n_best=3, width=3, max_tokens=MAX_TOKENS)
    for prompt, completions in zip(prompts, together, strict=True):
        alone = beam_search(TableDecoder([prompt]), [prompt], ending(), n_best=3, width=3, max_tokens=MAX_TOKENS)[0]
        assert [c.tokens for c in alone] == [c.tokens for c in completions]


def test_finished_rows_leave_the_batch() -> None:
    prompts = list(range(20))
    decoder = TableDecoder(prompts)
    beam_search(decoder, prompts, ending(), n_best=1, width=4, max_tokens=MAX_TOKENS)
    assert decoder.rows_stepped < len(prompts) * (MAX_TOKENS + 1)


def _noise(seed: int, width: int):
    def gumbel(prompt: int, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed * 1000 + step)
        return -torch.log(-torch.log(torch.rand((width, VOCABULARY + 1), generator=generator)))

    return gumbel


@pytest.mark.parametrize("n", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_sampling_follows_the_models_distribution(n: int) -> None:
    """The first of the sample without replacement is an ordinary sample: its frequencies are the probabilities."""
    expected = enumerate_completions(3)
    mass = sum(math.exp(value) for value in expected.values())
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(n):
        made = beam_search(
            TableDecoder([3]), [3], ending(), n_best=2, width=60, max_tokens=MAX_TOKENS, noise=_noise(seed, 60)
        )[0]
        if made:
            counts[made[0].tokens] = counts.get(made[0].tokens, 0) + 1
            assert len({c.tokens for c in made}) == len(made)
    for path, value in sorted(expected.items(), key=lambda item: -item[1])[:4]:
        p = math.exp(value)
        # Unfinished completions are dropped, so frequencies lie between p and p / mass.
        slack = 4 * math.sqrt(p * (1 - p) / n)
        assert p - slack < counts.get(path, 0) / n < p / mass + slack


def test_gumbel_children_keep_their_parents_maximum() -> None:
    log_probs = torch.log_softmax(torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1)), dim=-1)
    noise = -torch.log(-torch.log(torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(2))))
    parent = torch.randn(2, 3, generator=torch.Generator().manual_seed(3))
    ranks = gumbel_children(parent, log_probs, noise)
    assert torch.allclose(ranks.amax(dim=-1), parent, atol=1e-5)
    assert torch.equal(ranks.argsort(dim=-1), (log_probs + noise).argsort(dim=-1))
