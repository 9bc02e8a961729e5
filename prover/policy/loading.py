"""A model's folder as a model in memory: right, or one sentence that says what is wrong and what to do.

transformers is the border: what its classes and quantisers raise for a folder becomes a `PolicyLoadError`.
"""

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from prover.json_types import JsonObject
from prover.policy.memory import Estimate, require_weights_fit
from prover.policy.weights import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    PolicyLoadError,
    base_folder,
    has_adapter,
    read_object,
    safetensors_header,
    tokenizer_folder,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16", "int8", "int4")
_TROUBLE = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    SafetensorError,
    ImportError,
    AssertionError,
    TypeError,
    AttributeError,
    IndexError,
    ZeroDivisionError,
    RecursionError,
    MemoryError,
    StrictDataclassError,
)
"""What transformers and its quantisers end in for a folder that they cannot load."""
_PACKAGES = {
    "awq": ("gptqmodel",),
    "gptq": ("gptqmodel", "optimum"),
    "bitsandbytes": ("bitsandbytes",),
    "bitsandbytes_4bit": ("bitsandbytes",),
    "bitsandbytes_8bit": ("bitsandbytes",),
    "compressed-tensors": ("compressed_tensors",),
    "torchao": ("torchao",),
    "hqq": ("hqq",),
    "aqlm": ("aqlm",),
    "quanto": ("optimum.quanto",),
    "fp8": ("accelerate",),
    "mxfp4": ("accelerate",),
}
"""Quantisation method of config.json -> modules that reading it needs."""


def check_folder(folder: Path) -> str:
    """What can be known without loading weights: architecture, quantisation, remote code. Returns what it is, in a few
    words. PolicyLoadError otherwise. `folder` has passed `prover.policy.weights.checked`."""
    config = read_object(base_folder(folder) / "config.json")
    _check_architecture(folder, config)
    words = [str(config["model_type"])]
    method = quantisation(config)
    if method:
        _check_quantisation(folder, method)
        words.append(f"quantised ({method})")
    if has_adapter(folder):
        kind = (
            read_object(folder / ADAPTER_CONFIG).get("peft_type", "unknown") if _adapter_config(folder) else "unknown"
        )
        _require_peft(folder)
        words.append(f"with an adapter ({kind}) that is merged on loading")
    return ", ".join(words)


def quantisation(config: JsonObject) -> str:
    """The quantisation method that config.json names, "" for none."""
    settings = config.get("quantization_config")
    if not isinstance(settings, dict):
        return ""
    method = settings.get("quant_method")
    if not method:
        method = "bitsandbytes" if settings.get("load_in_4bit") or settings.get("load_in_8bit") else "unnamed"
    return str(method)


def _check_architecture(folder: Path, config: JsonObject) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise PolicyLoadError(f"{folder}: config.json has no `model_type`: it is not a model in Hugging Face format")
    own_code = isinstance(config.get("auto_map"), dict)
    if kind not in CONFIG_MAPPING:
        if own_code:
            raise PolicyLoadError(
                f"{folder} is of the architecture {kind}, which is defined by Python code in its folder. Code in a "
                "model's folder is never run here; use a version of the model that was converted to an architecture of "
                "transformers, or serve it where you trust its code and give the server's address"
            )
        raise PolicyLoadError(
            f"{folder} is of the architecture {kind}, which the installed transformers does not know: update "
            "transformers, or serve the model and give the server's address"
        )
    if config.get("is_encoder_decoder") or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        what = "an encoder-decoder" if config.get("is_encoder_decoder") else "no causal language model"
        raise PolicyLoadError(
            f"{folder} is {what} ({kind}); expected a decoder that writes on from a prompt (Llama, Qwen, DeepSeek, ...)"
        )


