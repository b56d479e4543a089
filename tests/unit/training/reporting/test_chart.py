"""Line charts: where things are drawn, and what is written on the axes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.training.reporting.chart import HEIGHT, WIDTH, Line, decimated, draw, label

numbers = st.just(0.0) | st.floats(1e-20, 1e10)


def places(line):
    return [tuple(map(float, place.split(","))) for place in line.path.split()]


def test_nothing_to_draw_is_no_chart():
    assert draw("title", [Line("training", [])]) is None


def test_a_line_goes_from_left_to_right_and_higher_values_are_higher():
    chart = draw("title", [Line("training", [(10, 1), (20, 2), (40, 4)])])
    (x1, y1), (x2, y2), (x3, y3) = places(chart.lines[0])
    assert chart.left < x1 < x2 < x3 == chart.right
    assert x3 - x2 == pytest.approx(2 * (x2 - x1), abs=0.2)
    assert chart.bottom > y1 > y2 > y3 > chart.top
    assert y2 - y3 == pytest.approx(2 * (y1 - y2), abs=0.2)


def test_the_axes_have_round_numbers():
    chart = draw("title", [Line("training", [(0, 0.31), (900, 0.7)])])
    assert [tick.label for tick in chart.x_ticks] == ["0", "200", "400", "600", "800"]
    assert [tick.label for tick in chart.y_ticks] == ["0.3", "0.4", "0.5", "0.6", "0.7"]


def test_values_of_different_sizes_are_drawn_on_a_logarithmic_axis_where_that_is_allowed():
    lines = [Line("training", [(0, 1000), (5, 10), (10, 1)])]
    assert not draw("title", lines).logarithmic
    chart = draw("title", lines, may_be_logarithmic=True)
    assert chart.logarithmic
    (_, first), (_, second), (_, third) = places(chart.lines[0])
    assert second - first == pytest.approx(2 * (third - second), abs=0.2)
    assert [tick.label for tick in chart.y_ticks] == ["1", "10", "100", "1k"]
    assert not draw("title", [Line("training", [(0, 3), (5, 1)])], may_be_logarithmic=True).logarithmic


def test_the_best_checkpoint_lies_on_its_line():
    chart = draw("title", [Line("validation", [(10, 1), (20, 2)], dotted=True)], best=(20, 2))
    assert (chart.best.x, chart.best.y) == places(chart.lines[0])[1]
    assert [dot.text for dot in chart.lines[0].dots] == [
        "validation: 1 after 10 updates",
        "validation: 2 after 20 updates",
    ]


def test_a_line_of_one_point_can_be_seen():
    assert len(draw("title", [Line("training", [(7, 3)])]).lines[0].dots) == 1


@given(
    st.lists(st.tuples(st.integers(0, 10**9), numbers), min_size=1, max_size=30),
    st.booleans(),
)
def test_everything_is_inside_the_chart(points, may_be_logarithmic):
    points = sorted(points)
    chart = draw("title", [Line("training", points)], points[-1], may_be_logarithmic)
    every = [*places(chart.lines[0]), (chart.best.x, chart.best.y)]
    every += [(tick.at, 0) for tick in chart.x_ticks] + [(0, tick.at) for tick in chart.y_ticks]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in every)
    assert len(chart.x_ticks) <= 7
    assert len(chart.y_ticks) <= 13


@given(st.lists(st.integers()), st.integers(2, 10))
def test_decimated_points_are_bounded_and_keep_both_ends_and_the_order(points, most):
    points = list(enumerate(points))
    kept = decimated(points, most)
    assert len(kept) == min(len(points), most)
    assert all(earlier < later for earlier, later in itertools.pairwise(kept))
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1, "1"),
        (999.96, "1000"),
        (1500, "1.5k"),
        (2e6, "2M"),
        (1e10, "10G"),
        (3e-5, "3.00e-5"),
    ],
)
def test_labels_are_short(value, text):
    assert label(value) == text
