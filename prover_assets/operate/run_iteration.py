"""What `make run` does (`prover_assets.run` is its start)."""

import argparse
import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from prover.json_types import JsonObject
from prover.sqlite_faults import SqliteFault, fault_of
from prover.storage.data import data_url
from prover.storage.store import StorageError
from prover_assets.operate.addresses import link_to_last_ports
from prover_assets.operate.closing import close_abandoned, close_left_open, close_mlflow
from prover_assets.operate.preflight import SettingsError, config_of, require_known, require_valid
from prover_assets.operate.presets import PRESETS, PresetError, load_run_config
from prover_assets.operate.processes import tags_of_this
from prover_assets.operate.progress import TerminalReporter, stages_of, using
from prover_assets.operate.shared import shared
from prover_assets.report.tables import memo_line, paired_lines, terminal_table
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder, DataFolderError, IterationFolder
from prover_assets.tracking.relocation import relocate
from prover_assets.ui import dagster_home

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo

    from prover_assets.operate.next import NextIteration

BASELINE, TRAJECTORIES, GUIDED = "baseline_trajectories", "trajectories", "guided_trajectories"
REMEDIES = {
    SqliteFault.LOCKED: "Stop what holds it (another run, a database browser) and run this again",
    SqliteFault.FULL: "Make room on that disk and run this again; what was finished is kept",
    SqliteFault.READ_ONLY: "Make the folder writable, or set DAGSTER_HOME to one that is",
    SqliteFault.DAMAGED: "Restore it from a copy, or set DAGSTER_HOME to an empty folder; data folders are not touched",
    SqliteFault.UNREADABLE: "Look at the disk, and run this again",
    SqliteFault.OTHER: "After an update of Dagster, run `dagster instance migrate` (docs/operations.md, Upgrading)",
}
WHAT_IS_HELD = "the next iteration"
"""What `make run` locks in the data folder: two of them at once would make the same iteration."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one iteration, or several. Exit code 0: all went well; 1: the reason is on standard error.

    Raises KeyboardInterrupt on Ctrl-C, once what was open is closed.
    """
    parser = argparse.ArgumentParser(prog="make run", description="The next iteration of expert iteration, or several.")
    parser.add_argument("--iterations", type=int, default=1, help="how many iterations, one after another (default 1)")
    parser.add_argument(
        "--config",
        default="demo",
        help=f"a preset ({', '.join(PRESETS)}) or a YAML file of Dagster run configuration (default demo)",
    )
    parser.add_argument(
        "--tune-policy",
        action=argparse.BooleanOptionalAction,
        help="end the iteration with fine-tuning the policy on the certified proofs so far; the next one searches with "
        "the tuned policy if validation says that it is better. Where the newest finished iteration lacks this, do it. "
        "Default: on where the run configuration has ops.policy_checkpoint, as the preset demo does, and for several "
        "iterations (--iterations)",
    )
    parser.add_argument("--json", action="store_true", help="print the report's numbers as one JSON object at the end")
    options = parser.parse_args(arguments)
    if options.iterations < 1:
        parser.error(f"--iterations is {options.iterations}; it must be at least 1")
    logging.getLogger().setLevel(logging.WARNING)
    data = DataFolder.default()
    try:
        run_config = load_run_config(options.config)
        require_known(run_config)
        require_valid(run_config)
        data.prepare()
        moved_from = "" if data_url(data.root) else relocate(data.mlflow)
    except (PresetError, SettingsError, DataFolderError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.tune_policy is None:
        from prover_assets.defs.jobs import TUNING_ASSET

        options.tune_policy = options.iterations > 1 or TUNING_ASSET in (run_config.get("ops") or {})
    if moved_from:
        print(f"this data folder was moved or copied: MLflow's artifacts are now here, and no more in {moved_from}")
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["PROVER_DATA"] = str(data.root)
    link_to_last_ports(data)
    try:
        with data.held(WHAT_IS_HELD), shared(data), records_in_words(home):
            for _ in range(options.iterations):
                code = run_next(data, run_config, as_json=options.json, tune_policy=options.tune_policy)
                if code:
                    return code
    except (DataFolderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


class _ShortTroubles:
    """Standard error on which Dagster says once, in one line, that its log cannot be written: by itself it says so for
    each line of the log, with the SQL."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said = False

    def write(self, text: str) -> int:
        if text.startswith("Exception while writing logger call to event log"):
            length, text = len(text), "" if self._said else text.partition("\n")[0] + "\n"
            self._said = True
            self._stream.write(text)
            return length
        return int(self._stream.write(text))

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def records_in_words(home: Path) -> Iterator[None]:
    """Turn what Dagster's own database raises (a full disk, a lock) into a DataFolderError of one sentence."""
    try:
        with contextlib.redirect_stderr(_ShortTroubles(sys.stderr)):
            yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not type(cause).__module__.startswith(("sqlalchemy", "sqlite3")):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        fault = fault_of(cause, home / "storage" / "runs.db")
        first_line = str(cause).partition("\n")[0][:200]
        raise DataFolderError(
            f"Dagster's records in {home}: the database {fault} ({first_line}). {REMEDIES[fault]}"
        ) from error


def run_next(data: DataFolder, run_config: JsonObject, *, as_json: bool = False, tune_policy: bool = False) -> int:
    """Run what the next iteration lacks, and print its summary."""
    import dagster as dg

    from prover_assets.definitions import defs
    from prover_assets.defs.jobs import (
        ITERATION_ASSETS,
        TUNING_ASSET,
        everything_job,
        first_iteration_job,
        iteration_job,
        policy_iteration_job,
    )
    from prover_assets.defs.partitions import ITERATION
    from prover_assets.operate.next import missing_baseline, next_iteration
    from prover_assets.operate.terminal import instance_with_terminal

    instance = instance_with_terminal()
    held = data.lock_file(WHAT_IS_HELD)
    close_abandoned(instance, data, held)
    close_left_open(instance, data)
    upcoming = next_iteration(instance, data, tune_policy=tune_policy)
    instance.add_dynamic_partitions(ITERATION, [upcoming.key])
    missing = missing_baseline(instance, data)
    try:
        missing, upcoming, news = bring_up_to_date(data, run_config, missing, upcoming)
    except (OSError, RuntimeError, ValueError) as error:  # a policy or a Lean that is not there, a damaged record
        print(f"error: {error}", file=sys.stderr)
        return 1
    selection = [*missing, *upcoming.remaining]
    reporter = TerminalReporter(stages_of(tuning=TUNING_ASSET in selection))
    again = (
        ""
        if upcoming.remaining[: len(ITERATION_ASSETS)] == ITERATION_ASSETS
        else f" (going on from {upcoming.remaining[0]})"
    )
    reporter.console.print(f"[bold]{upcoming.key}[/]{again}, data in {data.root}")
    for sentence in news:
        reporter.console.print(sentence, soft_wrap=True)
    began = time.monotonic()
    with using(reporter):
        if missing:
            job = everything_job if tune_policy else first_iteration_job
        else:
            job = policy_iteration_job if tune_policy else iteration_job
        try:
            result = defs.resolve_job_def(job.name).execute_in_process(
                instance=instance,
                partition_key=upcoming.key,
                asset_selection=[dg.AssetKey(name) for name in selection],
                run_config=for_selection(run_config, selection),
                tags=tags_of_this(held),
                raise_on_error=False,
            )
        except dg.DagsterInvalidConfigError as error:  # a type that is wrong, before any step
            for fault in error.errors:
                print(f"error: the run configuration: {fault.message}", file=sys.stderr)
            return 1
    if not result.success:
        _close(instance, data, result)
        return 1
    print_summary(data.iteration(upcoming.key), reporter, seconds=time.monotonic() - began)
    if as_json:
        print(json.dumps(read_json(data.iteration(upcoming.key).report_file), ensure_ascii=False))
    return 0


def _close(instance: "dg.DagsterInstance", data: DataFolder, result: "dg.ExecuteInProcessResult") -> None:
    """Close what a run that did not succeed left open, and say why. Raises KeyboardInterrupt if it was interrupted."""
    from prover_assets.operate.terminal import report_canceled

    if interrupted(result):
        with contextlib.suppress(Exception):  # an import of MLflow that was cut off: then nothing is open either
            close_mlflow(data, result.run_id, "KILLED")
        report_canceled(instance, result.run_id)
        raise KeyboardInterrupt
    close_mlflow(data, result.run_id, "FAILED")
    _print_failure(result)


def bring_up_to_date(
    data: DataFolder, run_config: JsonObject, missing: tuple[str, ...], upcoming: "NextIteration"
) -> tuple[tuple[str, ...], "NextIteration", list[str]]:
    """What is to be made, with the finished searches that are of another Lean, policy or theorem set than there is now.

    missing: the assets of the baseline that are to be made anyway. Returns both again, and a sentence for each search
    that is made once more. A guided search follows its baseline.
    """
    from prover_assets.definitions import defs
    from prover_assets.defs.jobs import BASELINE_ASSETS, TUNING_ASSET
    from prover_assets.operate.outdated import as_configured, outdated

    if upcoming.remaining[0] == TUNING_ASSET:  # of an iteration that is finished: nothing is compared any more
        return missing, upcoming, []
    lean, policy = (
        as_configured((defs.resources or {})[name], config_of(run_config.get("resources") or {}, name))
        for name in ("lean", "policy")
    )
    made = [*(() if missing else BASELINE_ASSETS), *upcoming.made]
    reasons = outdated(data, data.iteration(upcoming.key), lean, policy, made)
    news = [f"{name} {reason}: made again" for name, reason in reasons.items()]
    if BASELINE in reasons:
        missing = (BASELINE,)
    if TRAJECTORIES in reasons:
        upcoming = upcoming.again_from(TRAJECTORIES)
    elif GUIDED in upcoming.made and (GUIDED in reasons or missing):
        upcoming = upcoming.again_from(GUIDED)
    return missing, upcoming, news


def for_selection(run_config: JsonObject, selection: Sequence[str]) -> dict[str, object]:
    """The run configuration without the assets that do not run this time, and with quiet logs."""
    ops = {name: value for name, value in run_config.get("ops", {}).items() if name in selection}
    return {**run_config, "ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def interrupted(result: "dg.ExecuteInProcessResult") -> bool:
    """Whether a run ended because of Ctrl-C or a request to terminate."""
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name == "DagsterExecutionInterruptedError" for error in errors)


def _print_failure(result: "dg.ExecuteInProcessResult") -> None:
    """Which step failed and why; the whole trace is in Dagster's UI."""
    failed_checks = [found for found in result.get_asset_check_evaluations() if found.blocking and not found.passed]
    for found in failed_checks:
        print(
            f"error: {found.asset_key.to_user_string()} did not pass {found.check_name}: {found.description}",
            file=sys.stderr,
        )
    for event in result.all_events:
        if failed_checks or not event.is_step_failure:
            continue
        metadata = event.step_failure_data.user_failure_data
        reason = metadata.description if metadata is not None else failure_words(event.step_failure_data.error)
        print(f"error: {event.step_key} failed: {reason}", file=sys.stderr)
    print("`make run` tries again from this step; `make ui` shows the whole trace", file=sys.stderr)


DAGSTERS_OWN = re.compile(r"Dagster\w*|RetryRequested\w*")
"""Errors that Dagster wraps around those of an asset."""
NOT_FOR_PEOPLE = frozenset({"AssertionError", "AttributeError", "IndexError", "KeyError", "TypeError"})
"""Mistakes in the program: their message says little without their name."""


def failure_words(error: "SerializableErrorInfo | None") -> str:
    """What the step itself said: the outermost error that is not Dagster's, without the name of its class.

    Its own causes (a parser's or the system's words for what it explains) are left to the trace.
    """
    if error is None:
        return "unknown"
    while error.cause is not None and DAGSTERS_OWN.fullmatch(error.cls_name or ""):
        error = error.cause
    name, words = error.cls_name or "", error.message.strip()
    if name in NOT_FOR_PEOPLE:
        return words
    return re.sub(rf"^(?:[\w<>]+\.)*{re.escape(name)}(?:: |$)", "", words) or name


def print_summary(iteration: IterationFolder, reporter: TerminalReporter, *, seconds: float) -> None:
    """The table of the report, the decision, and where to look next."""
    from prover_assets.report.record import read_report

    report = read_report(iteration)
    assert report is not None, "the report was just made"
    out = reporter.console
    out.print()
    out.print(terminal_table(iteration.key, report))
    for line in [*paired_lines(report["comparison"]), memo_line(report)]:
        out.print(f"  {line}", soft_wrap=True)
    promotion = report["promotion"]
    colour, word = ("green", "promoted") if promotion["promoted"] else ("yellow", "not promoted")
    out.print(f"\n[{colour}]{report['ebm_id']} {word}[/]: {promotion['reason']}", soft_wrap=True)
    champion = promotion["champion"] or "none, the policy alone"
    out.print(f"champion of the next iteration: {champion}", soft_wrap=True)
    tuning = read_json(iteration.tuning)
    if tuning is not None:
        colour, word = ("green", "adopted") if tuning["adopted"] else ("yellow", "not adopted")
        out.print(f"\n[{colour}]tuned policy {word}[/]: {tuning['reason']}", soft_wrap=True)
        out.print(f"policy of the next iteration: {tuning['policy'] or 'as configured'}", soft_wrap=True)
    out.print(f"\n{iteration.key} took {seconds:.0f} s. Where to look next:")
    out.print(f"  report      {iteration.report / 'index.html'}", soft_wrap=True)
    out.print("  make ui     Dagster (lineage, checks, plots) and MLflow", soft_wrap=True)
    if report.get("mlflow_view"):
        out.print(f"  charts      {report['mlflow_view']}  (while `make ui` runs)", soft_wrap=True)
    out.print("  make run    the next iteration")