def _check_quantisation(folder: Path, method: str) -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    known = {*AUTO_QUANTIZATION_CONFIG_MAPPING, "bitsandbytes"}
    if method not in known:
        raise PolicyLoadError(
            f"{folder} is quantised by {method!r}, which the installed transformers does not know; use the model's "
            "unquantised version, or serve it and give the server's address"
        )
    missing = [module for module in _PACKAGES.get(method, ()) if not _installed(module)]
    if missing:
        raise PolicyLoadError(
            f"{folder} is quantised ({method}), and reading it needs {' and '.join(missing)}: pip install "
            f"{' '.join(name.replace('_', '-').replace('optimum.', 'optimum-') for name in missing)}, or use the "
            "model's unquantised version, or serve it and give the server's address"
        )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _adapter_config(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file()


def _require_peft(folder: Path) -> None:
    if not _adapter_config(folder):
        raise PolicyLoadError(f"{folder} has {ADAPTER_WEIGHTS} without {ADAPTER_CONFIG}: copy that file beside it")
    if not _installed("peft"):
        raise PolicyLoadError(
            f"{folder} has an adapter, and merging it needs peft: pip install -c constraints.txt -e '.[lora]' (move "
            "the adapter_* files away to use the model without it)"
        )


# ---- loading


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The folder's tokenizer. PolicyLoadError for one that needs code of its own, or that cannot be read."""
    from transformers import AutoTokenizer

    place = tokenizer_folder(folder)
    try:
        return cast(Any, AutoTokenizer).from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        if not isinstance(error, _TROUBLE) and type(error) is not Exception:  # tokenizers raises the bare class
            raise
        if "trust_remote_code" in str(error):
            raise PolicyLoadError(
                f"{place}: its tokenizer is Python code in the folder, which is never run here; use a version of the "
                "model with tokenizer.json, or serve it and give the server's address"
            ) from error
        raise PolicyLoadError(f"{place}: its tokenizer cannot be loaded: {_line(error)}") from error


def load_model(folder: Path, dtype: str, device: str) -> "PreTrainedModel":
    """The model, whole and checked, with its adapter merged, ready for inference.

    dtype: one of `DTYPES`; int8 and int4 quantise through bitsandbytes. device: of torch, or "auto": spread over all
    GPUs (and the CPU) as accelerate decides.
    """
    if dtype not in DTYPES:
        raise PolicyLoadError(f"dtype {dtype!r} is not known; expected {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")
    check_folder(folder)
    made = require_weights_fit(
        folder, dtype, "cuda" if device == "auto" and torch.cuda.is_available() else _plain(device)
    )
    _say(made, folder)
    config = read_object(base_folder(folder) / "config.json")
    quantised = bool(quantisation(config))
    with _model_files(folder) as place, _quiet():
        try:
            model, loading = _from_pretrained(place, dtype, device, quantised)
        except _TROUBLE as error:
            raise PolicyLoadError(_cannot(folder, error, quantisation(config))) from error
    if missing := sorted(loading["missing_keys"]):  # the library would fill them with random numbers
        raise PolicyLoadError(
            f"{folder} lacks {len(missing)} of the model's weights, e.g. {missing[0]}: the files are incomplete, or of "
            "another architecture than config.json says; download or save the model again"
        )
    if wrong := sorted(map(str, loading.get("mismatched_keys") or ())):
        raise PolicyLoadError(f"{folder} cannot be loaded as a causal language model: {wrong[0]} has another shape")
    if unexpected := sorted(loading.get("unexpected_keys") or ()):
        log.warning("%s: %d tensors belong to no part of the model, e.g. %s", folder, len(unexpected), unexpected[0])
    if has_adapter(folder):
        model = _merged(model, folder)
    if not hasattr(model, "hf_device_map") and not _is_on(model, device):
        try:
            model = model.to(device)
        except (RuntimeError, ValueError) as error:
            raise PolicyLoadError(f"{folder} cannot be moved to {device}: {_line(error)}") from error
    _check_numbers(model, folder)
    model = model.eval()
    if quantised or dtype in ("int8", "int4"):
        _try(model, folder, quantisation(config) or dtype)
    return model


def _plain(device: str) -> str:
    return "cpu" if device == "auto" else device


def _say(made: Estimate, folder: Path) -> None:
    if made.fits or made.weights < 2**30:
        log.info("%s: %s", folder, made.sentence())
    else:
        log.warning("%s fits, and full batches do not, so batches are going to be smaller: %s", folder, made.sentence())


def _from_pretrained(place: Path, dtype: str, device: str, quantised: bool) -> tuple[Any, JsonObject]:
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

    config = cast(Any, AutoConfig).from_pretrained(place, local_files_only=True, trust_remote_code=False)
    text = config.get_text_config()
    for settings in (config, text):
        pad = getattr(settings, "pad_token_id", None)
        if pad is not None and not 0 <= pad < getattr(text, "vocab_size", pad + 1):
            settings.pad_token_id = None  # padding is never looked at; the embedding refuses such an id
    options: dict[str, object] = {}
    if dtype in ("int8", "int4"):
        if quantised:
            raise ValueError(f"it is quantised already; leave out the dtype {dtype}")
        if not _installed("bitsandbytes"):
            raise ImportError(f"dtype {dtype} needs bitsandbytes: pip install bitsandbytes")
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=dtype == "int8",
            load_in_4bit=dtype == "int4",
            bnb_4bit_compute_dtype=compute_dtype(dtype, device),
            bnb_4bit_quant_type="nf4",
        )
    if device == "auto":
        options["device_map"] = "auto"
    elif options or quantised:
        options["device_map"] = {"": device}
    return cast(Any, AutoModelForCausalLM).from_pretrained(
        place,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=compute_dtype(dtype, device),
        output_loading_info=True,
        **options,
    )


