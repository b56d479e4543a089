"""Values of several parts: orders, chunks, JSON objects, and words beside numbers."""

import pytest

from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, validate
from s2s_algo.hyperparameters.values import Chunking, CleanupOldModels, MaxSeqLength, SeqOrdering

ORDERS = {
    "default": SeqOrdering("default"),
    "reverse": SeqOrdering("reverse"),
    "random": SeqOrdering("random"),
    "random:0": SeqOrdering("random", seed=0),
    "random:4294967295": SeqOrdering("random", seed=4294967295),
    "sorted": SeqOrdering("sorted"),
    "sorted_reverse": SeqOrdering("sorted_reverse"),
    "laplace": SeqOrdering("laplace"),
    "laplace:3": SeqOrdering("laplace", parts=3),
    "laplace:.1000": SeqOrdering("laplace", part_size=1000),
}


def value_of(name, value):
    beside = {"save_interval": "1"} if name == "start_epoch" else {}
    return getattr(validate({name: value, **beside}).hyperparameters, name)


def advice_on(name, value):
    with pytest.raises(ClientError) as caught:
        validate({name: value})
    message = str(caught.value)
    assert "\n" not in message
    return message.split("; ", 1)[1]


@pytest.mark.parametrize(("text", "order"), ORDERS.items(), ids=ORDERS)
def test_every_order_is_read(text, order):
    assert value_of("seq_ordering", text) == order
    assert value_of("seq_ordering", f' "{text}" ') == order
    assert order.plain() == text


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("sort", "did you mean 'sorted'?"),
        ("Random", "did you mean 'random'?"),
        ("sorted-reverse", "did you mean 'sorted_reverse'?"),
        ("shuffled_by_the_moon", "leave it out if you do not need it"),
        ("laplace.1000", "did you mean 'laplace:.1000'?"),
        ("laplace 3", "did you mean 'laplace:3'?"),
        ("random=5", "did you mean 'random:5'?"),
        ("random:", "N is a seed, an integer from 0 to 4294967295"),
        ("random:4294967296", "N is a seed, an integer from 0 to 4294967295"),
        ("random:-1", "N is a seed, an integer from 0 to 4294967295"),
        ("random:\u0661", "N is a seed, an integer from 0 to 4294967295"),
        ("sorted:3", "write sorted alone"),
        ("default:", "write default alone"),
        ("laplace:0", "N is a number of parts, .N of pairs in a part, 1 or more"),
        ("laplace:.", "N is a number of parts, .N of pairs in a part, 1 or more"),
        ("laplace:..5", "N is a number of parts, .N of pairs in a part, 1 or more"),
        ("laplace:3:2", "one number at most belongs to laplace"),
        ("", "leave it out if you do not need it"),
        (None, "leave it out if you do not need it"),
        (["sorted"], "leave it out if you do not need it"),
    ],
)
def test_a_wrong_order_is_refused_with_advice(text, advice):
    assert advice_on("seq_ordering", text) == advice


@pytest.mark.parametrize(
    ("value", "expected"),
    [("100:75", Chunking(100, 75)), ("1:1", Chunking(1, 1)), ("5:9", Chunking(5, 9)), ("0", 0), (0, 0), ('"0"', 0)],
)
def test_chunks_are_read(value, expected):
    assert value_of("chunking", value) == expected


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("100,75", "write 100:75, with a colon"),
        ("100, 75", "write 100:75, with a colon"),
        ("100", "write 100:100, for chunks without overlap"),
        (100, "write 100:100, for chunks without overlap"),
        ("100:0", "leave it out for the default 0"),
        ("0:0", "leave it out for the default 0"),
        ("-5:3", "leave it out for the default 0"),
        ("100:75:50", "leave it out for the default 0"),
        ("1" * 30, "leave it out for the default 0"),
        ("none", "leave it out for the default 0"),
        ([100, 75], "leave it out for the default 0"),
        (None, "leave it out for the default 0"),
    ],
)
def test_wrong_chunks_are_refused_with_advice(value, advice):
    assert advice_on("chunking", value) == advice


@pytest.mark.parametrize(
    "value",
    [
        {"source": 75},
        '{"source": 75}',
        "{'source': 75}",
        "{'source': '75'}",
        "{'source': 75, 'target': None}",
        '{"source": 75, "target": null}',
        '"{\\"source\\": 75}"',
        " {'source': 75} ",
    ],
)
def test_an_object_may_be_json_or_what_python_writes(value):
    assert value_of("max_seq_length", value) == MaxSeqLength(source=75)


