"""Folders as users have them: each loads right, or ends in one sentence, and `prover doctor` says the same."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, T5Config

from prover.doctor import Subject
from prover.doctor.model import check_model
from prover.policy import load_policy
from prover.policy.weights import PolicyLoadError, weights_digest
from tests.helpers.families import save_family

STATE = "p q : Prop\nh : p ∧ q\n⊢ q"


@pytest.fixture
def folder(random_checkpoint: Path, tmp_path: Path) -> Path:
    shutil.copytree(random_checkpoint, tmp_path / "model")
    return tmp_path / "model"


def _configure(folder: Path, name: str = "config.json", **settings: Any) -> None:
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**config, **settings}))


def _tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _refused(folder: Path, *words: str) -> str:
    """Loading ends in one sentence with these words, and doctor in the same one."""
    with pytest.raises(PolicyLoadError) as caught:
        load_policy(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    for word in words:
        assert word in said
    assert "trust_remote_code" not in said
    check = check_model(Subject(llm_path=str(folder)))
    assert (check.status, check.detail) == ("fail", said)
    return said


def _loads(folder: Path) -> Any:
    policy = load_policy(folder)
    assert check_model(Subject(llm_path=str(folder))).status == "ok"
    return policy


# ---- quantised


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}, ("awq", "gptqmodel")),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, ("gptq", "gptqmodel")),
        ({"quant_method": "secret", "bits": 4}, ("secret", "does not know")),
        ({"quant_method": "hqq"}, ("hqq", "pip install hqq")),
    ],
)
def test_a_quantised_folder_without_its_package_says_which(
    folder: Path, settings: dict[str, Any], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(folder, quantization_config=settings)
    monkeypatch.setattr("prover.policy.loading._installed", lambda module: False)
    _refused(folder, "quantised", *words)


def test_bitsandbytes_without_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.policy.loading._installed", lambda module: False)
    _configure(folder, quantization_config={"load_in_4bit": True, "quant_method": "bitsandbytes"})
    _refused(folder, "quantised (bitsandbytes)", "pip install bitsandbytes")
    _configure(folder, quantization_config=None)
    with pytest.raises(PolicyLoadError, match="dtype int8 needs bitsandbytes"):
        load_policy(folder, dtype="int8")


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_bitsandbytes_quantises_on_loading(tmp_path: Path, dtype: str) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    random_checkpoint = save_family("llama", tmp_path / "llama", hidden_size=64, intermediate_size=128, head_dim=16)
    plain, small = (
        load_policy(random_checkpoint, device="cpu"),
        load_policy(random_checkpoint, device="cpu", dtype=dtype),
    )
    assert small.dtype == dtype
    assert small.encoder_fingerprint != plain.encoder_fingerprint
    a, b = plain.encode_only([STATE])[0], small.encode_only([STATE])[0]
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert 0.8 < cosine < 1 - 1e-7
    assert small.generate([STATE], 4)[0]


def test_a_form_that_this_device_cannot_compute_ends_in_a_sentence(random_checkpoint: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    with pytest.raises(PolicyLoadError, match="cannot be used in the form int4 on cpu"):
        load_policy(random_checkpoint, device="cpu", dtype="int4")  # its layers are narrower than a block of numbers


def _fp8(folder: Path) -> None:
    """A folder in the form of DeepSeek-V3's: fp8 weights with one scale per block."""

    def quantise(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            if "proj" in name:
                scale = tensors[name].abs().max() / 448.0
                tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
                tensors[name.replace(".weight", ".weight_scale_inv")] = scale.reshape(1, 1).float()

    _tensors(folder, quantise)
    _configure(
        folder,
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
    )


def test_fp8_weights_are_read_with_their_scales(folder: Path, random_checkpoint: Path) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    _fp8(folder)
    a, b = load_policy(random_checkpoint).encode_only([STATE])[0], _loads(folder).encode_only([STATE])[0]
    assert float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) > 0.98


_FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def _mxfp4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(blocks, scales, the values they stand for) of (E, out, in) weights, 32 numbers per scale (OCP MX)."""
    grouped = weight.reshape(*weight.shape[:-1], -1, 32)
    exponent = torch.floor(torch.log2(grouped.abs().amax(-1, keepdim=True).clamp(min=1e-9))) - 2
    scaled = grouped / 2.0**exponent
    code = (scaled.abs()[..., None] - _FP4).abs().argmin(-1)
    value = torch.where(scaled < 0, -_FP4[code], _FP4[code]) * 2.0**exponent
    nibble = code + 8 * (scaled < 0)
    blocks = (nibble[..., 0::2] + 16 * nibble[..., 1::2]).to(torch.uint8)
    return blocks, (exponent[..., 0] + 127).to(torch.uint8), value.reshape(weight.shape)


def test_mxfp4_weights_are_read_as_what_they_stand_for(tmp_path: Path) -> None:
    """A folder in the form of gpt-oss's, against the same numbers stored plainly."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    packed, plain = tmp_path / "packed", tmp_path / "plain"
    save_family("gpt-oss", packed, intermediate_size=64)
    shutil.copytree(packed, plain)
    for folder, keep in ((packed, False), (plain, True)):

        def change(tensors: dict[str, torch.Tensor], keep: bool = keep) -> None:
            for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
                blocks, scales, values = _mxfp4(tensors[name].transpose(1, 2).contiguous())
                if keep:
                    tensors[name] = values.transpose(1, 2).contiguous()
                else:
                    del tensors[name]
                    tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = blocks, scales

        _tensors(folder, change)
    _configure(packed, quantization_config={"quant_method": "mxfp4"})
    expected = load_policy(plain, dtype="bfloat16").encode_only([STATE])
    np.testing.assert_allclose(
        load_policy(packed, dtype="bfloat16").encode_only([STATE]), expected, atol=0.05, rtol=0.05
    )
    assert _loads(packed).generate([STATE], 4)[0]


def test_packed_weights_without_their_description_are_refused(folder: Path) -> None:
    """Quantised tensors under other names: the library would make up the missing ones."""

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        name = "model.layers.0.mlp.up_proj.weight"
        tensors[name.replace("weight", "qweight")] = tensors.pop(name)

    _tensors(folder, rename)
    _refused(folder, "lacks 1 of the model's weights")


# ---- adapters


def _adapter(base: Path, target: Path, scale: float = 0.5) -> None:
    """A LoRA adapter with random weights, that says something else than its base."""
    peft = pytest.importorskip("peft", reason="peft is not installed")
    torch.manual_seed(5)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
    wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.mul_(scale)
    wrapped.save_pretrained(target)
    _configure(target, "adapter_config.json", base_model_name_or_path=str(base))


def _merged_by_hand(base: Path, adapter: Path, target: Path) -> Path:
    """The merged model, by the definition of LoRA: W + (alpha / r) B A."""
    shutil.copytree(base, target)
    lora = load_file(adapter / "adapter_model.safetensors")
    settings = json.loads((adapter / "adapter_config.json").read_text())

    def merge(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in lora if "lora_A" in name]:
            where = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
            factor = settings["lora_alpha"] / settings["r"]
            tensors[where] += factor * lora[name.replace("lora_A", "lora_B")] @ lora[name]

    _tensors(target, merge)
    return target


@pytest.mark.parametrize("beside", [False, True])
def test_an_adapter_is_merged_and_part_of_the_fingerprint(
    random_checkpoint: Path, folder: Path, tmp_path: Path, beside: bool
) -> None:
    place = folder if beside else tmp_path / "adapter"
    _adapter(random_checkpoint, place)
    expected = load_policy(_merged_by_hand(random_checkpoint, place, tmp_path / "merged"), device="cpu")
    plain, policy = load_policy(random_checkpoint, device="cpu"), _loads(place)
    vectors = [one.encode_only([STATE]) for one in (plain, policy, expected)]
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-4)
    assert np.abs(vectors[1] - vectors[0]).max() > 1e-2
    assert policy.fingerprint not in (plain.fingerprint, expected.fingerprint)

    before = weights_digest(place)
    tensors = load_file(place / "adapter_model.safetensors")
    next(iter(tensors.values())).mul_(2)
    save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
    assert weights_digest(place) != before


