"""The shipped model's tokenizer and shape."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

PAD, UNKNOWN, END, TACTIC, GOAL = SPECIAL = ("[PAD]", "[UNK]", "[END]", "[TAC]", "[GOAL]")
_WORDS = """
    ∧ ∨ → ↔ ¬ ∃ ∀ = ≠ ⊢ ( ) ⟨ ⟩ , : := => | <;> ; · ?_ _ + * ← ↦ 0 1 2 3
    intro intros exact apply refine constructor cases rcases rintro obtain left right exfalso contradiction assumption
    have show from by fun with at using specialize exists use rfl trivial symm subst rw induction next case inl inr mk
    And Or Iff Not False True Exists Eq absurd id Prop Type Nat succ zero add mul
    .left .right .mp .mpr .inl .inr .intro .elim .symm .1 .2 .trans .succ .zero
"""
_NAMES = {"p": 12, "h": 40, "n": 8, "u": 4, "t": 2, "x": 12, "y": 4}  # class letter -> how many
_PATTERN = r"\[[A-Z]+\]|\.?[\p{L}_][\p{L}\p{N}_'!?✝]*|\.\d|\?_|:=|=>|<;>|\p{N}+|[^\s\p{L}\p{N}]"


def vocabulary() -> list[str]:
    """Every word, in the order of its id."""
    names = [f"{letter}{number}" for letter, count in _NAMES.items() for number in range(1, count + 1)]
    return list(dict.fromkeys([*SPECIAL, *_WORDS.split(), *names]))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word or symbol of the canonical text; blanks and line breaks carry nothing."""
    words = {word: number for number, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def model_config(*, hidden_size: int = 128, layers: int = 3, intermediate: int = 256, heads: int = 4) -> LlamaConfig:
    """An ordinary Llama; `prover_template` and `prover_name` tell `load_policy` how to speak to it."""
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=hidden_size,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        attention_bias=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=SPECIAL.index(END),
    )
    config.update({"prover_template": "state-tactic/1", "prover_name": "tiny"})
    return config


def save_checkpoint(model: object, folder: Path) -> None:
    """Model and tokenizer as an ordinary Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)  # type: ignore[attr-defined]
    make_tokenizer().save_pretrained(folder)
