"""The order of training sequences before they are cut into batches.

Pure functions of lengths and a random seed. Source: the second page's ``seq_ordering``; the exact semantics are those
of RETURNN (re-implemented from its description), and so is the stream of numbers: that of numpy's legacy generator,
which every release of numpy keeps (NEP 19).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_FEWEST_PARTS = 2  # of a laplace order given by the size of a part; also its default

Mode = Literal["default", "reverse", "random", "sorted", "sorted_reverse", "laplace"]


@dataclass(frozen=True, slots=True)
class Ordering:
    """One of the orders.

    ``default`` is the order of the corpus, ``reverse`` that order backwards. ``sorted`` goes from the shortest to the
    longest and ``sorted_reverse`` from the longest to the shortest, both with ties in the order of the corpus.
    ``laplace`` cuts a random permutation into parts and sorts these by length, up and down in turn.

    Attributes:
        mode: Its name.
        seed: Of ``random``: the random seed of every epoch; ``None``: each epoch has its own.
        parts: Of ``laplace``: number of parts, 1 or more; ``None``: 2.
        part_size: Of ``laplace``, in place of `parts`: sequences of a part, 1 or more.
    """

    mode: Mode
    seed: int | None = None
    parts: int | None = None
    part_size: int | None = None

    def of_epoch(self, lengths: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
        """Returns int64 [sequences]: their indices in the order of a training epoch.

        Args:
            lengths: int64 [sequences].
            seed: Seed of the job, 0 or more.
            epoch: Number of the epoch, 0 or more.
        """
        return self.of(lengths, epoch_seed(seed, epoch) if self.seed is None else self.seed)

    def of(self, lengths: NDArray[np.int64], random_seed: int) -> NDArray[np.int64]:
        """Returns int64 [sequences]: their indices in this order.

        Args:
            lengths: int64 [sequences].
            random_seed: 0 to 2^32 - 1; only ``random`` and ``laplace`` depend on it.
        """
        count = len(lengths)
        match self.mode:
            case "default":
                return np.arange(count)
            case "reverse":
                return np.arange(count)[::-1]
            case "random":
                return _permutation(count, random_seed)
            case "sorted":
                return stable_argsort(lengths)
            case "sorted_reverse":
                return stable_argsort(lengths.max(initial=0) - lengths)
            case "laplace":
                return _laplace(lengths, random_seed, self._number_of_parts(count))

    def _number_of_parts(self, count: int) -> int:
        if self.part_size is not None:
            return max(count // self.part_size, _FEWEST_PARTS)
        return _FEWEST_PARTS if self.parts is None else self.parts


def epoch_seed(seed: int, epoch: int) -> int:
    """The random seed of an epoch, 0 to 2^32 - 1, from the seed of the job and the number of the epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def stable_argsort(keys: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns the indices that sort numbers of 0 or more, ties in their order."""
    # numpy sorts integers of 16 bits by their digits, several times as fast.
    return np.argsort(keys.astype(np.min_scalar_type(int(keys.max(initial=0)))), kind="stable")


def _laplace(lengths: NDArray[np.int64], random_seed: int, parts: int) -> NDArray[np.int64]:
    """Sorts parts of a permutation by length: those of even number ascending, the others descending.

    Part i holds the positions from i * count // parts to (i + 1) * count // parts; it is empty where these are equal.
    """
    count = len(lengths)
    permutation = _permutation(count, random_seed)
    part = ((np.arange(count) + 1) * parts - 1) // max(count, 1)
    length = lengths[permutation]
    by_length = stable_argsort(np.where(part % 2 == 0, length, length.max(initial=0) - length))
    return permutation[by_length[stable_argsort(part[by_length])]]


def _permutation(count: int, random_seed: int) -> NDArray[np.int64]:
    return np.random.RandomState(random_seed).permutation(count)
