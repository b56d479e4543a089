"""What holds for every body in every format, as random ones show; S2S_FUZZ_EXAMPLES is how many of each."""

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from serve.codecs import Instance, Limits, Request, decode, encode
from serve.media_types import Format, answer_format, parse_media_type, request_format
from serve.options import InstanceOptions
from serve.problems import NotAcceptableError, UnsupportedContentTypeError, describe
from serve.sources import source_ids, source_tokens

JSON, LINES, RECORDIO = Format.JSON, Format.JSON_LINES, Format.RECORDIO
LIMITS = Limits(instances=20, tokens=30)
USUAL = SearchOptions()
PATIENT = settings(max_examples=int(os.environ.get("S2S_FUZZ_EXAMPLES", "150")), deadline=None)

# -- a second implementation of what clients do


def frames(payloads):
    """RecordIO frames."""
    return b"".join(
        struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4) for payload in payloads
    )


def payloads_of(body):
    """The payloads of RecordIO frames."""
    payloads = []
    while body:
        magic, length = struct.unpack_from("<II", body)
        assert magic == 0xCED7230A
        assert len(body) >= 8 + length + -length % 4
        payloads.append(body[8 : 8 + length])
        assert not any(body[8 + length : 8 + length + -length % 4])
        body = body[8 + length + -length % 4 :]
    return payloads


def strictly(text):
    """JSON without what only Python takes for it."""
    return json.loads(text, parse_constant=pytest.fail)


# -- what is drawn

# No halves of surrogate pairs: those are not text, and test_hostile_bodies.py says what becomes of them.
texts = st.text(max_size=20)
words = st.text(min_size=1, max_size=6).filter(lambda word: word.split() == [word])
vocabularies = st.lists(words, max_size=8, unique=True).map(
    lambda tokens: Vocabulary.from_tokens(dict.fromkeys([*SPECIAL_TOKENS, *tokens]))
)
truths = st.booleans() | st.sampled_from(["true", "True", " FALSE "])
counts = st.integers(1, 10**9 - 1)
weights = st.floats(0, 1e300, allow_nan=False) | st.integers(0, 10**6)
configurations = st.fixed_dictionaries(
    {},
    optional={
        "attention_matrix": truths,
        "scores": truths,
        "replace_unknown": truths,
        "n_best": counts | counts.map(str),
        "beam_size": st.integers(1, 100),
        "max_output_length": counts,
        "length_penalty_alpha": weights | st.floats(0, 10).map(str),
        "length_penalty_beta": weights,
    },
)
keys = st.sampled_from(["instances", "data", "source", "configuration", "attention_matrix", "n_best", "x"]) | texts
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)

# Bytes that come further than the first look: JSON values of all shapes, records of all kinds, and parts of either.
pieces = st.binary(max_size=12) | st.sampled_from(
    [
        b"\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\u",
        b"\xef\xbb\xbf",
        b"\x0a\x23\xd7\xce",
        b"\x0a\x06source",
        b"NaN",
        b"\xff",
    ]
)
json_bodies = st.builds(
    lambda value, is_ascii: json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass"),
    json_values,
    st.booleans(),
)


@st.composite
def any_records(draw):
    record = Record()
    for name in draw(st.lists(st.sampled_from(["source", "target", "values", "ä"]), max_size=2)):
        value = record.features[name]
        match draw(st.integers(0, 4)):
            case 0:
                value.int32_tensor.values.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40)))
            case 1:
                value.float32_tensor.values.extend(draw(st.lists(st.floats(width=32), max_size=3)))
            case 2:
                value.bytes.value.append(draw(st.binary(max_size=5)))
            case 3:
                value.int32_tensor.keys.append(1)
    if draw(st.booleans()):
        record.configuration = draw(json_values.map(json.dumps) | texts)
    return record.SerializeToString()


@st.composite
def damaged(draw, bodies):
    """Bodies of which a stretch has been replaced."""
    body = draw(bodies)
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 8)))
    return body[:start] + draw(pieces) + body[end:]


whole = (
    json_bodies
    | st.lists(json_bodies | st.just(b""), max_size=5).map(b"\n".join)
    | any_records()
    | st.lists(any_records(), max_size=4).map(frames)
)
bodies = st.binary(max_size=60) | whole | damaged(whole) | damaged(damaged(whole))


# -- bytes from anywhere


