"""The reporter of a job."""

from __future__ import annotations

from s2s_algo.data.corpus import Corpus
from s2s_algo.decoding.translator import Translator
from s2s_algo.training.data import BatchSource
from s2s_algo.training.metrics import Metric
from s2s_algo.training.reporting.examples import choose_examples
from s2s_algo.training.reporting.fill import measure_fill
from s2s_algo.training.reporting.page import JobFacts
from s2s_algo.training.reporting.reporter import JobReporter, Outputs, Reporter, Silent
from s2s_algo.training.schedules import Schedule
from s2s_algo.training.snapshot import JobIdentity
from s2s_algo.training.workers import Workers


def make_reporter(
    outputs: Outputs | None,
    *,
    workers: Workers,
    identity: JobIdentity,
    optimized: Metric,
    train_data: BatchSource,
    validation_data: BatchSource,
    validation: Corpus,
    translator: Translator,
    schedule: Schedule,
    seed: int,
) -> Reporter:
    """A reporter for the leader; the other workers, and jobs without outputs, report nothing.

    Args:
        outputs: Where to write, if anything is wanted.
        workers: Who trains together.
        identity: Of the job.
        optimized: The metric that decides which checkpoint is best.
        train_data: Batches.
        validation_data: Batches.
        validation: The validation pairs, not truncated.
        translator: Over the model in training.
        schedule: Of the learning rate.
        seed: Of the job.
    """
    if outputs is None or not workers.is_leader:
        return Silent()
    where = outputs

    def facts() -> JobFacts:
        corpus = train_data.corpus
        here = " on the first machine" if train_data.is_shard else ""
        model = translator.model
        return JobFacts(
            optimized=optimized,
            hyperparameters=identity.hyperparameters,
            counts={
                f"training pairs{here}": len(corpus),
                f"their source tokens{here}": int(corpus.source.lengths.sum()),
                f"their target tokens{here}": int(corpus.target.lengths.sum()),
                "validation pairs": len(validation_data.corpus),
                "source vocabulary": len(translator.source_vocabulary),
                "target vocabulary": len(translator.target_vocabulary),
                "parameters of the model": sum(parameter.numel() for parameter in model.parameters()),
                "device": str(workers.device),
                "processes": workers.size,
            },
            # Of this machine's pairs alone, for that asks nothing of the other workers.
            fill=measure_fill(corpus, train_data.batches.epoch(0)),
            artifact=str(where.artifact),
        )

    return JobReporter(outputs, facts, lambda: choose_examples(validation, seed, translator), schedule.rate)