def compute_dtype(dtype: str, device: str) -> torch.dtype:
    """The dtype in which a model of this dtype computes."""
    if dtype in ("int8", "int4"):
        return torch.float32 if device == "cpu" else torch.bfloat16
    return cast(torch.dtype, getattr(torch, dtype))


def _cannot(folder: Path, error: BaseException, method: str) -> str:
    reason = _line(error)
    if "trust_remote_code" in str(error):
        reason = "it needs Python code of its own, which is never run here"
    if method:
        return (
            f"{folder} is quantised ({method}) and cannot be loaded: {reason}. Use the model's unquantised version, or "
            "serve it and give the server's address"
        )
    return f"{folder} cannot be loaded as a causal language model: {reason}"


def _line(error: BaseException) -> str:
    """An error's first line, not endlessly long."""
    text = " ".join((str(error).strip() or type(error).__name__).split("\n")[:2])
    return text if len(text) <= 300 else text[:297] + "..."


def _is_on(model: "PreTrainedModel", device: str) -> bool:
    if device == "auto":
        return True
    wanted = torch.device(device)
    return bool(wanted.type == model.device.type and wanted.index in (None, model.device.index))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars: ours is the only one on the screen."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def _model_files(folder: Path) -> Iterator[Path]:
    """The folder of the model itself. Where an adapter lies beside it, a view without it: transformers would attach the
    adapter where peft is installed, and overlook it where not."""
    base = base_folder(folder)
    if not has_adapter(base):
        yield base
        return
    with tempfile.TemporaryDirectory(prefix="prover-model-") as name:
        for file in base.iterdir():
            if file.is_file() and not file.name.startswith("adapter_"):
                (Path(name) / file.name).symlink_to(file.resolve())
        yield Path(name)


def _merged(model: "PreTrainedModel", folder: Path) -> "PreTrainedModel":
    """The model with the folder's adapter merged into its weights. PolicyLoadError if any part of it finds no place."""
    from peft import PeftConfig, PeftModel

    stored = safetensors_header(folder / ADAPTER_WEIGHTS)
    try:
        settings = PeftConfig.from_pretrained(str(folder))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            wrapped = PeftModel.from_pretrained(model, str(folder), config=settings, local_files_only=True)
            if not hasattr(wrapped, "merge_and_unload"):
                raise ValueError(f"an adapter of the kind {settings.peft_type} cannot be merged into weights")
            lost = [str(note.message) for note in said if "missing adapter keys" in str(note.message)]
            if lost:
                raise ValueError(_line(ValueError(lost[0])))
            held = {name for name, _ in wrapped.named_parameters() if "lora_" in name}
            if not stored or (held and len(held) < sum("lora_" in name for name in stored)):
                raise ValueError(f"{len(stored)} tensors of the adapter, and the model has places for {len(held)}")
            return wrapped.merge_and_unload(safe_merge=True)
    except _TROUBLE as error:
        raise PolicyLoadError(
            f"{folder}: its adapter cannot be merged into the model: {_line(error)}. Check that the base model is the "
            "one that the adapter was trained on"
        ) from error


def _try(model: "PreTrainedModel", folder: Path, method: str) -> None:
    """One forward pass: what a quantiser cannot compute on this device shows only there."""
    try:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[0, 1, 2, 3]], device=model.device), use_cache=False).logits
    except _TROUBLE as error:
        raise PolicyLoadError(
            f"{folder} cannot be used in the form {method} on {model.device}: {_line(error)}. Use another dtype or the "
            "model's unquantised version"
        ) from error
    if not bool(torch.isfinite(logits).all()):
        raise PolicyLoadError(
            f"{folder}, quantised ({method}), gives NaN instead of probabilities on {model.device}; use another dtype "
            "or the model's unquantised version"
        )


def _check_numbers(model: "PreTrainedModel", folder: Path) -> None:
    """PolicyLoadError for weights that are NaN or infinite."""
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or parameter.is_meta or parameter.element_size() < 2:
            continue
        total = parameter.detach().sum(dtype=torch.float32)
        if not bool(torch.isfinite(total)) and not bool(torch.isfinite(parameter).all()):
            raise PolicyLoadError(
                f"{folder}: its weights are not all numbers ({name}): the model would give NaN instead of "
                "probabilities; download it again, or load it with another dtype (float32) if float16 was asked for"
            )