@given(bodies, st.sampled_from(Format), st.sampled_from(["", "true", "x", "\udc80"]))
@PATIENT
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}", JSON, "")
@example(b'["\\ud800"]', JSON, "true")
@example(b"\x0a\x23\xd7\xce", RECORDIO, "")
def test_any_bytes_are_either_instances_or_the_error_of_a_client(body, format_, parameter):
    try:
        request = decode(body, format_, {"attention_matrix": parameter} if parameter else {}, LIMITS)
    except ClientError as error:
        problem = describe(error, "id")
        assert problem.status in (400, 413)
        assert len(problem.to_json()) < 1000
        assert strictly(problem.to_json())["error"]["message"]
        problem.message.encode()
        return
    assert len(request.instances) <= LIMITS.instances
    assert request.instances or format_ is JSON
    vocabulary = Vocabulary.from_tokens([*SPECIAL_TOKENS, "a"])
    for instance in request.instances:
        assert isinstance(instance.options, InstanceOptions)
        if not isinstance(instance.source, str) and not all(0 < id_ < len(vocabulary) for id_ in instance.source):
            with pytest.raises(ClientError) as caught:
                source_ids(instance, vocabulary)
            assert (caught.value.where, format_) == (instance.place, RECORDIO)
            continue
        ids = source_ids(instance, vocabulary)
        assert len(ids) == len(source_tokens(instance, vocabulary)) <= LIMITS.tokens
        assert all(0 < id_ < len(vocabulary) for id_ in ids)


@given(st.text(max_size=40), st.none() | st.text(max_size=60), st.none() | st.sampled_from(Format))
@PATIENT
def test_any_headers_lead_to_a_format_or_to_the_error_of_a_client(content_type, accept, default):
    parse_media_type(content_type)
    try:
        own = request_format(content_type)
    except UnsupportedContentTypeError as error:
        json.dumps(error.message).encode()
        own = JSON
    try:
        assert answer_format(accept, own, default) in Format
    except NotAcceptableError as error:
        json.dumps(error.message).encode()


@given(st.permutations(list(Format)), st.lists(st.integers(0, 1000), min_size=3, max_size=3, unique=True), st.data())
@PATIENT
def test_the_format_of_the_highest_quality_is_answered_in_whatever_order_they_stand(formats, qualities, data):
    entries = [f"{format_.value} ; q={quality / 1000}" for format_, quality in zip(formats, qualities, strict=True)]
    best = formats[qualities.index(max(qualities))]
    assert answer_format(",".join(entries), data.draw(st.sampled_from(Format))) is best


# -- one request in three formats


@given(vocabularies, st.data())
@PATIENT
def test_all_formats_say_the_same(vocabulary, data):
    known = st.sampled_from(vocabulary.tokens[1:])
    sentences = data.draw(st.lists(st.lists(known, max_size=6), min_size=1, max_size=5))
    options = [data.draw(configurations) for _ in sentences]
    key = data.draw(st.sampled_from(["data", "source"]))
    is_ascii, blank = data.draw(st.booleans()), data.draw(st.sampled_from([" ", "  ", "\t", "\u3000"]))

    entries = [
        {key: blank.join(sentence), "configuration": configuration}
        for sentence, configuration in zip(sentences, options, strict=True)
    ]
    records = []
    for sentence, configuration in zip(sentences, options, strict=True):
        record = Record(configuration=json.dumps(configuration))
        record.features["source"].int32_tensor.SetInParent()
        record.features["source"].int32_tensor.values.extend(map(vocabulary.tokens.index, sentence))
        records.append(record.SerializeToString())
    written = {
        JSON: json.dumps({"instances": entries}, ensure_ascii=is_ascii).encode(),
        LINES: "\n".join(json.dumps(entry, ensure_ascii=is_ascii) for entry in entries).encode(),
        RECORDIO: frames(records),
    }
    read = {format_: decode(body, format_, {}, LIMITS).instances for format_, body in written.items()}
    ids = [[vocabulary.tokens.index(token) for token in sentence] for sentence in sentences]
    for instances in read.values():
        assert [list(source_ids(instance, vocabulary)) for instance in instances] == ids
        assert [list(source_tokens(instance, vocabulary)) for instance in instances] == sentences
        assert [instance.options for instance in instances] == [instance.options for instance in read[JSON]]
    searches = [instance.options.search_options(USUAL) for instance in read[JSON]]
    for search, configuration in zip(searches, options, strict=True):
        assert search.n_best == int(configuration.get("n_best", USUAL.n_best))
        assert search.length_penalty_alpha == float(configuration.get("length_penalty_alpha", 1))

    assert decode(records[0], RECORDIO, {}, LIMITS).instances == read[RECORDIO][:1]


