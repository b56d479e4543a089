"""The checkpoints of a job: round trips, damage, removal."""

import errno
import json
import logging
import os
import shutil
import stat
from types import SimpleNamespace

import pytest
import torch

from s2s_algo.checkpoints import store as store_module
from s2s_algo.checkpoints.store import CheckpointStore, Snapshot
from s2s_algo.errors import ClientError, PlatformError
from tests.tiny_job import differing

FILES = ["manifest.json", "model.safetensors", "state.json", "training.safetensors"]


def snapshot(number=0):
    return Snapshot(
        weights={"layer.weight": torch.arange(6.0).reshape(2, 3) + number, "layer.bias": torch.zeros(0)},
        training={"moment/mean": torch.full((4,), number / 3), "random": torch.arange(9, dtype=torch.uint8)},
        values={"updates": number, "best": None, "history": [0.1 + 0.2, True, "ü"]},
    )


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


def filled(store, *numbers):
    for number in numbers:
        store.save(number, snapshot(number))
    return store


def assert_is(found, number):
    expected = snapshot(number)
    assert differing(found.weights, expected.weights) == []
    assert differing(found.training, expected.training) == []
    assert {name: tensor.dtype for name, tensor in found.training.items()} == {
        "moment/mean": torch.float32,
        "random": torch.uint8,
    }
    assert found.values == expected.values


def damage(store, number, name, how):
    file = store.folder(number) / name
    whole = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "truncated":
        file.write_bytes(whole[:-1])
    elif how == "longer":
        file.write_bytes(whole + b"\0")
    elif how == "a folder":
        file.unlink()
        file.mkdir()
    else:
        position = {"first byte": 0, "byte in the middle": len(whole) // 2, "last byte": len(whole) - 1}[how]
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])


DAMAGES = [
    "missing",
    "empty",
    "truncated",
    "longer",
    "a folder",
    "first byte",
    "byte in the middle",
    "last byte",
]


def test_a_checkpoint_comes_back_as_it_was(store):
    assert_is(filled(store, 7).load(7), 7)


def test_a_checkpoint_is_a_folder_named_by_its_updates(store):
    filled(store, 7, 123456789, 1234567890)
    assert sorted(folder.name for folder in store.root.iterdir()) == [
        "checkpoint-000000007",
        "checkpoint-123456789",
        "checkpoint-1234567890",
    ]
    assert store.folder(7) == store.root / "checkpoint-000000007"
    assert sorted(file.name for file in store.folder(7).iterdir()) == FILES


def test_everyone_may_read_a_checkpoint(store):
    filled(store, 7)
    for file in store.folder(7).iterdir():
        assert file.stat().st_mode & stat.S_IROTH


def test_the_manifest_names_every_other_file(store):
    sums = json.loads((filled(store, 7).folder(7) / "manifest.json").read_text())
    assert sorted(sums) == FILES[1:]
    assert all(len(digest) == 64 for digest in sums.values())


def test_the_manifest_is_written_last(store, monkeypatch):
    real, seen = store_module._sum, []

    def look(file):
        seen.append(sorted(path.name for path in file.parent.iterdir()))
        return real(file)

    monkeypatch.setattr(store_module, "_sum", look)
    filled(store, 7)
    # Under names that nobody uploads.
    assert seen == [[f"{name}.sagemaker-ignore" for name in FILES[1:]]] * 3


def test_stored_checkpoints_are_listed_in_ascending_order(store):
    assert filled(store, 1000000000, 20, 3).stored() == [3, 20, 1000000000]


def test_a_folder_that_is_not_there_holds_no_checkpoints(store):
    assert store.stored() == []
    assert store.newest() is None


def test_other_names_are_not_checkpoints(store):
    filled(store, 7)
    for name in (
        "checkpoint-000000008.sagemaker-ignore",
        "checkpoint-8",
        "checkpoint-00000000x",
        "old-checkpoint-000000008",
        "removed-checkpoint-000000008",
        "model",
    ):
        shutil.copytree(store.folder(7), store.root / name)
    assert store.stored() == [7]
    assert store.newest() == 7


def test_saving_again_replaces_the_checkpoint(store):
    filled(store, 7)
    store.save(7, snapshot(8))
    assert_is(store.load(7), 8)
    assert [path.name for path in store.root.iterdir()] == ["checkpoint-000000007"]


def test_the_newest_is_the_one_with_most_updates(store):
    assert filled(store, 30, 4, 200).newest() == 200


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_the_newest_whole_checkpoint_is_taken_whatever_is_wrong_with_a_newer_one(store, caplog, name, how):
    filled(store, 1, 2, 3)
    damage(store, 3, name, how)
    caplog.set_level(logging.WARNING)
    assert store.newest() == 2
    (message,) = caplog.messages
    assert message.startswith(f"{store.folder(3)} is passed over: ")
    assert name in message or "manifest.json" in message


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", "null", "3", '"model.safetensors"', "{}", '{"model.safetensors": null}', '{"state.json": "0"}'],
)
def test_a_manifest_that_is_none_makes_no_checkpoint(store, manifest):
    filled(store, 1, 2)
    (store.folder(2) / "manifest.json").write_text(manifest)
    assert store.newest() == 1


