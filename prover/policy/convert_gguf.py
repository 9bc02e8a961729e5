"""Convert a GGUF file into a folder in Hugging Face format, which `load_policy` reads.

    python -m prover.policy.convert_gguf MODEL.gguf NEW_FOLDER [--dtype bfloat16]

Quantised weights become numbers of the chosen dtype: a 4-bit file grows about fourfold in bfloat16, and what
quantising lost stays lost. Needs the package `gguf` (`pip install gguf`) and an architecture that transformers can read
from GGUF.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any, cast

from prover.policy.weights import PolicyLoadError


def convert_gguf(file: Path, output: Path, dtype: str = "bfloat16") -> None:
    """Write `output` (a new or empty folder): config.json, tokenizer and safetensors weights of a GGUF file."""
    if not file.is_file():
        raise PolicyLoadError(f"no such file: {file}; expected a GGUF model")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PolicyLoadError(f"{output} is not an empty folder; give a new one")
    for package in ("gguf", "accelerate"):  # transformers needs them, and says so less plainly
        if importlib.util.find_spec(package) is None:
            raise PolicyLoadError(f"converting GGUF needs the packages gguf and accelerate: pip install {package}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name, "local_files_only": True}
    try:
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(**where)
        model = cast(Any, AutoModelForCausalLM).from_pretrained(
            **where, dtype=getattr(torch, dtype), quantization_config=GgufConfig(dequantize=True)
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, IndexError, TypeError) as error:
        reason = (str(error) or type(error).__name__).split("\n")[0]
        raise PolicyLoadError(
            f"{file} cannot be converted ({reason}); serve it with llama.cpp instead and give the server's address"
        ) from error
    # Its weights are plain numbers now, so that nothing of the quantised form may be written beside them.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.to(getattr(torch, dtype)).save_pretrained(output)
    tokenizer.save_pretrained(output)


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    options = parser.parse_args(arguments)
    try:
        convert_gguf(options.file, options.output, options.dtype)
    except PolicyLoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.output}; use it with --llm-path {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
