"""Collects how far our numbers are from the golden ones; ``pytest -s tests/golden`` prints the table."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import ArrayLike

Compare = Callable[..., None]


@pytest.fixture(scope="session")
def compare() -> Iterator[Compare]:
    """Fails if ours and golden differ by more than ``tolerance``; remembers the worst difference of each group."""
    worst: dict[str, float] = {}

    def check(group: str, ours: ArrayLike, golden: ArrayLike, tolerance: float = 1e-4, relative: bool = False) -> None:
        actual, expected = np.asarray(ours, dtype=np.float64), np.asarray(golden, dtype=np.float64)
        assert actual.shape == expected.shape, group
        difference = np.abs(actual - expected)
        if relative:
            difference /= np.abs(expected).clip(min=1e-12)
        # Empty arrays differ by nothing; NaN is never within the tolerance.
        deviation = float(difference.max(initial=0))
        worst[group] = max(worst.get(group, 0), deviation)
        assert deviation <= tolerance, f"{group}: {deviation:.1e}"

    yield check
    if worst:
        print("\n\nworst deviation from the golden numbers")
    for group, deviation in sorted(worst.items()):
        print(f"{deviation:8.1e}  {group}")
