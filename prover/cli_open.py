"""What the options of a command name, opened: theorems, Lean, policy, energy model, memo.

Whatever cannot be opened raises `UsageProblem`, before any work. Heavy imports are inside the functions.
"""

import os
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, overload, runtime_checkable

from prover.cli_output import ERR, UsageProblem
from prover.cli_policy import PolicyOptions
from prover.storage import data_folder

if TYPE_CHECKING:
    from prover.environments.base import ProofEnvironment
    from prover.lint.whitelist import WhitelistedEnvironment
    from prover.policy.base import TacticGenerator
    from prover.search import SearchMemo, ValueScorer
    from prover.theorems import Theorem


class ScorerLoader(Protocol):
    """What opens an energy model: an entry point of the group `prover.scorers`."""

    def __call__(self, path: str, policy: "TacticGenerator", data_dir: Path) -> "ValueScorer":
        """The scorer of a checkpoint folder, or of the data folder's `champion`."""
        ...


@runtime_checkable
class KnowsPolicies(Protocol):
    """A loader that also knows which policy an energy model was trained with."""

    def policy_of(self, path: str, data_dir: Path) -> Path | None:
        """Folder of that policy; None where the data folder has none."""
        ...


def lean_kind(kind: str | None, project: Path | None) -> str:
    """The Lean that the options name; without `--lean` a project's own, else the embedded one."""
    return kind or ("embedded" if project is None else "project")


def load_theorems(
    source: str, split: str | None, limit: int | None, *, layout: str | None = None, skip_invalid: bool = False
) -> "list[Theorem]":
    """Theorems of a file or a built-in set; `UsageProblem` if there are none or the file has a fault.

    Says how a layout of other people's was read, and what `--skip-invalid` left out.
    """
    from prover.theorem_files.layouts import FROM_STATES
    from prover.theorem_files.problems import describe
    from prover.theorems import TheoremSet

    try:
        chosen = TheoremSet.load(source, split=split, limit=limit, layout=layout, skip_invalid=skip_invalid)
    except (OSError, ValueError) as error:
        raise UsageProblem(str(error)) from error
    if not len(chosen):
        raise UsageProblem(f"{source} holds no theorem to search")
    if layout is None and chosen.layout != "own":
        ERR.print(f"{source}: read as `{chosen.layout}`; --format NAME overrules the guess (docs/formats.md)")
    if chosen.from_states:
        ERR.print(f"{source}: {FROM_STATES}")
    if chosen.skipped:
        ERR.print(f"{len(chosen.skipped)} entries were left out:\n{describe(chosen.skipped)}", markup=False)
    return list(chosen)


def open_lean(kind: str | None, project: Path | None, workers: int | None) -> "ProofEnvironment":
    """The Lean that the options name; without `--lean` a project's own, else the embedded one."""
    from prover.environments import open_environment

    kind = lean_kind(kind, project)
    if project is not None and not project.is_dir():
        raise UsageProblem(f"--lean-project {project}: no such folder; expected that of a Lake project")
    try:
        return open_environment(kind, lean_project=project, workers=workers)
    except ValueError as error:
        raise UsageProblem(str(error)) from error


@overload
def load_models(options: PolicyOptions, ebm_path: str) -> "tuple[TacticGenerator, ValueScorer]": ...
@overload
def load_models(options: PolicyOptions, ebm_path: str | None) -> "tuple[TacticGenerator, ValueScorer | None]": ...
def load_models(options: PolicyOptions, ebm_path: str | None) -> "tuple[TacticGenerator, ValueScorer | None]":
    """The policy, and the energy model if one is asked for. The other cores belong to Lean.

    The energy model gets the pooling that it was trained with, and a server without an encoder the folder that the
    checkpoint names, if it is here.
    """
    from prover.policy import is_address, start_policy
    from prover.policy.base import ENCODER_ADVICE
    from prover.policy.server import ServerPolicyError, ServerUnavailableError
    from prover.policy.weights import PolicyLoadError

    if not options.threads:
        options = replace(options, threads=max(1, (os.cpu_count() or 1) // 2))
    options = with_policy_of(options, ebm_path)
    if options.llm_path is None and options.where is not None:
        ERR.print(f"policy: {options.where}, from PROVER_POLICY", markup=False)
    try:
        if ebm_path is None:
            return options.open(), None
        policy = options.open(start=False)  # the energy model may say which encoder a server needs
        scorer = _scorer_loader()(ebm_path, policy, data_folder())
        start_policy(policy, choose_template=options.template is None)
        return policy, scorer
    except ServerUnavailableError:
        raise
    except (OSError, ValueError, PolicyLoadError, ServerPolicyError) as error:
        missing = ebm_path is not None and is_address(options.where) and not options.encoder
        if missing and "--encoder" not in str(error):
            raise UsageProblem(
                f"{error}. The policy is a server, which needs an encoder too: {ENCODER_ADVICE}"
            ) from error
        raise UsageProblem(str(error)) from error


def _scorer_loader() -> ScorerLoader:
    """The installed loader of energy models. Raises `UsageProblem` where there is none."""
    loaders = list(entry_points(group="prover.scorers"))
    if not loaders:
        raise UsageProblem("--ebm-path is given but no energy model is installed; install the whole project")
    loader: ScorerLoader = loaders[0].load()
    return loader


def with_policy_of(options: PolicyOptions, ebm_path: str | None) -> PolicyOptions:
    """The options with the policy that an energy model was trained with, where `--llm-path` names none.

    That is a tuned policy of the data folder; where the model was trained with another one, the options stay as they
    are, and whoever loads the two compares them.
    """
    if ebm_path is None or options.llm_path is not None:
        return options
    loader = _scorer_loader()
    found = loader.policy_of(ebm_path, data_folder()) if isinstance(loader, KnowsPolicies) else None
    if found is None:
        return options
    ERR.print(f"policy: {found}, which the energy model was trained with", markup=False)
    return replace(options, llm_path=str(found))


def open_whitelist(environment: "ProofEnvironment", path: Path) -> "WhitelistedEnvironment":
    """The environment behind a whitelist of statements; `UsageProblem` for a file that is none."""
    from prover.lint.whitelist import WhitelistedEnvironment, WhitelistError

    try:
        listed = WhitelistedEnvironment(environment, path)
    except WhitelistError as error:
        raise UsageProblem(str(error)) from error
    if not listed.known:
        ERR.print(f"--whitelist {path} says nothing of this Lean ({environment.name}); Lean is asked as usual.")
    return listed


def open_memo(path: Path | None) -> "SearchMemo":
    """The memo at `path`, or that of the data folder."""
    from prover.search import SearchMemo

    return SearchMemo(path or data_folder() / "memo.sqlite")
