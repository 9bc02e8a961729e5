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
_WORLD_WORDS = """
    [ ] ≤ < ≥ > - 4 5 6 7 8 9 10 12 20 37 40 42 Ne zero generalizing unfold absurd
    .le .refl .step .inj' .le_total .two_mul
    .add_zero .add_succ .add_one .zero_add .succ_add .add_comm .add_assoc .add_left_comm .add_right_comm .succ_ne_zero
    .add_right_cancel .add_left_cancel .mul_zero .mul_succ .zero_mul .succ_mul .mul_comm .mul_one .one_mul .mul_add
    .add_mul .mul_assoc .mul_left_comm .le_refl .le_succ .le_trans .zero_le .le_add_right .le_add_left .exists_of_le
    .succ_le_succ .le_of_succ_le_succ .not_succ_le_zero .not_succ_le_self .le_antisymm .add_le_add_right
    .add_le_add_left .add_le_add .eq_zero_of_add_eq_right .eq_zero_of_add_eq_left .eq_zero_of_add_eq_zero_left
    .eq_zero_of_add_eq_zero_right .eq_zero_of_le_zero .mul_le_mul_right .mul_left_ne_zero .exists_eq_succ_of_ne_zero
    .one_le_of_ne_zero .le_mul_right_of_ne_zero .mul_ne_zero .eq_zero_of_mul_eq_zero .mul_left_cancel_of_ne_zero
"""
"""Of first-order logic and arithmetic: numerals, order, and the names of the prelude's lemmas."""
_NAMES = {"p": 12, "h": 40, "n": 8, "u": 4, "t": 2, "x": 12, "y": 4}  # class letter -> how many
_PATTERN = r"\[[A-Z]+\]|\.?[\p{L}_][\p{L}\p{N}_'!?✝]*|\.\d|\?_|:=|=>|<;>|\p{N}+|[^\s\p{L}\p{N}]"


_MORE_NAMES = {"x": 16, "y": 8, "u": 8}


def vocabulary(*, worlds: bool = False) -> list[str]:
    """Every word, in the order of its id. worlds: those of first-order logic and arithmetic after the others."""
    names = [f"{letter}{number}" for letter, count in _NAMES.items() for number in range(1, count + 1)]
    words = [*SPECIAL, *_WORDS.split(), *names]
    if worlds:
        more = [f"{letter}{number}" for letter, count in _MORE_NAMES.items() for number in range(1, count + 1)]
        words += [*_WORLD_WORDS.split(), *more]
    return list(dict.fromkeys(words))


def make_tokenizer(*, worlds: bool = False) -> PreTrainedTokenizerFast:
    """One token a word or symbol of the canonical text; blanks and line breaks carry nothing."""
    words = {word: number for number, word in enumerate(vocabulary(worlds=worlds))}
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


def model_config(
    *, hidden_size: int = 128, layers: int = 3, intermediate: int = 256, heads: int = 4, worlds: bool = False
) -> LlamaConfig:
    """An ordinary Llama; `prover_template` and `prover_name` tell `load_policy` how to speak to it."""
    config = LlamaConfig(
        vocab_size=len(vocabulary(worlds=worlds)),
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


def save_checkpoint(model: object, folder: Path, *, worlds: bool = False) -> None:
    """Model and tokenizer as an ordinary Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)  # type: ignore[attr-defined]
    make_tokenizer(worlds=worlds).save_pretrained(folder)
