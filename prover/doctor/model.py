"""`prover doctor`: the policy, in a folder or behind a server."""

from pathlib import Path

from prover.doctor.checks import GIB, Check, Subject

_LOADED_AT_MOST = 2 * GIB
"""Weights up to this size are loaded for real: seconds. Of larger ones all is looked at but the numbers."""


def check_model(subject: Subject) -> Check:
    """Does what loading would do: the same checks, and for all but large models the loading itself."""
    from prover.policy.base import PolicyError
    from prover.policy.weights import TINY_CHECKPOINT, is_hub_id

    if subject.llm_path and subject.llm_path.startswith(("http://", "https://")):
        return _served(subject.llm_path)
    path = Path(subject.llm_path).expanduser() if subject.llm_path else TINY_CHECKPOINT
    if not path.exists() and is_hub_id(str(path)):
        return Check("Model", "warn", f"{path} is no folder here", "it would be taken for a hub id and downloaded")
    try:
        detail = _loads(path)
    except (PolicyError, ValueError) as error:
        return Check("Model", "fail", str(error), "docs/policy.md, `Folders`, says what is read and how to convert")
    return Check("Model", "ok", f"{'the shipped policy' if subject.llm_path is None else path}, {detail}")


def _served(address: str) -> Check:
    """What the server says of itself; asked once, and not waited for."""
    from prover.policy import open_policy
    from prover.policy.prompts import template_for
    from prover.policy.server import ServerPolicy, ServerPolicyError
    from prover.policy.server.start import ask_once

    try:
        policy = open_policy(address, start=False)
        assert isinstance(policy, ServerPolicy)  # since it is an address
        config, facts = policy.config, ask_once(policy.config)
    except (ServerPolicyError, ValueError) as error:
        return Check("Model", "fail", str(error), "docs/models.md, `Servers`, says what is asked of one")
    said = f"{config.url} serves {config.model}: {facts.sentence()}"
    template = template_for(config.model, facts.root)
    if template is None:
        return Check("Model", "warn", f"{said}; no prompt template is known for it", "name one with --template")
    return Check("Model", "ok", f"{said}; template {template}")


def _loads(path: Path) -> str:
    """What a model's folder is and needs. Raises what loading raises."""
    import torch

    from prover.policy import load_policy
    from prover.policy.loading import check_folder, load_tokenizer
    from prover.policy.memory import require_weights_fit
    from prover.policy.weights import resolve

    folder = resolve(path)
    kind = check_folder(folder)
    load_tokenizer(folder)
    device, dtype = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
    made = require_weights_fit(folder, dtype, device)
    if made.weights > _LOADED_AT_MOST:
        return f"{kind}; {made.sentence()}; files checked, weights not read"
    policy = load_policy(folder)
    policy.generate(["p : Prop\nh : p\n⊢ p"], 1)
    context = f"{policy.context_tokens} tokens" if policy.context_tokens < 2**30 else "no limit"
    speed = "" if policy.decodes_fast else "; it does not honour attention masks, so that decoding is slow"
    size = f"{made.weights / 2**20:.1f} MiB of weights in {dtype}"
    return f"{kind}: {size}, context {context}, template {policy.template.name}; loaded{speed}"
