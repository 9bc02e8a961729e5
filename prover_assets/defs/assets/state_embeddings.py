"""Hidden vectors of the labelled states."""

import dagster as dg

from prover_assets.defs.automation import next_when_open
from prover_assets.defs.checks import SOUND, iteration_check, vector_checks
from prover_assets.defs.configs import EmbeddingsConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.metadata import embedding_metadata, embedding_numbers, figure
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GPU_POOL, GROUP, OWNERS, step
from prover_assets.defs.tracking import MlflowResource
from prover_assets.operate.versions import step_version
from prover_assets.report import plots
from prover_assets.steps.embed import EmbeddingSettings, embed_states
from prover_assets.steps.history import iterations_until
from prover_assets.store.files import digest_of


@dg.asset(
    deps=["trajectories"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"pytorch", "numpy"},
    tags={"cost": "seconds"},
    pool=GPU_POOL,
    code_version=step_version("state_embeddings"),
    automation_condition=next_when_open(),
    check_specs=[
        iteration_check(
            SOUND, asset="state_embeddings", blocking=True, description="No vector is zero or has a NaN or infinity."
        )
    ],
)
def state_embeddings(
    context: dg.AssetExecutionContext,
    config: EmbeddingsConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """The policy's hidden vector of every labelled state so far, encoded once and kept by content.

    Seconds for the demonstration. Encodes only what the cache lacks: materialized again without change it encodes
    nothing, and says so. Look at how many states were cached, at the check, and at whether the picture of the vectors
    tells positive from negative states.
    """
    with step(context, data, mlflow, config, policy=policy) as work:
        settings = settings_from(config, EmbeddingSettings)
        with work.reporter.stage("embed states") as update:
            model = work.policy_of(policy).resource
            done = embed_states(
                iterations_until(work.data, work.iteration),
                work.data,
                model,
                batch_size=settings.batch_size,
                cache_dtype=settings.cache_dtype,
                update=update,
                cluster=lean.cluster,
            )
            update(done.requested, done.requested, f"{done.encoded} encoded, {done.cached} in the cache")
        numbers = embedding_numbers(done)
        if done.truncated > 0.01 * done.encoded:
            context.log.warning(
                f"{done.truncated} of {done.encoded} states were encoded by their first tokens alone: raise "
                "max_encoding_tokens"
            )
        work.run.metrics(numbers)
        facts = {"policy_id": done.policy_id, "pooling": done.pooling, "encoder": done.encoder_fingerprint}
        work.run.params({"inputs": facts}, parent_prefix="state_embeddings")
        plane = plots.scatter(
            done.plane, xlabel="first principal direction", ylabel="second", title="vectors of labelled states"
        )
        work.run.picture(plane, "vectors")
        return work.result(
            data_version=digest_of([done.encoder_fingerprint, done.states_digest]),
            metadata={**numbers, **embedding_metadata(done), "vectors": figure(plane, "vectors of labelled states")},
            checks=vector_checks(done),
            blocking=frozenset({SOUND}),
        )