@given(st.lists(texts, max_size=5), truths)
@PATIENT
def test_a_bare_list_says_the_same_as_objects_with_one_configuration(sources, matrix):
    bare = decode(json.dumps(sources).encode(), JSON, {"attention_matrix": str(matrix)}, LIMITS)
    entries = [{"data": source, "configuration": {"attention_matrix": matrix}} for source in sources]
    assert bare.instances == decode(json.dumps({"instances": entries}).encode(), JSON, {}, LIMITS).instances
    assert bare.is_bare_list


@given(st.lists(texts, max_size=6), st.sampled_from(["\n", "\r\n"]), st.integers(0, 3), st.booleans())
@PATIENT
def test_lines_are_those_that_were_written_whatever_their_texts_hold(sources, end, blanks, has_mark):
    lines = [json.dumps({"source": source}, ensure_ascii=False) if source.strip() else "" for source in sources]
    body = ("\ufeff" if has_mark else "").encode() + (end.join(lines) + end * blanks).encode()
    while lines and not lines[-1]:
        lines.pop()
    if lines:
        instances = decode(body, LINES, {}, LIMITS).instances
        assert [instance.source.strip() for instance in instances] == [s.strip() for s in sources[: len(lines)]]
        assert [instance.place for instance in instances] == [f"line {n}" for n in range(1, len(lines) + 1)]
    else:
        with pytest.raises(ClientError, match="empty"):
            decode(body, LINES, {}, LIMITS)


# -- answers


@st.composite
def answered(draw):
    """A request with its translations."""
    vocabulary = draw(vocabularies)
    instances, translations = [], []
    for number in range(draw(st.integers(0, 4))):
        options = InstanceOptions(
            attention_matrix=draw(st.booleans()),
            scores=draw(st.booleans()),
            n_best=draw(st.none() | st.integers(1, 3)),
        )
        instances.append(Instance("", options, f"instance {number + 1}"))
        translations.append([draw(translations_of(vocabulary)) for _ in range(options.n_best or 1)])
    return Request(tuple(instances), draw(st.booleans())), translations


@st.composite
def translations_of(draw, vocabulary):
    ids = draw(st.lists(st.integers(1, len(vocabulary) - 1), max_size=5))
    columns = draw(st.integers(0, 4))
    weights = draw(st.lists(st.floats(0, 1, width=32), min_size=len(ids) * columns, max_size=len(ids) * columns))
    score = draw(st.floats(allow_nan=False, allow_infinity=True) | st.just(np.nan))
    attention = np.array(weights, dtype=np.float32).reshape(len(ids), columns)
    return Translation(tuple(ids), tuple(vocabulary.decode(ids)), score, attention)


def expected(translation, options):
    answer = {"target": " ".join(translation.tokens)}
    if options.scores:
        answer["score"] = translation.score if np.isfinite(translation.score) else None
    if options.attention_matrix:
        answer["matrix"] = [
            [pytest.approx(float(weight), abs=1e-7) for weight in weights] for weights in translation.attention
        ]
    return answer


@given(answered())
@PATIENT
def test_clients_read_from_every_format_what_was_translated(case):
    request, translations = case
    answers = []
    for instance, found in zip(request.instances, translations, strict=True):
        answers.append(expected(found[0], instance.options))
        if instance.options.n_best is not None:
            answers[-1]["n_best"] = [expected(translation, instance.options) for translation in found]

    body = encode(request, translations, JSON).decode("utf-8")
    assert strictly(body) == (answers if request.is_bare_list else {"predictions": answers})

    body = encode(request, translations, LINES).decode("utf-8")
    assert [strictly(line) for line in body.split("\n") if line] == answers
    assert body.count("\n") == max(0, len(answers) - 1)

    records = [Record.FromString(payload) for payload in payloads_of(encode(request, translations, RECORDIO))]
    assert [tuple(record.features["target"].int32_tensor.values) for record in records] == [
        best.token_ids for best, *_ in translations
    ]
    for record in records:
        assert record.features["target"].HasField("int32_tensor")
        assert list(record.features) == ["target"]


@given(st.text(st.characters(), min_size=1, max_size=10))  # with halves of surrogate pairs
@PATIENT
def test_whatever_text_a_vocabulary_holds_answers_are_valid(token):
    request = Request((Instance("", InstanceOptions(), "instance 1"),))
    translation = Translation((4,), (token,), 0.0, np.zeros((1, 0), dtype=np.float32))
    for format_ in (JSON, LINES):
        body = encode(request, [[translation]], format_).decode("utf-8")
        answer = strictly(body)
        [answer] = answer["predictions"] if format_ is JSON else [answer]
        assert answer == {"target": token.encode("utf-8", "replace").decode("utf-8")}
        assert "\n" not in body
