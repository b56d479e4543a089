"""The pairs of a job's channels, as it trains on them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from s2s_algo.data.channels import RecordChannel
from s2s_algo.data.chunking import chunked, require_equal_sides
from s2s_algo.data.corpus import Corpus, Sequences, open_corpus
from s2s_algo.data.statistics import LengthStatistics, length_statistics, pooled
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, written
from s2s_algo.training.corpus_cache import stored_corpus
from s2s_algo.training.workers import Workers

logger = logging.getLogger(__name__)


def read_pairs(
    channel: RecordChannel,
    vocabularies: tuple[Vocabulary, Vocabulary],
    scratch: Path,
    cache: Path | None,
    workers: Workers,
) -> tuple[Corpus, str]:
    """The pairs of a channel, which one process of each machine reads for all of them, and their digest.

    Args:
        channel: The files to read.
        vocabularies: Source and target.
        scratch: Where the corpus is put if it is not kept.
        cache: Where corpora are kept, if they are.
        workers: Who trains together.

    Raises:
        ClientError: The records are wrong.
        PlatformError: The disk refuses.
    """
    if not workers.leads_host:
        folder, digest = _agreed(("", ""), channel, workers)
        return open_corpus(Path(folder), channel.name), digest
    stored = stored_corpus(channel, (len(vocabularies[0]), len(vocabularies[1])), scratch, cache)
    _, digest = _agreed((str(stored.folder), stored.digest), channel, workers)
    report = stored.report
    logger.info(
        "%s channel: %d pairs in %d files, %d source and %d target tokens; %d records with an empty side skipped",
        channel.name,
        report.pairs,
        report.files,
        report.source_tokens,
        report.target_tokens,
        report.skipped,
    )
    return stored.corpus, digest


def _agreed(own: tuple[str, str], channel: RecordChannel, workers: Workers) -> tuple[str, str]:
    """Where the corpus of this machine lies, and the digest of those of all machines.

    Args:
        own: Both of this machine's own corpus, from the process that has read it; the others do not know.
        channel: That was read.
        workers: Who trains together.
    """
    of_all = workers.gather(own)
    digests = sorted({digest for _, digest in of_all if digest})
    if len(digests) > 1 and not channel.is_sharded:
        raise ClientError(
            "its records are not the same on all hosts; give each host all files in the same order, or say "
            "S3DistributionType ShardedByS3Key if each shall have its own",
            where=f"{channel.name} channel",
        )
    return of_all[workers.rank - workers.local_rank][0], " ".join(digests)


def pairs_as_trained(full: Corpus, channel: RecordChannel, hyperparameters: Hyperparameters) -> Corpus:
    """The training pairs after ``max_seq_length``, ``chunking`` and the truncation of what is left."""
    corpus, bounds, chunking = full, hyperparameters.max_seq_length, hyperparameters.chunking
    if chunking:
        require_equal_sides(corpus, channel)
    if bounds is not None:
        corpus, discarded = corpus.bounded(bounds.source, bounds.target)
        if not len(corpus):
            message = f"all {discarded} pairs have more tokens than max_seq_length {written(bounds)} allows; raise it"
            raise ClientError(message, where=f"{channel.name} channel")
        logger.info("train channel: %d pairs over max_seq_length %s discarded", discarded, written(bounds))
    if chunking:
        corpus = chunked(corpus, chunking.size, chunking.step)
        logger.info("train channel: cut into %d chunks of at most %d tokens", len(corpus), chunking.size)
    corpus = truncated(corpus, channel.name, hyperparameters)
    if most := hyperparameters.max_batch_tokens:
        too_long = int((np.maximum(corpus.source.lengths, corpus.target.lengths + 1) > most).sum())
        if too_long:
            logger.warning("train channel: each of %d pairs over max_batch_tokens %d is its own batch", too_long, most)
    return corpus


def truncated(corpus: Corpus, name: str, hyperparameters: Hyperparameters) -> Corpus:
    """The pairs of the channel `name`, cut to the longest source and target."""
    max_source, max_target = hyperparameters.max_seq_len_source, hyperparameters.max_seq_len_target
    shorter, cut = corpus.truncated(max_source, max_target)
    if cut:
        logger.info(
            "%s channel: %d pairs truncated to %d source and %d target tokens", name, cut, max_source, max_target
        )
    return shorter


def statistics_of_all(corpus: Corpus, workers: Workers, is_shard: bool) -> LengthStatistics:
    """The statistics of the pairs of all machines, each of which has its own if the corpus is a shard."""
    own = length_statistics(corpus)
    if not is_shard:
        return own
    # Every process of a machine has the same numbers, so that each machine counts once per process it has.
    all_own = workers.gather((own, len(corpus) / workers.local_size))
    return pooled([statistics for statistics, _ in all_own], [weight for _, weight in all_own])


def of_all_machines(corpus: Corpus, workers: Workers) -> Corpus:
    """The corpora of all machines in one, in memory."""
    sides = []
    for side in (corpus.source, corpus.target):
        own = [side[pair] for pair in range(len(side))] if workers.leads_host else []
        together = [tokens for tokens_of_one in workers.gather(own) for tokens in tokens_of_one]
        offsets = np.cumsum([0, *map(len, together)], dtype=np.int64)
        sides.append(Sequences.joined(np.concatenate(together), offsets))
    return Corpus(*sides)