def test_all_damaged_checkpoints_are_passed_over(store, caplog):
    filled(store, 1, 2, 3)
    for number in (1, 2, 3):
        damage(store, number, "state.json", "last byte")
    assert store.newest() is None
    assert caplog.messages == [
        f"{store.folder(number)} is passed over: state.json differs from its sum in manifest.json"
        for number in (3, 2, 1)
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_never_loaded(store, name):
    filled(store, 1)
    damage(store, 1, name, "truncated")
    with pytest.raises(ClientError) as caught:
        store.load(1)
    assert str(caught.value).startswith(f"{store.folder(1)}: not a whole checkpoint: ")
    assert str(caught.value).endswith(". Remove it; a job then goes on from another one.")


def test_a_damaged_file_is_named(store):
    damage(filled(store, 1), 1, "model.safetensors", "byte in the middle")
    with pytest.raises(
        ClientError, match=r"checkpoint: model\.safetensors differs from its sum in manifest\.json\. Remove"
    ):
        store.load(1)


def test_a_missing_checkpoint_is_a_client_error(store):
    with pytest.raises(
        ClientError, match=r"000000009: not a whole checkpoint: manifest\.json or a file that it lists can"
    ):
        filled(store, 1).load(9)


def test_a_full_disk_leaves_the_checkpoints_before_untouched(store, monkeypatch):
    filled(store, 1, 2)

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "save_tensors", full)
    for number in (2, 3):
        with pytest.raises(PlatformError) as caught:
            store.save(number, snapshot(9))
        assert str(caught.value) == (
            f"{store.folder(number)}: cannot write (No space left on device). Free space on the disk or mend its "
            "permissions."
        )
    assert sorted(path.name for path in store.root.iterdir()) == ["checkpoint-000000001", "checkpoint-000000002"]
    assert_is(store.load(2), 2)


def leave_free(monkeypatch, size):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=size))


@pytest.mark.parametrize(("stored", "missing"), [((), 4), ((1,), 3), ((1, 2, 3), 1), ((1, 2, 3, 4, 5), 0)])
def test_the_disk_must_have_room_for_the_checkpoints_that_are_not_there_yet(store, monkeypatch, stored, missing):
    filled(store, *stored)
    leave_free(monkeypatch, missing * 2**20)
    store.require_space(2**20, least=4, most=4)
    if missing:
        leave_free(monkeypatch, missing * 2**20 - 1)
        with pytest.raises(PlatformError) as caught:
            store.require_space(2**20, least=4, most=4)
        assert str(caught.value) == (
            f"{store.root}: 4 checkpoints of 1 MiB need {missing} MiB more, but only {missing - 1} MiB are free. Free "
            "space, or keep fewer with cleanup_old_models."
        )


def test_no_room_for_what_may_never_be_there_is_a_warning(store, monkeypatch, caplog):
    leave_free(monkeypatch, 4 * 2**20)
    store.require_space(2**20, least=4, most=5)
    assert caplog.messages == [
        f"{store.root}: 5 checkpoints of 1 MiB need 5 MiB more, but only 4 MiB are free. Free space, or keep fewer "
        "with cleanup_old_models."
    ]


def test_a_half_written_checkpoint_of_a_killed_run_makes_room_for_the_next(store, monkeypatch):
    filled(store, 1)
    half = store.root / "checkpoint-000000002.sagemaker-ignore"
    half.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0 if half.exists() else 3 * 2**20))
    store.require_space(2**20, least=4, most=4)
    assert store.stored() == [1]


@pytest.mark.parametrize("kept", [[4, 5], [1, 4, 5], [3], [1, 2, 3, 4, 5]], ids=str)
def test_those_that_are_not_to_be_kept_are_removed(store, kept):
    filled(store, 1, 2, 3, 4, 5)
    store.retain({*kept, 0, 99})  # whoever says what to keep may name some that are not there
    assert store.stored() == kept
    assert sorted(path.name for path in store.root.iterdir()) == [store.folder(number).name for number in kept]
    assert_is(store.load(kept[0]), kept[0])


def test_what_killed_runs_left_is_removed_and_nothing_else(store):
    filled(store, 1, 2, 3)
    for name in ("checkpoint-000000001.removed.sagemaker-ignore", "checkpoint-000000004.sagemaker-ignore"):
        (store.root / name).mkdir()
        (store.root / name / "model.safetensors").write_bytes(b"half")
    for name in ("notes.txt", "foreign.sagemaker-ignore", "model"):
        (store.root / name).write_text("not ours")
    store.retain({2, 3})
    assert sorted(path.name for path in store.root.iterdir()) == [
        "checkpoint-000000002",
        "checkpoint-000000003",
        "foreign.sagemaker-ignore",
        "model",
        "notes.txt",
    ]


def test_a_half_removed_checkpoint_does_not_look_like_one(store, monkeypatch):
    filled(store, 1, 2, 3)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    store.retain({2, 3})
    assert store.stored() == [2, 3]
    # Nor does the platform copy it anywhere.
    assert (store.root / "checkpoint-000000001.removed.sagemaker-ignore").exists()


def test_a_disk_that_refuses_removal_is_an_error_of_the_platform(store):
    filled(store, 1, 2, 3)
    store.folder(1).with_name("checkpoint-000000001.removed.sagemaker-ignore").write_text("a file in the way")
    with pytest.raises(PlatformError, match=r"000000001: cannot write \(Not a directory\)"):
        store.retain({2, 3})
