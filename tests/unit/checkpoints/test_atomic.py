"""Folders that appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from s2s_algo.checkpoints.atomic import new_folder, writing
from s2s_algo.errors import ClientError, PlatformError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(folder, **texts):
    with new_folder(folder) as temporary:
        for name, text in texts.items():
            (temporary / name).write_text(text)


def test_a_folder_appears_with_all_that_was_put_into_it(tmp_path):
    final = tmp_path / "final"
    with new_folder(final) as temporary:
        (temporary / "one").write_text("1")
        assert not final.exists()
        (temporary / "two").write_text("2")
    assert names(tmp_path) == ["final"]
    assert content(final) == {"one": "1", "two": "2"}


def test_until_then_its_name_tells_the_platform_to_leave_it_alone(tmp_path):
    with new_folder(tmp_path / "final"):
        assert names(tmp_path) == ["final.sagemaker-ignore"]


def test_the_folders_around_it_are_made(tmp_path):
    fill(tmp_path / "a" / "b" / "final", one="1")
    assert content(tmp_path / "a" / "b" / "final") == {"one": "1"}


def fail(folder, error):
    """Meets an error after the first file."""
    with new_folder(folder) as temporary:
        (temporary / "one").write_text("new")
        raise error


class InterruptionError(BaseException):
    """Such as a signal that arrives while files are written."""


@pytest.mark.parametrize("error", [ValueError("no"), ClientError("no"), KeyboardInterrupt(), InterruptionError()])
def test_an_error_leaves_nothing_and_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        fail(tmp_path / "final", error)
    assert caught.value is error
    assert names(tmp_path) == []


def test_an_error_leaves_what_was_there_before(tmp_path):
    fill(tmp_path / "final", one="old")
    with pytest.raises(ValueError, match="no"):
        fail(tmp_path / "final", ValueError("no"))
    assert names(tmp_path) == ["final"]
    assert content(tmp_path / "final") == {"one": "old"}


def test_a_folder_is_replaced_whole(tmp_path):
    fill(tmp_path / "final", one="old", two="old")
    fill(tmp_path / "final", two="new", three="new")
    assert names(tmp_path) == ["final"]
    assert content(tmp_path / "final") == {"two": "new", "three": "new"}


def test_what_a_killed_run_left_is_no_part_of_the_next_folder(tmp_path):
    (tmp_path / "final.sagemaker-ignore").mkdir()
    (tmp_path / "final.sagemaker-ignore" / "one").write_text("half")
    (tmp_path / "final.replaced.sagemaker-ignore").mkdir()
    (tmp_path / "final.replaced.sagemaker-ignore" / "one").write_text("old")
    fill(tmp_path / "final", two="2")
    assert content(tmp_path / "final") == {"two": "2"}
    fill(tmp_path / "final", two="3")
    assert names(tmp_path) == ["final"]
    assert content(tmp_path / "final") == {"two": "3"}


def test_at_no_time_does_the_name_stand_for_half_a_folder(tmp_path, monkeypatch):
    fill(tmp_path / "final", one="old", two="old")
    seen = []

    def look(step):
        final = tmp_path / "final"
        seen.append((step, content(final) if final.exists() else None))

    real_rename, real_fsync = Path.rename, os.fsync

    def rename(self, target):
        look("before a rename")
        return real_rename(self, target)

    def fsync(descriptor):
        look("before a flush")
        return real_fsync(descriptor)

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(os, "fsync", fsync)
    fill(tmp_path / "final", one="new", two="new")
    old, new = {"one": "old", "two": "old"}, {"one": "new", "two": "new"}
    # Both files, then their names and their folder are done with before the folder is renamed, and the folder around
    # it is flushed at the end.
    assert seen == [
        *[("before a flush", old)] * 2,
        *[("before a rename", old)] * 2,
        ("before a flush", old),
        ("before a rename", old),
        ("before a rename", None),
        ("before a flush", new),
    ]
    assert (tmp_path / "final").exists()


def test_files_under_a_temporary_name_have_lost_it_when_the_folder_appears(tmp_path):
    with new_folder(tmp_path / "final") as folder:
        (folder / "one.sagemaker-ignore").write_text("1")
        (folder / "two").write_text("2")
    assert content(tmp_path / "final") == {"one": "1", "two": "2"}


def test_every_file_is_flushed_to_disk_before_the_name_appears(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync

    def fsync(descriptor):
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fill(tmp_path / "final", one="1", two="2")
    assert sorted(flushed[:2]) == ["one", "two"]
    assert flushed[2:] == ["final.sagemaker-ignore", tmp_path.name]


def test_a_full_disk_is_an_error_of_the_platform_that_names_the_folder(tmp_path):
    final = tmp_path / "final"
    with pytest.raises(PlatformError) as caught:
        fail(final, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert str(caught.value) == (
        f"{final}: cannot write (No space left on device). Free space on the disk or mend its permissions."
    )
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error_of_the_platform(tmp_path):
    (tmp_path / "file").write_text("in the way")
    final = tmp_path / "file" / "final"
    with pytest.raises(PlatformError, match=r"cannot write \(Not a directory\)") as caught, new_folder(final):
        pass
    assert caught.value.where == str(final)


def test_writing_passes_on_what_is_no_failure_of_the_disk(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        raise ZeroDivisionError


def test_writing_names_the_path_and_the_reason(tmp_path):
    with pytest.raises(PlatformError) as caught, writing(tmp_path / "somewhere"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert str(caught.value) == (
        f"{tmp_path}/somewhere: cannot write (Permission denied). Free space on the disk or mend its permissions."
    )
    assert isinstance(caught.value.__cause__, PermissionError)


def test_writing_shows_the_text_of_an_error_without_a_number(tmp_path):
    with pytest.raises(PlatformError, match=r"cannot write \(I/O error: the disk is gone\)"), writing(tmp_path):
        raise OSError("I/O error: the disk is gone")
