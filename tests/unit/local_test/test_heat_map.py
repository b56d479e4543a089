import struct

import pytest

from local_test.heat_map import Panel, save_heat_map

CAT = Panel(list("cat"), ["K", "AE", "T"], [[0.8, 0.1, 0.1], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
BOXES = Panel(list("boxes"), ["B", "AA", "K", "S", "AH", "Z"], [[0.2] * 5] * 6)


def test_panels_are_drawn_into_a_png_file(tmp_path):
    pytest.importorskip("matplotlib")
    save_heat_map([CAT, BOXES], tmp_path / "attention.png")
    content = (tmp_path / "attention.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert width > height > 100


def test_letters_are_on_the_x_axis_and_phonemes_on_the_y_axis(tmp_path, monkeypatch):
    figure_module = pytest.importorskip("matplotlib.figure")
    figures = []
    monkeypatch.setattr(figure_module.Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    save_heat_map([BOXES], tmp_path / "attention.png")
    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list("boxes")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B", "AA", "K", "S", "AH", "Z"]
    assert axes.get_images()[0].get_array().shape == (6, 5)


@pytest.mark.parametrize("matrix", [[[0.5, 0.5]], [[1.0], [1.0], [1.0]], []])
def test_a_matrix_that_does_not_fit_its_tokens_is_refused(tmp_path, matrix):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="attention matrix for 'c a t' must have 3 rows of 3 columns"):
        save_heat_map([CAT._replace(matrix=matrix)], tmp_path / "attention.png")


def test_no_panel_is_refused(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="nothing to draw"):
        save_heat_map([], tmp_path / "attention.png")
