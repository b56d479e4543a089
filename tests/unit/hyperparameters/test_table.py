from typing import Literal, get_args

import pytest

from s2s_algo.hyperparameters.compound import Chunkings, Cleanups, IntegersOr, LengthBounds, Orderings
from s2s_algo.hyperparameters.domains import Booleans, Choice, Integers, Numbers
from s2s_algo.hyperparameters.parameters import parameters
from s2s_algo.hyperparameters.row import Row
from s2s_algo.hyperparameters.table import Hyperparameters
from s2s_algo.hyperparameters.values import Chunking, CleanupOldModels, MaxSeqLength, SeqOrdering

EACH = pytest.mark.parametrize("parameter", parameters().values(), ids=parameters())


@EACH
def test_values_are_of_the_type_that_type_checkers_see(parameter):
    annotation = Hyperparameters.model_fields[parameter.name].annotation
    expected = {
        Integers: int,
        Numbers: float,
        Booleans: bool,
        Orderings: SeqOrdering,
        Chunkings: Chunking | Literal[0],
        LengthBounds: MaxSeqLength,
        Cleanups: CleanupOldModels | Literal[False],
        IntegersOr: int | Literal["auto"],
    }.get(type(parameter.domain))

    if isinstance(parameter.domain, Choice):
        assert parameter.domain.words == get_args(annotation)
    else:
        assert annotation == (expected | None if parameter.default is None else expected)


@EACH
def test_a_default_is_allowed_and_an_optional_parameter_has_none(parameter):
    if parameter.none_means_not_passed:
        assert parameter.default is None
    if parameter.default is not None:
        assert parameter.domain.parse(parameter.default) == parameter.default


@EACH
def test_a_description_is_made_of_sentences_that_fit_a_table_cell(parameter):
    assert parameter.description[0].isupper()
    assert parameter.description.endswith(".")
    assert "|" not in parameter.description + parameter.tunable
    assert "\n" not in parameter.description + parameter.tunable


def test_three_parameters_can_be_passed_as_not_passed():
    optional = {name for name, parameter in parameters().items() if parameter.none_means_not_passed}

    assert optional == {"momentum", "max_num_epochs", "rnn_attention_num_hidden"}


def test_the_parameters_with_a_recommended_range_are_those_of_the_tuning_page():
    assert {name for name, parameter in parameters().items() if parameter.tunable} == {
        "batch_size", "clip_gradient", "cnn_hidden_dropout", "cnn_num_hidden", "embed_dropout_source",
        "embed_dropout_target", "fixed_rate_lr_half_life", "learning_rate", "lr_scheduler_type", "momentum",
        "num_embed_source", "num_embed_target", "num_layers_decoder", "num_layers_encoder", "optimizer_type",
        "plateau_reduce_lr_factor", "plateau_reduce_lr_threshold", "rnn_decoder_hidden_dropout", "rnn_num_hidden",
        "weight_decay", "weight_init_scale", "weight_init_type",
    }  # fmt: skip


def test_a_row_of_a_number_must_say_its_range():
    with pytest.raises(TypeError, match="must say which values it allows"):
        Row("A number.").domain(int)
