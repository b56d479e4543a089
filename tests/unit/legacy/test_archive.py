"""Archives of strangers: entries that escape, links, devices and bombs are refused; nothing is written elsewhere."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import time
from pathlib import Path

import pytest

from s2s_algo.errors import ClientError
from s2s_algo.legacy import archive as archives
from s2s_algo.legacy.importer import import_model
from tests.unit.legacy.writers import entry, golden_copy, pack, pack_entries

NAME = "cnn_cnn_glu_1.8.3"
MEND = "Give the model.tar.gz of a training job, or the folder into which it was unpacked."


@pytest.fixture
def entries(tmp_path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Of an archive that can be imported."""
    folder = golden_copy(NAME, tmp_path / "model")
    return [entry(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def error_of(path: Path) -> str:
    with pytest.raises(ClientError) as caught:
        import_model(path)
    return str(caught.value).removeprefix(f"{path}: ")


def outcome(path: Path) -> str:
    """The error, "" for none."""
    try:
        import_model(path)
    except ClientError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def everything(path: Path) -> set[Path]:
    return set(path.rglob("*"))


ESCAPES = {
    "absolute": lambda tmp: entry(f"{tmp}/evil", b"x"),
    "parent": lambda tmp: entry("../evil", b"x"),
    "parent of a folder": lambda tmp: entry("a/../../evil", b"x"),
    "out and in again": lambda tmp: entry("../model/evil", b"x"),
    "backslashes": lambda tmp: entry("..\\evil", b"x"),
    "absolute folder": lambda tmp: entry(f"{tmp}/evil", kind=tarfile.DIRTYPE),
    "absolute link": lambda tmp: entry("params.00001", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "link to a parent": lambda tmp: entry("params.00001", kind=tarfile.SYMTYPE, link="../evil"),
    "link from a folder": lambda tmp: entry("a/b", kind=tarfile.SYMTYPE, link="../../evil"),
    "folder that is a link": lambda tmp: entry("a", kind=tarfile.SYMTYPE, link=".."),
    "absolute hard link": lambda tmp: entry("params.00001", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "hard link to a parent": lambda tmp: entry("params.00001", kind=tarfile.LNKTYPE, link="../evil"),
}


@pytest.mark.parametrize("case", ESCAPES)
def test_an_entry_that_leads_out_is_refused(case, entries, tmp_path):
    made = ESCAPES[case](tmp_path)
    path = pack_entries(tmp_path / "model.tar.gz", [made, *entries])
    before = everything(tmp_path)
    message = error_of(path)
    assert message.startswith("entry ")
    assert message.endswith(" leads out of the archive. Pack the folder again: tar -czhf model.tar.gz -C FOLDER .")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z"])
def test_devices_pipes_and_unknown_kinds_are_refused(kind, entries, tmp_path):
    path = pack_entries(tmp_path / "model.tar.gz", [entry("params.00001", kind=kind), *entries])
    if kind == tarfile.CONTTYPE:
        # An ordinary file whose blocks lie together.
        import_model(path)
    else:
        assert error_of(path) == (f"entry 'params.00001' is neither a file, a folder nor a link. {MEND}")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("prefix", ["", "model/"])
def test_links_that_stay_inside_are_followed(kind, prefix, entries, tmp_path):
    made = []
    for info, content in entries:
        name = "params.00007" if info.name == "params.best" else info.name
        made.append(entry(prefix + name, content))
    target = "params.00007" if kind == tarfile.SYMTYPE else f"{prefix}params.00007"
    made.append(entry(f"{prefix}params.best", kind=kind, link=target))
    # Sockeye leaves such a link when a training job is interrupted.
    made.append(entry(f"{prefix}training_state/params", kind=tarfile.SYMTYPE, link="../params.00007"))
    import_model(pack_entries(tmp_path / "model.tar.gz", made))


@pytest.mark.parametrize("target", ["params.best", "params.00009", "params.00001"])
def test_links_in_a_circle_or_to_nothing_are_missing_files(target, entries, tmp_path):
    made = [one for one in entries if one[0].name != "params.best"]
    made.append(entry("params.best", kind=tarfile.SYMTYPE, link=target))
    made.append(entry("params.00001", kind=tarfile.SYMTYPE, link="params.best"))
    assert "neither params.best nor parameters of a checkpoint are there" in error_of(
        pack_entries(tmp_path / "model.tar.gz", made)
    )


def test_only_needed_files_are_written(entries, tmp_path, monkeypatch):
    written = []
    write = archives.Archive.write
    monkeypatch.setattr(
        archives.Archive,
        "write",
        lambda self, path, destination: (written.append(destination.name), write(self, path, destination)),
    )
    more = [entry(name, b"x" * 1000) for name in ("log", "symbol.json", "params.00001", "training_state/x", "a/config")]
    import_model(pack_entries(tmp_path / "model.tar.gz", [*more[:-1], *entries]))
    assert sorted(written) == ["config", "params.best", "version", "vocab.src.json", "vocab.trg.json"]
    # A second model may lie deeper than anybody looks; beside the first one at the top it does not count either.
    import_model(pack_entries(tmp_path / "model.tar.gz", [*more, *entries]))


def test_several_models_are_refused(entries, tmp_path):
    made = [entry(f"{folder}/{info.name}", content) for folder in "ab" for info, content in entries]
    assert error_of(pack_entries(tmp_path / "model.tar.gz", made)) == (
        "holds several models, in a, b. Give one of them."
    )


def test_a_model_two_folders_deep_is_not_found(entries, tmp_path):
    made = [entry(f"a/b/{info.name}", content) for info, content in entries]
    assert "neither it nor a folder directly in it holds a file config" in error_of(
        pack_entries(tmp_path / "model.tar.gz", made)
    )


def test_the_last_of_two_entries_of_one_name_counts(entries, tmp_path):
    made = [entry("config", b"damaged"), *entries]
    import_model(pack_entries(tmp_path / "model.tar.gz", made))


def test_an_uncompressed_archive_is_read_as_well(entries, tmp_path):
    path = pack_entries(tmp_path / "model.tar.gz", entries)
    (tmp_path / "model.tar").write_bytes(gzip.decompress(path.read_bytes()))
    import_model(tmp_path / "model.tar")


@pytest.mark.parametrize("mode", ["w:xz", "w:bz2"])
def test_other_compressions_are_refused(mode, tmp_path):
    # Their decoders may be told to take gigabytes.
    with tarfile.open(tmp_path / "model.tar", mode) as tar:
        tar.addfile(*[entry("config")[0], io.BytesIO()])
    assert error_of(tmp_path / "model.tar").startswith("not a readable tar.gz")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00" + b"\0" * 100, b"x" * 1024, b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(content)
    assert error_of(tmp_path / "model.tar.gz")


def test_a_truncated_archive_is_refused(entries, tmp_path):
    path = pack_entries(tmp_path / "model.tar.gz", entries)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert error_of(path).startswith("not a readable tar.gz")


def test_an_archive_whose_checksum_is_wrong_is_refused(entries, tmp_path):
    path = pack_entries(tmp_path / "model.tar.gz", entries)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    # The reader may be done before it comes to the checksum; then the parts it needed were whole.
    assert outcome(path)[:21] in ("", "not a readable tar.gz")


# Bombs


def bomb(path: Path, name: str, size: int, before: bytes = b"", kind: bytes = tarfile.REGTYPE) -> Path:
    """An archive with one entry of zeros."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(before + info.tobuf(tarfile.GNU_FORMAT))
        left = size
        while left:
            piece = min(left, 1 << 20)
            file.write(bytes(piece))
            left -= piece
    return path


@pytest.mark.parametrize("name", ["params.best", "log"])
def test_what_unpacks_to_far_more_than_its_size_is_refused(name, tmp_path):
    path = bomb(tmp_path / "model.tar.gz", name, 200 << 20)
    begin = time.process_time()
    assert "bytes, too much for its size." in error_of(path)
    assert time.process_time() - begin < 10


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_is_read_whole_is_bounded(kind, tmp_path):
    path = bomb(tmp_path / "model.tar.gz", "x", 64 << 20, kind=kind)
    assert error_of(path) == f"its headers are too large. {MEND}"


def test_many_large_headers_are_bounded(tmp_path):
    info = tarfile.TarInfo("x" * 800_000)
    one = info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(one * 100, 1))
    assert error_of(tmp_path / "model.tar.gz") == f"its headers are too large. {MEND}"


def test_the_number_of_entries_is_bounded(tmp_path):
    one = tarfile.TarInfo("x").tobuf()
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(one * 10_001, 1))
    assert error_of(tmp_path / "model.tar.gz") == f"more than 10000 entries. {MEND}"


@pytest.mark.parametrize("size", [2**33 - 1, 2**60, 2**63 - 1])
def test_a_length_that_lies_is_refused(size, entries, tmp_path):
    info = tarfile.TarInfo("params.best")
    info.size = size
    content = info.tobuf(tarfile.GNU_FORMAT) + b"short"
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(content))
    assert error_of(tmp_path / "model.tar.gz")


def test_a_sparse_file_is_refused(tmp_path):
    info = tarfile.TarInfo("params.best")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"%011o\0" % (8**11 - 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(bytes(header) + bytes(1024)))
    assert "is neither a file, a folder nor a link" in error_of(tmp_path / "model.tar.gz")


def test_a_gzip_size_that_lies_is_refused_or_harmless(entries, tmp_path):
    path = pack_entries(tmp_path / "model.tar.gz", entries)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 2**32 - 1))
    assert outcome(path)[:21] in ("", "not a readable tar.gz")


def test_packing_keeps_what_is_imported(tmp_path):
    folder = golden_copy(NAME, tmp_path / "model")

    def as_root(info: tarfile.TarInfo) -> None:
        info.uid, info.mode = 0, 0o4777

    import_model(pack(folder, tmp_path / "model.tar.gz", change=as_root))
