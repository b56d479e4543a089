"""The powers by which costs grow."""

import pytest

from benchmarks._growth import Growth, exponent, save_plot


@pytest.mark.parametrize("power", [-1, 0, 0.5, 2])
def test_the_exponent_of_a_power_is_found(power):
    sizes = [1, 4, 16, 64]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_the_plot_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [Growth("training", size, (1, 2, 4), (1e-3, 2e-3, 3e-3)) for size in ("units", "pairs")]
    save_plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