def test_an_empty_object_bounds_nothing():
    assert value_of("max_seq_length", "{}") == MaxSeqLength()


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("75", 'write {"source": 75, "target": 75}'),
        ({"sources": 75}, "'sources' is not one of its keys, did you mean 'source'?"),
        ("{'data': 75}", "'data' is not one of its keys, allowed are source, target"),
        ({"source": 0}, "source 0 is not an integer from 1 to 2147483647"),
        ({"source": 75.0}, "source 75.0 is not an integer from 1 to 2147483647"),
        ({"source": True}, "source True is not an integer from 1 to 2147483647"),
        ({"source": {"target": 3}}, "source {'target': 3} is not an integer from 1 to 2147483647"),
        ("{'source': 70 + 5}", "leave it out if you do not need it"),
        ("dict(source=75)", "leave it out if you do not need it"),
        ("{'source': __import__('os').getpid()}", "leave it out if you do not need it"),
        ("{'source': 75", "leave it out if you do not need it"),
        ("{1: 2}", "leave it out if you do not need it"),
        ("[75, 75]", "leave it out if you do not need it"),
        ("{'source': NaN}", "leave it out if you do not need it"),
        ("{" * 2000, "leave it out if you do not need it"),
        ("[" * 2000, "leave it out if you do not need it"),
        ("-" * 2000 + "1", "leave it out if you do not need it"),
        ("{'source': 75" + " " * 3000 + "}", "leave it out if you do not need it"),
        ("{'source': '\\d'}", "source '\\\\d' is not an integer from 1 to 2147483647"),
        (None, "leave it out if you do not need it"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_wrong_bounds_are_refused_with_advice(value, advice):
    assert advice_on("max_seq_length", value) == advice


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", CleanupOldModels(2, 4, (20, 40, 80, 160, 240))),
        (True, CleanupOldModels()),
        ("False", False),
        (False, False),
        ("{}", CleanupOldModels()),
        ({"keep_best_n": 0}, CleanupOldModels(keep_best_n=0)),
        ({"keep": []}, CleanupOldModels(keep=())),
        ("{'keep': {30, 10, 10}}", CleanupOldModels(keep=(10, 30))),
        ("{'keep': (3,), 'keep_last_n': 1}", CleanupOldModels(keep_last_n=1, keep=(3,))),
        ('{"keep_last_n": 5, "keep_best_n": 6, "keep": null}', CleanupOldModels(5, 6)),
    ],
)
def test_what_is_kept_is_read(value, expected):
    assert value_of("cleanup_old_models", value) == expected


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ({"keep_lst_n": 3}, "'keep_lst_n' is not one of its keys, did you mean 'keep_last_n'?"),
        ({"only": 3}, "'only' is not one of its keys, allowed are keep_last_n, keep_best_n, keep"),
        ({"keep_last_n": 0}, "keep_last_n 0 is not an integer from 1 to 2147483647"),
        ({"keep_best_n": -1}, "keep_best_n -1 is not an integer from 0 to 2147483647"),
        ({"keep": 20}, "keep 20 is not a list of epochs"),
        ({"keep": "20,40"}, "keep '20,40' is not a list of epochs"),
        ({"keep": [20, 0]}, "keep 0 is not an integer from 1 to 2147483647"),
        ({"keep": [20, [40]]}, "keep [40] is not an integer from 1 to 2147483647"),
        ("1", "leave it out for the default false"),
        (None, "leave it out for the default false"),
    ],
)
def test_wrong_retention_is_refused_with_advice(value, advice):
    assert advice_on("cleanup_old_models", value) == advice


@pytest.mark.parametrize(("value", "expected"), [("auto", "auto"), ('"auto"', "auto"), ("1", 1), (7, 7)])
def test_a_word_or_a_number_is_read(value, expected):
    assert value_of("start_epoch", value) == expected


def test_such_values_are_stored_in_their_plain_form_and_read_back():
    configured = validate(
        {
            "seq_ordering": "laplace:.50",
            "chunking": "9:3",
            "max_seq_length": "{'target': 4}",
            "cleanup_old_models": "true",
            "start_epoch": "2",
            "save_interval": "1",
        }
    ).hyperparameters
    assert configured.model_dump(mode="json", exclude_unset=True) == {
        "seq_ordering": "laplace:.50",
        "chunking": "9:3",
        "max_seq_length": {"target": 4},
        "save_interval": 1,
        "start_epoch": 2,
        "cleanup_old_models": {"keep_last_n": 2, "keep_best_n": 4, "keep": [20, 40, 80, 160, 240]},
    }
    restored = Hyperparameters.model_validate_json(configured.model_dump_json(exclude_unset=True))
    assert restored == configured
    assert restored.model_fields_set == configured.model_fields_set
    assert Hyperparameters.model_validate(configured.model_dump()) == configured


def test_such_values_are_taken_as_objects():
    order, chunks = SeqOrdering("random"), Chunking(4, 2)
    configured = Hyperparameters(
        seq_ordering=order, chunking=chunks, max_seq_length=MaxSeqLength(3), cleanup_old_models=CleanupOldModels()
    )
    assert (configured.seq_ordering, configured.chunking) == (order, chunks)


def test_token_batches_have_an_order_of_their_own():
    assert Hyperparameters().ordering is None
    assert Hyperparameters(max_batch_tokens=9).ordering == SeqOrdering("laplace", part_size=1000)
    assert Hyperparameters(max_batch_tokens=9, seq_ordering="default").ordering == SeqOrdering("default")


def test_the_limit_of_epochs_has_two_names():
    assert Hyperparameters().epoch_limit is None
    assert Hyperparameters(num_epochs=3).epoch_limit == Hyperparameters(max_num_epochs=3).epoch_limit == 3
