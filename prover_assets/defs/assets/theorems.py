"""The theorem sets."""

import dagster as dg

from prover_assets.defs.checks import check
from prover_assets.defs.configs import TheoremsConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.metadata import how_read, theorem_previews
from prover_assets.defs.partitions import ITERATION
from prover_assets.defs.resources import DataResource
from prover_assets.defs.step import GROUP, OWNERS, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.steps.theorem_sets import SPLITS, TheoremSettings, lint_of, write_theorem_sets
from prover_assets.store.files import digest_of
from prover_assets.store.iterations import FIRST_ITERATION

COLUMNS = {
    "name": "distinct over all three sets",
    "statement": "what follows the name in Lean: binders, colon, proposition",
    "header": "imports and opens that the statement needs",
    "split": "train, valid or test",
    "difficulty": "of generated theorems: higher is harder",
}


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "lean"},
    tags={"cost": "seconds"},
    code_version=step_version("theorems"),
    check_specs=[
        dg.AssetCheckSpec("sets_disjoint", asset="theorems", description="No statement is in two of the sets."),
    ],
)
def theorems(
    context: dg.AssetExecutionContext, config: TheoremsConfig, data: DataResource, mlflow: MlflowResource
) -> dg.MaterializeResult:
    """What there is to prove: a set to learn from (train), one to choose settings on (valid), one held out (test).

    Takes a second. Look at the counts and the previews. Also opens the first iteration, so that there is a partition
    to materialize.
    """
    with step(context, data, mlflow, config) as work:
        written = write_theorem_sets(settings_from(config, TheoremSettings), work.data)
        if not context.instance.get_dynamic_partitions(ITERATION):
            context.instance.add_dynamic_partitions(ITERATION, [FIRST_ITERATION])
        for split in SPLITS:
            work.run.dataset(f"theorems-{split}", written.digests[split], work.data.theorems(split), "output")
        lint = {split: lint_of(written.sets[split]) for split in SPLITS}
        work.run.params(
            {"digest": written.digests, "lint": {split: found["digest"] for split, found in lint.items()}},
            parent_prefix="theorems",
        )
        counts = {split: len(written.sets[split]) for split in SPLITS}
        statements = [(t.statement, split) for split in SPLITS for t in written.sets[split]]
        doubled = len(statements) - len({statement for statement, _ in statements})
        work.run.metrics({f"theorems_{split}": count for split, count in counts.items()})
        return work.result(
            data_version=digest_of(written.digests),
            metadata={
                **{f"{split}_theorems": count for split, count in counts.items()},
                **theorem_previews(written.sets),
                **how_read(written.sets),
                "lint": dg.MetadataValue.json(lint),
                "dagster/row_count": len(statements),
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(name, "string", description=note) for name, note in COLUMNS.items()]
                ),
                "path": dg.MetadataValue.path(str(work.data.theorems("train").parent)),
            },
            checks=[
                check(
                    "sets_disjoint", doubled == 0, f"{doubled} statements occur more than once", {"repeated": doubled}
                )
            ],
        )
