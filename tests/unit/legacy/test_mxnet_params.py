"""The reader of MXNet parameter files: exact on true files, a clear error on everything else."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.legacy.mxnet_params import read_params

MODELS = Path(__file__).parents[2] / "golden" / "models"

# How MXNet 0.10 (V0), 0.11 (V1) and 0.12 (V2) save {"arg:w": ones(2, 3)}.
GOLDEN_HEAD = "12010000000000000000000000000000 0100000000000000"
GOLDEN_TAIL = "01000000 00000000 00000000" + "0000803f" * 6 + "0100000000000000 0500000000000000 6172673a77"
GOLDEN_ARRAYS = {
    "V0": "02000000 02000000 03000000",
    "V1": "c8fa93f9 02000000 0200000000000000 0300000000000000",
    "V2": "c9fa93f9 00000000 02000000 0200000000000000 0300000000000000",
}
GOLDEN = {version: bytes.fromhex(GOLDEN_HEAD + shape + GOLDEN_TAIL) for version, shape in GOLDEN_ARRAYS.items()}

# Folder: (format of the file, number of arrays, number of elements in all arrays).
GOLDEN_MODELS = {
    "cnn_cnn_glu_1.10.5": ("V2", 16, 6164),
    "cnn_cnn_glu_1.18.28": ("V2", 14, 3108),
    "cnn_cnn_glu_1.8.3": ("V0", 12, 2472),
    "cnn_cnn_glu_long_1.13.0": ("V2", 16, 12340),
    "cnn_cnn_relu_1.13.0": ("V2", 14, 3154),
    "cnn_cnn_sigmoid_1.13.0": ("V2", 14, 3010),
    "cnn_cnn_softrelu_1.10.5": ("V2", 12, 2538),
    "cnn_cnn_tanh_1.10.5": ("V2", 12, 2968),
    "cnn_rnn_lstm_mlp_1.10.5": ("V2", 35, 4507),
    "rnn_cnn_gru_glu_1.13.0": ("V2", 16, 3728),
    "rnn_rnn_gru_3layer_encoder_1.10.5": ("V2", 85, 5129),
    "rnn_rnn_gru_bilinear_avg_1.10.5": ("V2", 45, 3344),
    "rnn_rnn_gru_dot_1.18.10": ("V2", 22, 3682),
    "rnn_rnn_lstm_bilinear_1.18.106": ("V2", 23, 3868),
    "rnn_rnn_lstm_dot_zero_1.10.5": ("V2", 72, 9208),
    "rnn_rnn_lstm_fixed_1.10.5": ("V2", 58, 5720),
    "rnn_rnn_lstm_mlp_1.10.5": ("V2", 61, 4096),
    "rnn_rnn_lstm_mlp_1.18.28": ("V2", 25, 6064),
    "rnn_rnn_lstm_mlp_1.8.3": ("V0", 77, 6304),
    "rnn_rnn_lstm_mlp_long_1.10.5": ("V2", 61, 9712),
    "rnn_rnn_lstm_residual_upper_1.13.0": ("V2", 45, 13278),
    "rnn_rnn_lstm_upper_1.18.1": ("V2", 33, 6160),
    "rnn_rnn_lstm_upperflag_noop_1.10.5": ("V2", 81, 6616),
}

MARKS = {"V1": 0xF993FAC8, "V2": 0xF993FAC9, "V3": 0xF993FACA}
DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


def shape_bytes(version: str, shape: Sequence[int], *, storage: int = 0) -> bytes:
    if version == "V0":
        return struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    mark = struct.pack("<I", MARKS[version]) + (struct.pack("<i", storage) if version != "V1" else b"")
    return mark + struct.pack(f"<i{len(shape)}q", len(shape), *shape)


def description(element_type: int = 0, device_type: int = 1, device_id: int = 0) -> bytes:
    return struct.pack("<3i", device_type, device_id, element_type)


def array_bytes(version: str, array: np.ndarray) -> bytes:
    return shape_bytes(version, array.shape) + description(DTYPES.index(array.dtype.name)) + array.tobytes()


def file_bytes(arrays: Sequence[bytes], names: Sequence[bytes], *, mark: int = 0x112, reserved: int = 0) -> bytes:
    head = struct.pack("<3Q", mark, reserved, len(arrays))
    return head + b"".join(arrays) + struct.pack("<Q", len(names)) + b"".join(map(name_bytes, names))


def name_bytes(name: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name


ONE = array_bytes("V2", np.ones(1, np.float32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.best"


def error_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ClientError) as caught:
        read_params(path)
    return str(caught.value)


# True files


@pytest.mark.parametrize("version", GOLDEN)
def test_bytes_written_by_each_mxnet_version_are_read(path: Path, version: str) -> None:
    path.write_bytes(GOLDEN[version])
    params = read_params(path)
    assert list(params) == ["w"]
    assert params["w"].dtype == np.float32
    np.testing.assert_array_equal(params["w"], np.ones((2, 3)))


@pytest.mark.parametrize("version", GOLDEN)
def test_the_writer_of_these_tests_writes_the_golden_bytes(version: str) -> None:
    assert file_bytes([array_bytes(version, np.ones((2, 3), np.float32))], [b"arg:w"]) == GOLDEN[version]


def test_every_golden_model_is_listed_here() -> None:
    assert {folder.name for folder in MODELS.iterdir()} == set(GOLDEN_MODELS)


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_every_weight_of_a_trained_model_is_read(name: str) -> None:
    _, arrays, elements = GOLDEN_MODELS[name]
    params = read_params(MODELS / name / "params.best")
    assert len(params) == arrays
    assert sum(array.size for array in params.values()) == elements
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in params.values())
    for side, table in (("src", "source_embed_weight"), ("trg", "target_embed_weight")):
        (vocabulary,) = (MODELS / name).glob(f"vocab.{side}*.json")
        assert len(params[table]) == len(json.loads(vocabulary.read_text("utf-8")))


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_golden_models_have_the_format_they_are_listed_with(name: str) -> None:
    (mark,) = struct.unpack_from("<I", (MODELS / name / "params.best").read_bytes(), 24)
    assert (mark == MARKS["V2"]) == (GOLDEN_MODELS[name][0] == "V2")


@pytest.mark.parametrize("version", ["V0", "V1", "V2", "V3"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_type_is_read_in_row_major_order(path: Path, version: str, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path.write_bytes(file_bytes([array_bytes(version, array)], [b"arg:x"]))
    read = read_params(path)["x"]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array)


def test_versions_may_be_mixed_and_the_order_of_the_file_is_kept(path: Path) -> None:
    arrays = [np.full(size, size, np.float32) for size in (4, 1, 3, 2)]
    content = [array_bytes(version, array) for version, array in zip(("V3", "V0", "V2", "V1"), arrays, strict=True)]
    path.write_bytes(file_bytes(content, [b"arg:d", b"arg:a", b"arg:c", b"arg:b"]))
    params = read_params(path)
    assert list(params) == ["d", "a", "c", "b"]
    assert [array.tolist() for array in params.values()] == [array.tolist() for array in arrays]


def test_arrays_are_writable_and_independent(path: Path) -> None:
    path.write_bytes(file_bytes([ONE, ONE], [b"arg:a", b"arg:b"]))
    params = read_params(path)
    params["a"][:] = 7
    assert params["b"].tolist() == [1]
    assert read_params(path)["a"].tolist() == [1]


def test_auxiliary_states_are_left_out(path: Path) -> None:
    path.write_bytes(file_bytes([ONE, ONE], [b"aux:w", b"arg:w"]))
    assert list(read_params(path)) == ["w"]


def test_only_the_first_prefix_is_taken_off_a_name(path: Path) -> None:
    path.write_bytes(file_bytes([ONE], [b"arg:arg:w"]))
    assert list(read_params(path)) == ["arg:w"]


@pytest.mark.parametrize("version", ["V0", "V1", "V2"])
def test_rank_zero_is_an_empty_array_before_version_three(path: Path, version: str) -> None:
    path.write_bytes(file_bytes([shape_bytes(version, ()), ONE], [b"arg:empty", b"arg:one"]))
    params = read_params(path)
    assert params["empty"].shape == (0,)
    assert params["one"].tolist() == [1]


def test_rank_zero_is_a_scalar_in_version_three(path: Path) -> None:
    path.write_bytes(file_bytes([array_bytes("V3", np.array(2.5, np.float32))], [b"arg:scalar"]))
    scalar = read_params(path)["scalar"]
    assert scalar.shape == ()
    assert scalar == 2.5


def test_rank_minus_one_is_an_empty_array_in_version_three(path: Path) -> None:
    path.write_bytes(file_bytes([struct.pack("<Iii", MARKS["V3"], 0, -1), ONE], [b"arg:empty", b"arg:one"]))
    params = read_params(path)
    assert params["empty"].shape == (0,)
    assert params["one"].tolist() == [1]


def test_the_device_of_an_array_does_not_matter(path: Path) -> None:
    content = shape_bytes("V2", (1,)) + description(device_type=2, device_id=7) + struct.pack("<f", 3)
    path.write_bytes(file_bytes([content], [b"arg:w"]))
    assert read_params(path)["w"].tolist() == [3]


def test_a_link_to_a_file_is_followed(tmp_path: Path, path: Path) -> None:
    (tmp_path / "params.00003").write_bytes(GOLDEN["V2"])
    path.symlink_to("params.00003")
    assert list(read_params(path)) == ["w"]


def test_a_file_without_arrays_has_no_weights(path: Path) -> None:
    path.write_bytes(file_bytes([], []))
    assert read_params(path) == {}


# Damaged, foreign and hostile files


@pytest.mark.parametrize("version", GOLDEN)
def test_a_file_cut_at_any_byte_is_rejected(path: Path, version: str) -> None:
    for size in range(len(GOLDEN[version])):
        message = error_of(path, GOLDEN[version][:size])
        assert message.startswith("file params.best"), size
        assert "copy it again" in message, size


def test_an_error_says_which_file_which_array_what_and_how_to_mend_it(path: Path) -> None:
    assert error_of(path, file_bytes([ONE, ONE], [b"arg:a", b"arg:b"])[:78]) == (
        "file params.best, array 2: the shape needs 8 bytes, but only 6 are left; "
        "the file is damaged or incomplete, copy it again from where the model was trained"
    )


def test_bytes_after_the_last_name_are_rejected(path: Path) -> None:
    assert "bytes left over after the last name: 1;" in error_of(path, GOLDEN["V2"] + b"\0")


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(40), b"\x80\x04" + bytes(40), b"\x1f\x8b" + bytes(40)])
def test_other_kinds_of_files_are_rejected(path: Path, content: bytes) -> None:
    message = error_of(path, content)
    assert "MXNet parameters begin with 0x112" in message
    assert "give the params.best" in message


def test_a_reserved_field_in_use_is_rejected(path: Path) -> None:
    assert "reserved field is 0x1" in error_of(path, file_bytes([ONE], [b"arg:w"], reserved=1))


@pytest.mark.parametrize("storage", [1, 2, -1, 3])
@pytest.mark.parametrize("version", ["V2", "V3"])
def test_sparse_arrays_are_rejected(path: Path, version: str, storage: int) -> None:
    content = shape_bytes(version, (1,), storage=storage) + description() + bytes(4)
    message = error_of(path, file_bytes([content], [b"arg:w"]))
    assert f"array 1: storage type {storage} is sparse or unknown" in message
    assert "save the model with dense arrays" in message


@pytest.mark.parametrize("element_type", [-1, 7, 12, 2**31 - 1])
def test_unknown_element_types_are_rejected(path: Path, element_type: int) -> None:
    content = shape_bytes("V2", (1,)) + description(element_type) + bytes(8)
    message = error_of(path, file_bytes([content], [b"arg:w"]))
    assert f"element type {element_type} is unknown" in message
    assert "0 float32, 1 float64, 2 float16, 3 uint8, 4 int32, 5 int8, 6 int64" in message


@pytest.mark.parametrize("version", ["V1", "V2", "V3"])
@pytest.mark.parametrize("rank", [-2, 33, 2**31 - 1])
def test_impossible_ranks_are_rejected(path: Path, version: str, rank: int) -> None:
    content = struct.pack("<I", MARKS[version]) + (bytes(4) if version != "V1" else b"") + struct.pack("<i", rank)
    assert f"{rank} is neither a rank from 0 to 32" in error_of(path, file_bytes([content + bytes(500)], [b"arg:w"]))


@pytest.mark.parametrize("mark", [33, 0xF993FAC7, 0xF993FACB, 0xFFFFFFFF])
def test_unknown_marks_are_rejected(path: Path, mark: int) -> None:
    content = struct.pack("<I", mark) + bytes(500)
    assert f"{mark} is neither a rank" in error_of(path, file_bytes([content], [b"arg:w"]))


@pytest.mark.parametrize(
    ("version", "shape"),
    [
        ("V0", (2**32 - 1,)),
        ("V0", (2**16,) * 4),
        ("V1", (2**63 - 1,)),
        ("V2", (2**32, 2**32)),
        ("V2", (2**62, 4)),
        ("V3", (2**63 - 1,) * 32),
    ],
)
def test_shapes_beyond_the_file_are_rejected_without_allocating(
    path: Path, version: str, shape: tuple[int, ...]
) -> None:
    content = file_bytes([shape_bytes(version, shape) + description() + bytes(64)], [b"arg:w"])
    tracemalloc.start()
    try:
        message = error_of(path, content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "bytes, but only" in message
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("version", "shape"), [("V0", (0, 3)), ("V1", (-1, -1)), ("V2", (3, -(2**63))), ("V3", (2**62, 0, 2**62))]
)
def test_dimensions_below_one_are_rejected(path: Path, version: str, shape: tuple[int, ...]) -> None:
    content = shape_bytes(version, shape) + description() + bytes(64)
    assert "has a dimension below 1" in error_of(path, file_bytes([content], [b"arg:w"]))


@pytest.mark.parametrize("count", [10_001, 2**32, 2**64 - 1])
def test_too_many_arrays_are_rejected(path: Path, count: int) -> None:
    content = struct.pack("<3Q", 0x112, 0, count) + bytes(50_000)
    assert f"announces {count} arrays, at most 10000" in error_of(path, content)


@pytest.mark.parametrize("names", [[], [b"arg:a"], [b"arg:a", b"arg:b", b"arg:c"]])
def test_every_array_needs_exactly_one_name(path: Path, names: list[bytes]) -> None:
    assert f"2 arrays but {len(names)} names" in error_of(path, file_bytes([ONE, ONE], names))


@pytest.mark.parametrize("size", [257, 2**40, 2**64 - 1])
def test_overlong_names_are_rejected(path: Path, size: int) -> None:
    content = file_bytes([ONE], [b"arg:" + b"x" * 300]).replace(struct.pack("<Q", 304), struct.pack("<Q", size))
    assert f"name 1: {size} bytes are announced, at most 256" in error_of(path, content)


def test_a_name_longer_than_the_rest_of_the_file_is_rejected(path: Path) -> None:
    content = file_bytes([ONE], [b"arg:w"]).replace(struct.pack("<Q", 5), struct.pack("<Q", 6))
    assert "name 1: the text needs 6 bytes, but only 5 are left" in error_of(path, content)


def test_names_that_are_not_utf8_are_rejected(path: Path) -> None:
    assert "name 2: b'arg:\\xff' is not UTF-8" in error_of(path, file_bytes([ONE, ONE], [b"arg:a", b"arg:\xff"]))


@pytest.mark.parametrize("prefix", [b"arg:", b"aux:"])
def test_duplicate_names_are_rejected(path: Path, prefix: bytes) -> None:
    names = [prefix + b"w", b"arg:b", prefix + b"w"]
    message = error_of(path, file_bytes([ONE, ONE, ONE], names))
    assert f"name 3: '{names[0].decode()}' occurs a second time" in message


@pytest.mark.parametrize("name", [b"w", b"", b"ARG:w", b"arg:", b"aux:", b"argw"])
def test_names_without_prefix_or_rest_are_rejected(path: Path, name: bytes) -> None:
    assert "is neither arg:NAME nor aux:NAME" in error_of(path, file_bytes([ONE], [name]))


def test_mutated_files_are_read_or_rejected_and_nothing_else(path: Path) -> None:
    chance = random.Random(20180117)
    arrays = [array_bytes(version, np.ones((2, 2), np.float32)) for version in ("V0", "V1", "V2", "V3")]
    original = file_bytes(arrays, [b"arg:a", b"arg:b", b"aux:c", b"arg:d"])
    messages = []
    for _ in range(300):
        content = mutated(original, chance)
        path.write_bytes(content)
        try:
            params = read_params(path)
        except ClientError as error:
            messages.append(str(error))
        else:
            assert sum(array.nbytes for array in params.values()) <= len(content)
    assert all(message.startswith("file params.best") for message in messages)
    assert 100 <= len(messages) < 300


def mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        position = chance.randrange(len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[position] = chance.randrange(256)
        elif kind == 1:
            changed[position] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del changed[position : position + chance.randint(1, 9)]
        else:
            changed[position:position] = chance.randbytes(chance.randint(1, 9))
    return bytes(changed)


def test_memory_stays_within_the_size_of_the_file(path: Path) -> None:
    arrays = [array_bytes("V2", np.ones((500, 500), np.float32))] * 8
    path.write_bytes(file_bytes(arrays, [b"arg:%d" % number for number in range(8)]))
    tracemalloc.start()
    try:
        read_params(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size + 1_000_000


def test_a_file_full_of_tiny_arrays_stays_within_a_few_megabytes(path: Path) -> None:
    names = [b"arg:%d" % number for number in range(10_000)]
    path.write_bytes(file_bytes([shape_bytes("V0", ())] * len(names), names))
    tracemalloc.start()
    try:
        assert len(read_params(path)) == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


# Files that cannot be read


@pytest.mark.parametrize("missing", [8, 30])
def test_a_file_that_shrinks_while_it_is_read_is_rejected(
    path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    whole = len(GOLDEN["V2"])
    monkeypatch.setattr("os.fstat", lambda _file: SimpleNamespace(st_size=whole))
    assert "became shorter while it was read" in error_of(path, GOLDEN["V2"][: whole - missing])


def test_a_missing_file_is_an_error_of_the_user(path: Path) -> None:
    with pytest.raises(ClientError, match=r"^file params\.best: is missing"):
        read_params(path)


def test_a_broken_link_says_to_copy_its_target(path: Path) -> None:
    path.symlink_to("params.00003")
    with pytest.raises(ClientError, match="copy the file that it points to"):
        read_params(path)


def test_a_folder_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="no regular file"):
        read_params(tmp_path)


@pytest.mark.parametrize(
    ("failure", "family", "message"),
    [
        (PermissionError(13, "Permission denied"), ClientError, "file params.best: may not be read"),
        (OSError(5, "Input/output error"), PlatformError, "file params.best: cannot be read: Input/output error"),
    ],
)
def test_a_failing_disk_and_a_missing_permission_are_told_apart(
    path: Path, monkeypatch: pytest.MonkeyPatch, failure: OSError, family: type[Exception], message: str
) -> None:
    path.write_bytes(GOLDEN["V2"])

    def fail(*_args: object) -> None:
        raise failure

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(family) as caught:
        read_params(path)
    assert str(caught.value).startswith(message)