def test_an_adapter_without_peft_is_never_ignored(
    random_checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _adapter(random_checkpoint, folder)
    monkeypatch.setattr("prover.policy.loading._installed", lambda module: module != "peft")
    _refused(folder, "has an adapter", "peft", "[lora]")


def test_an_adapter_of_another_model_is_refused(random_checkpoint: Path, tmp_path: Path) -> None:
    _adapter(random_checkpoint, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file(
        {name.replace("layers.2", "layers.9"): tensor for name, tensor in load_file(file).items()},
        file,
        metadata={"format": "pt"},
    )
    _refused(tmp_path / "adapter", "adapter cannot be merged")


def test_an_adapter_whose_base_is_elsewhere_names_the_download(random_checkpoint: Path, tmp_path: Path) -> None:
    _adapter(random_checkpoint, tmp_path / "adapter")
    _configure(tmp_path / "adapter", "adapter_config.json", base_model_name_or_path="somebody/some-model")
    _refused(tmp_path / "adapter", "adapter of somebody/some-model", "hf download somebody/some-model")
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    _refused(tmp_path / "adapter", "unpickling can run code")


# ---- other forms


def test_gguf_only_names_the_command_that_converts(tmp_path: Path) -> None:
    file = tmp_path / "gguf" / "model-Q4.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    _refused(file.parent, f"python -m prover.policy.convert_gguf {file} NEW_FOLDER")
    with pytest.raises(PolicyLoadError, match=r"convert_gguf"):
        load_policy(file)


@pytest.mark.parametrize("known", [False, True])
def test_remote_code_is_not_run_and_no_such_option_is_named(folder: Path, tmp_path: Path, known: bool) -> None:
    witness = tmp_path / "it-ran"
    (folder / "code.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    settings: dict[str, Any] = {"auto_map": {"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.Mine"}}
    if known:  # an architecture of transformers: its own code is taken, not the folder's
        _configure(folder, **settings)
        _loads(folder)
    else:
        _configure(folder, **settings, model_type="mine")
        _refused(folder, "mine", "Code in a model's folder is never run here")
    assert not witness.exists()


def test_an_unknown_architecture_and_an_encoder_decoder(folder: Path) -> None:
    _configure(folder, model_type="never-heard-of")
    _refused(folder, "never-heard-of", "update transformers")
    (folder / "config.json").write_text(T5Config(d_model=8, num_layers=1).to_json_string())
    _refused(folder, "encoder-decoder (t5)")


@pytest.mark.parametrize("index", [{}, [], {"weight_map": {}}, {"weight_map": ["a"]}, {"weight_map": {"a": 3}}])
def test_an_index_without_weight_map(folder: Path, index: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    _refused(folder, "model.safetensors.index.json", "expected an object" if index == [] else "weight_map")


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 5000])
def test_an_unreadable_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    _refused(folder, "config.json")


def test_an_index_does_not_lead_out_of_its_folder(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    _refused(folder, "not a file of its folder")


@pytest.mark.parametrize("settings", [{"hidden_size": "many"}, {"num_attention_heads": 0}, {"hidden_size": -8}])
def test_a_configuration_that_makes_no_model(folder: Path, settings: dict[str, Any]) -> None:
    _configure(folder, **settings)
    _refused(folder)


def test_a_pad_id_beyond_the_embedding_does_no_harm(folder: Path, random_checkpoint: Path) -> None:
    n_words = json.loads((folder / "config.json").read_text())["vocab_size"]
    _configure(folder, pad_token_id=n_words + 7)
    _configure(folder, "tokenizer_config.json", pad_token="<beyond>")
    states = [STATE, "p : Prop\n⊢ p → p"]
    policy, reference = _loads(folder), load_policy(random_checkpoint)
    assert policy._loaded.pad_id < n_words
    np.testing.assert_allclose(policy.encode_only(states), reference.encode_only(states), atol=1e-5)
    assert [[c.tactic for c in row] for row in policy.generate(states, 4)] == [
        [c.tactic for c in row] for row in reference.generate(states, 4)
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value

    _tensors(folder, spoil)
    _refused(folder, "not all numbers", "model.layers.1.mlp.up_proj.weight")


def test_damaged_files_are_named(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for damaged in (b"", whole[:6], whole[:-8], whole + b"0", b"\xff" * 64, (8).to_bytes(8, "little") + b"[1,2,3]!"):
        (folder / "model.safetensors").write_bytes(damaged)
        _refused(folder, "model.safetensors is damaged")


def test_a_model_that_is_too_large_is_refused_before_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_family("llama", tmp_path / "llama", hidden_size=512, intermediate_size=2048)
    monkeypatch.setattr("prover.policy.memory.free_bytes", lambda device: 36_000_000)
    said = _refused(folder, "does not fit into the memory of cpu", "weights", "keys and values", "logits")
    assert "what would fit: dtype bfloat16" in said
