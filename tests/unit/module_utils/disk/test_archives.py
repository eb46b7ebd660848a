# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What archives may hold, how they are unpacked, and what makes a SavedModel whole."""

from __future__ import annotations

import gzip
import lzma
import os
import socket
import stat
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archive_entries, archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archives import DamagedError, Survey
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from archive_files import FORMATS, archive_of, read_tree, tar_of, write_tree, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_models import INDEX, MODEL, SHARD


def unpack(source: Path, target: Path) -> dict[str, bytes]:
    """Unpack as publishing does, and return what then lies on disk."""
    found = archives.survey(str(source), 10 * archives.MIB)
    prefix = archives.model_root(found)
    target.mkdir()
    archives.unpack(str(source), prefix, str(target), found.below(prefix).files)
    return read_tree(target)


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


# --- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("prefix", ["", "./", "7/", "ranker/7/"])
def test_every_format_unpacks_to_the_model_wherever_it_lies_inside(tmp_path, form, prefix):
    source = archive_of(tmp_path / "model.bin", {prefix + name: content for name, content in MODEL.items()}, form)
    assert unpack(source, tmp_path / "out") == MODEL


def test_a_directory_is_read_like_an_archive(tmp_path):
    source = write_tree(tmp_path / "export", MODEL)
    assert unpack(source, tmp_path / "out") == MODEL


def test_empty_directories_survive(tmp_path):
    source = tar_of(tmp_path / "a", {"saved_model.pb": b"frozen"}, extra=(member("variables", tarfile.DIRTYPE),))
    unpack(source, tmp_path / "out")
    assert (tmp_path / "out" / "variables").is_dir()


def test_what_lies_beside_the_model_is_left_out(tmp_path):
    files = {"MLmodel": b"flavors", **{f"data/model/{name}": content for name, content in MODEL.items()}}
    assert unpack(tar_of(tmp_path / "a", files), tmp_path / "out") == MODEL


def test_the_format_is_told_by_content_not_by_name(tmp_path):
    assert unpack(zip_of(tmp_path / "model.tar.gz", MODEL), tmp_path / "out") == MODEL


def test_modes_of_the_archive_mean_nothing(tmp_path):
    source = tar_of(tmp_path / "a", MODEL, extra=(member("run", mode=0o6777, size=3),))
    unpack(source, tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "run").stat().st_mode) == 0o600


def test_several_models_in_one_archive_are_refused_by_their_places(tmp_path):
    source = tar_of(tmp_path / "a", {"6/saved_model.pb": b"a", "7/saved_model.pb": b"b"})
    with pytest.raises(RefusalError) as refusal:
        archives.model_root(archives.survey(str(source)))
    assert str(refusal.value) == "saved_model.pb is in several places: 6, 7; pack one version alone"


def test_an_archive_without_a_model_is_refused(tmp_path):
    with pytest.raises(RefusalError, match=r"^it holds no saved_model.pb; give what tf.saved_model.save wrote$"):
        archives.model_root(archives.survey(str(tar_of(tmp_path / "a", {"README": b"x"}))))


def test_a_model_for_tensorflow_lite_is_refused_by_its_name(tmp_path):
    with pytest.raises(RefusalError) as refusal:
        archives.model_root(archives.survey(str(tar_of(tmp_path / "a", {"1/model.tflite": b"x"}))))
    assert str(refusal.value) == (
        "it is a TensorFlow Lite model, which this collection does not publish; "
        "give the SavedModel that it was converted from"
    )


# --- hostile archives ----------------------------------------------------------------------------------------

HOSTILE = {
    "it holds the absolute name /etc/cron.d/x": member("/etc/cron.d/x"),
    "the name a/../../x leads out of it": member("a/../../x"),
    "the name .. leads out of it": member("..", tarfile.DIRTYPE),
    "it holds a symbolic link, out": member("out", tarfile.SYMTYPE, linkname="/etc"),
    "it holds a hard link, twin": member("twin", tarfile.LNKTYPE, linkname="saved_model.pb"),
    "it holds a device, pipe or other special file, pipe": member("pipe", tarfile.FIFOTYPE),
    "it holds a device, pipe or other special file, disk": member("disk", tarfile.BLKTYPE, devmajor=8),
    "it holds a device, pipe or other special file, tty": member("tty", tarfile.CHRTYPE, devmajor=5),
    r"it holds the odd name a\nb": member("a\nb"),
    r"it holds the odd name a\b": member("a\\b"),
    "it holds saved_model.pb twice": member("saved_model.pb"),
    "it holds variables twice": member("variables"),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_member_is_refused_before_anything_is_written(tmp_path, message):
    source = tar_of(tmp_path / "a", MODEL, extra=(HOSTILE[message],))
    with pytest.raises(RefusalError) as refusal:
        unpack(source, tmp_path / "out")
    assert refusal.value.problem == message
    assert not (tmp_path / "out").exists()


def test_links_in_a_refused_archive_come_with_the_way_to_pack_without_them(tmp_path):
    source = tar_of(tmp_path / "a", MODEL, extra=(member("x", tarfile.SYMTYPE, linkname="saved_model.pb"),))
    with pytest.raises(RefusalError, match="pack it with tar --dereference --hard-dereference, or copy it with cp -rL"):
        archives.survey(str(source))


def test_links_and_pipes_of_a_directory_are_refused(tmp_path):
    source = write_tree(tmp_path / "export", MODEL)
    (source / "assets").symlink_to("/etc")
    with pytest.raises(RefusalError, match="it holds a symbolic link, assets"):
        archives.survey(str(source))
    (source / "assets").unlink()
    os.mkfifo(source / "pipe")
    with pytest.raises(RefusalError, match="special file, pipe"):
        archives.survey(str(source))


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("out")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RefusalError, match="it holds a symbolic link, out"):
        archives.survey(str(tmp_path / "a.zip"))


def test_an_encrypted_zip_is_refused(tmp_path):
    source = zip_of(tmp_path / "a.zip", {"saved_model.pb": b"x"})
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(content)
    with pytest.raises(RefusalError, match=r"its member saved_model.pb is encrypted; pack it without a password"):
        archives.survey(str(source))


def test_a_bomb_is_refused_by_what_it_declares(tmp_path):
    source = zip_of(tmp_path / "a.zip", {"saved_model.pb": bytes(3 * archives.MIB)})
    assert source.stat().st_size < 10_000
    with pytest.raises(RefusalError, match="it unpacks to 3 MiB or more and 2 MiB may be used"):
        archives.survey(str(source), 2 * archives.MIB)


def test_a_member_that_lies_about_its_size_is_never_written_beyond_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("saved_model.pb", bytes(archives.MIB))
        archive.filelist[0].file_size = 10
    with pytest.raises(DamagedError):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert all(len(content) <= 10 for content in read_tree(tmp_path / "out").values())


def test_a_source_that_grew_since_it_was_surveyed_is_refused(tmp_path):
    source = write_tree(tmp_path / "export", MODEL)
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedError, match=r"saved_model.pb is not as long as it declares"):
        archives.unpack(str(source), "", str(tmp_path / "out"), {**dict.fromkeys(MODEL, 700), "saved_model.pb": 2})
    assert (tmp_path / "out" / "saved_model.pb").stat().st_size == 0


def test_endless_empty_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 50)
    source = tar_of(tmp_path / "a", {f"f{number}": b"" for number in range(51)})
    with pytest.raises(RefusalError, match="it holds more than 50 members; pack the SavedModel alone"):
        archives.survey(str(source))


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    huge = member("x", tarfile.XHDTYPE, size=64 * 1024**3)
    (tmp_path / "a.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DamagedError, match="impossible header"):
        archives.survey(str(tmp_path / "a.tar"))


# --- sources that are none, and archives without an end -------------------------------------------------------


@pytest.fixture(params=["named pipe", "socket", "device"])
def special(request, tmp_path):
    """A source of each kind that has no end or no beginning."""
    path = tmp_path / "model.tar"
    if request.param == "named pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path = Path("/dev/zero")
    return path, request.param


@pytest.mark.parametrize("ask", [archives.survey, file_digest])
def test_what_is_no_file_is_refused_by_its_kind_and_not_waited_for(special, ask):
    path, kind = special
    with pytest.raises(RefusalError) as refusal:
        ask(str(path))
    assert str(refusal.value) == f"{path} is a {kind}; give the archive itself"


def test_a_file_that_became_a_pipe_since_it_was_looked_at_is_refused(tmp_path):
    write_tree(tmp_path / "export", MODEL)
    members = archives.entries(str(tmp_path / "export"))
    entry = next(entry for entry in members if entry.name == "saved_model.pb")
    (tmp_path / "export/saved_model.pb").unlink()
    os.mkfifo(tmp_path / "export/saved_model.pb")
    with pytest.raises(RefusalError, match=r"^saved_model.pb is a named pipe; "):
        entry.open()
    members.close()


DEEP = "d/" * 1500 + "saved_model.pb"


@pytest.mark.parametrize("form", FORMATS)
def test_directories_within_each_other_end_somewhere(tmp_path, form):
    source = archive_of(tmp_path / "a", {**MODEL, DEEP: b"x"}, form)
    with pytest.raises(RefusalError) as refusal:
        archives.survey(str(source))
    assert str(refusal.value) == "it has more than 64 directories within each other; pack the SavedModel alone"


def test_a_directory_that_is_too_deep_to_walk_is_refused_on_the_way_down(tmp_path):
    write_tree(tmp_path / "export", MODEL)
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "export")
        for _level in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    for ask in (archives.survey, archives.directory_digest, archives.stamps):
        with pytest.raises(RefusalError, match=r"^it has more than 64 directories within each other; "):
            ask(str(tmp_path / "export"))
    # Neither pytest nor shutil could.
    subprocess.run(["rm", "-rf", str(tmp_path / "export")], check=True)


@pytest.mark.parametrize("name", ["n" * 256, "/".join(["n" * 200] * 11)])
def test_a_name_that_no_disk_takes_is_refused_before_anything_is_written(tmp_path, name):
    source = tar_of(tmp_path / "a", {**MODEL, name: b"x"})
    with pytest.raises(RefusalError, match=r"^it holds a name that is too long, nnn.*; use shorter names$"):
        archives.survey(str(source))


def test_names_and_notes_of_a_tar_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_entries, "MAX_NAMES", archives.MIB)
    source = tmp_path / "a.tar"
    with tarfile.open(source, "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(12):
            tar.addfile(member(f"f{number}", pax_headers={"comment": "x" * 100_000}))
    with pytest.raises(RefusalError) as refusal:
        archives.survey(str(source))
    assert str(refusal.value) == "its names and notes take more than 1 MiB; pack the SavedModel alone"


def test_the_directory_of_a_zip_is_bounded_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_entries, "MAX_NAMES", 1000)
    source = zip_of(tmp_path / "a.zip", {f"file-{number}": b"" for number in range(30)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(RefusalError) as refusal:
        archives.survey(str(source))
    assert str(refusal.value) == "its directory takes more than 1 MiB; pack the SavedModel alone"


def test_more_directories_than_members_may_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 50)
    source = tar_of(tmp_path / "a", {f"{number}/a/b/c/d/e/f/g/h/i": b"" for number in range(6)})
    with pytest.raises(RefusalError, match=r"^it holds more than 50 directories; pack the SavedModel alone$"):
        archives.survey(str(source))


@pytest.mark.parametrize("form", FORMATS)
def test_what_unpacks_to_far_more_than_its_archive_is_refused_without_any_other_bound(tmp_path, form, monkeypatch):
    monkeypatch.setattr(archives, "MAX_UNCOMPARED", archives.MIB)
    source = archive_of(tmp_path / "a", {"saved_model.pb": bytes(5 * archives.MIB)}, form)
    if form == "w":
        assert archives.survey(str(source)).size == 5 * archives.MIB
        return
    with pytest.raises(RefusalError) as refusal:
        archives.survey(str(source))
    assert str(refusal.value) == (
        "it unpacks to 5 MiB or more out of 1 MiB, as no model does; check what was packed, or pack it without "
        "compression"
    )


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_a_sparse_file_is_refused_in_each_of_the_forms_that_pax_has_for_it(tmp_path, version):
    """A few letters stand for holes of many GB, which would be written out."""
    (tmp_path / "saved_model.pb").touch()
    os.truncate(tmp_path / "saved_model.pb", 10 * archives.MIB)
    source = tmp_path / "a.tar"
    packing = ["tar", "--format=pax", "--sparse", f"--sparse-version={version}", "-cf", source, "-C", tmp_path]
    subprocess.run([*packing, "saved_model.pb"], check=True)
    with pytest.raises(RefusalError, match=r"^it holds a sparse file; pack it without --sparse$"):
        archives.survey(str(source))


LARGE_DICTIONARY = "it is packed so that unpacking takes more than 256 MiB of memory; pack it as `xz -9` or less does"


def large_xz(path: Path) -> Path:
    """A tar whose xz header asks for a dictionary of 4 GiB, which its reader would fill as it goes."""
    content = bytearray(tar_of(path, {"saved_model.pb": b"x"}, "w:xz").read_bytes())
    length = (content[12] + 1) * 4
    content[12 + 4] = 40
    content[12 + length - 4 : 12 + length] = zlib.crc32(content[12 : 12 + length - 4]).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def large_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("saved_model.pb", b"x")
    content = bytearray(path.read_bytes())
    properties = content.index(b"saved_model.pb") + len("saved_model.pb") + 5
    content[properties : properties + 4] = b"\xff" * 4
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("make", [large_xz, large_zip])
def test_an_archive_does_not_choose_how_much_memory_its_reader_takes(tmp_path, make):
    with pytest.raises(RefusalError) as refusal:
        archives.survey(str(make(tmp_path / "archive")))
    assert str(refusal.value) == LARGE_DICTIONARY


def test_a_zip_that_names_a_place_beyond_all_files_is_damaged(tmp_path):
    """File systems refuse to go there, which was told as trouble of the host's disk."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("saved_model.pb", b"x")
    content = (tmp_path / "a.zip").read_bytes()
    entry = content.rindex(b"PK\x01\x02")
    end = content.rindex(b"PK\x05\x06")
    extra = struct.pack("<HHQ", 1, 8, 2**62)
    directory = bytearray(content[entry:end] + extra)
    directory[30:32], directory[42:46] = struct.pack("<H", len(extra)), b"\xff" * 4
    tail = bytearray(content[end:])
    tail[12:16] = struct.pack("<I", len(directory))
    (tmp_path / "a.zip").write_bytes(content[:entry] + directory + tail)
    assert set(archives.survey(str(tmp_path / "a.zip")).files) == {"saved_model.pb"}
    with pytest.raises(DamagedError):
        archives.unpack(str(tmp_path / "a.zip"), "", str(tmp_path), {"saved_model.pb": 1})


def test_an_xz_of_several_streams_with_zeros_between_and_after_them_is_read(tmp_path):
    packed = tar_of(tmp_path / "a.tar", {"m/saved_model.pb": os.urandom(3 * 2**20), "m/more": b"x"}, "w").read_bytes()
    half = len(packed) // 2
    source = tmp_path / "b"
    source.write_bytes(lzma.compress(packed[:half]) + bytes(8) + lzma.compress(packed[half:]) + bytes(4))
    assert set(unpack(source, tmp_path / "out")) == {"saved_model.pb", "more"}


def test_a_zip_of_lzma_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("saved_model.pb", b"x" * 1000)
    assert unpack(tmp_path / "a.zip", tmp_path / "out") == {"saved_model.pb": b"x" * 1000}


LONG = "a" * 300_000


@pytest.mark.parametrize(
    "files",
    [
        *({f"/{LONG}": b""}, {f"../{LONG}": b""}, {f"\x1b{LONG}": b""}, {LONG: b""}),
        {f"{number:05}{'x' * 200}/saved_model.pb": b"" for number in range(100)},
    ],
    ids=["absolute", "outside", "odd", "long", "places"],
)
def test_a_refusal_is_short_whatever_the_names_are(tmp_path, files):
    with pytest.raises(RefusalError) as refusal:
        archives.model_root(archives.survey(str(tar_of(tmp_path / "a.tar", files))))
    assert len(str(refusal.value)) < 1500
    assert str(refusal.value).isprintable()


def test_a_file_that_grows_while_it_is_read_is_not_read_for_ever(tmp_path, monkeypatch):
    """As a log does: each piece that is read is written twice by somebody else."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)

    class Growing:
        def __init__(self) -> None:
            self.read = 0

        def update(self, chunk: bytes) -> None:
            self.read += len(chunk)
            assert self.read < 10_000
            with open(path, "ab") as file:
                file.write(chunk * 2)

    monkeypatch.setattr(archives.hashlib, "sha256", Growing)
    with pytest.raises(RefusalError, match=r"^it grows while it is read; wait until it is whole$"):
        file_digest(str(path))


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_sparse_file_is_refused(tmp_path, form):
    (tmp_path / "saved_model.pb").touch()
    os.truncate(tmp_path / "saved_model.pb", 10 * archives.MIB)
    source = tmp_path / "a.tar"
    packing = ["tar", f"--format={form}", "--sparse", "-cf", source, "-C", tmp_path, "saved_model.pb"]
    subprocess.run(packing, check=True)
    with pytest.raises(RefusalError, match=r"^it holds a sparse file; pack it without --sparse$"):
        archives.survey(str(source))


# --- damaged archives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"<html>login</html>", b"\x28\xb5\x2f\xfd" + bytes(600)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(RefusalError) as refusal:
        archives.survey(str(tmp_path / "model.tar.gz"))
    assert str(refusal.value) == "it is neither a tar (plain, gz, bz2, xz) nor a zip; pack it as one of these"


def test_compressed_data_that_is_no_tar_is_refused(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a log file\n" * 100))
    with pytest.raises(DamagedError, match=r"the archive is damaged \(.*\); pack or fetch it again"):
        archives.survey(str(tmp_path / "a.gz"))


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_cut_short_anywhere_is_refused(tmp_path, form):
    content = archive_of(tmp_path / "whole", MODEL, form).read_bytes()
    # Beyond its end mark, a plain tar holds zeros that nobody misses.
    last = len(content.rstrip(b"\0")) if form == "w" else len(content)
    cut = tmp_path / "cut"
    for length in range(0, last, max(1, last // 40)):
        cut.write_bytes(content[:length])
        with pytest.raises(RefusalError):
            archives.survey(str(cut))


def test_damage_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path):
    source = tar_of(tmp_path / "a", MODEL, "w")
    content = bytearray(source.read_bytes())
    content[1024] ^= 0xFF  # the first byte of the second member's header
    source.write_bytes(content)
    with pytest.raises(DamagedError):
        archives.survey(str(source))


def test_the_compressor_s_own_checksum_is_compared(tmp_path):
    source = tar_of(tmp_path / "a", MODEL)
    content = bytearray(source.read_bytes())
    content[-8] ^= 0xFF
    source.write_bytes(content)
    with pytest.raises(DamagedError, match="CRC"):
        archives.survey(str(source))


@settings(max_examples=150)
@given(form=st.sampled_from(FORMATS), data=st.data())
def test_damaged_archives_unpack_whole_or_are_refused_in_words(form, data):
    with tempfile.TemporaryDirectory() as folder:
        source = archive_of(Path(folder, "a"), MODEL, form)
        content = bytearray(source.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        source.write_bytes(content)
        try:
            unpacked = unpack(source, Path(folder, "out"))
        except RefusalError:
            return
        # A plain tar has checksums of its headers only, a zip of its contents only.
        if form == "zip":
            assert set(unpacked.values()) <= set(MODEL.values())
        elif form != "w":
            assert unpacked == MODEL


PARTS = st.sampled_from(["..", ".", "", "a", "saved_model.pb", "variables", "/", "~", "outside", "\\", "C:"])
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"Z"])
MEMBERS = st.lists(st.tuples(st.lists(PARTS, min_size=1, max_size=4), KINDS, st.lists(PARTS, max_size=3)), max_size=8)


@settings(max_examples=150)
@given(MEMBERS)
def test_no_archive_ever_writes_outside_its_target(members):
    with tempfile.TemporaryDirectory() as folder:
        outside = write_tree(Path(folder, "outside"), {"precious": b"mine"})
        infos = [member("/".join(name), kind, linkname="/".join(link)) for name, kind, link in members]
        source = tar_of(Path(folder, "a"), {"saved_model.pb": b"x"}, "w", tuple(infos))
        target = Path(folder, "inner", "out")
        target.parent.mkdir()
        try:
            unpack(source, target)
        except RefusalError:
            assert not target.exists()
        assert read_tree(outside) == {"precious": b"mine"}
        assert sorted(os.listdir(folder)) == ["a", "inner", "outside"]
        assert set(os.listdir(target.parent)) <= {"out"}
        assert not any(path.is_symlink() for path in target.rglob("*"))


# --- directories on the controller ---------------------------------------------------------------------------


def test_packing_depends_on_names_and_contents_alone(tmp_path):
    first = write_tree(tmp_path / "first", MODEL)
    second = write_tree(tmp_path / "second", dict(reversed(MODEL.items())))
    os.utime(second / "saved_model.pb", (1, 1))
    (second / "saved_model.pb").chmod(0o777)
    digests = [archives.pack(str(tree), f"{tree}.tar") for tree in (first, second)]
    assert digests[0] == digests[1] == archives.directory_digest(str(first))
    assert Path(f"{first}.tar").read_bytes() == Path(f"{second}.tar").read_bytes()
    assert unpack(Path(f"{first}.tar"), tmp_path / "out") == MODEL


def test_the_digest_of_a_directory_is_what_the_documented_command_prints(tmp_path):
    tree = write_tree(tmp_path / "export", {**MODEL, "assets/b": b"1", "assets.extra/é": b"2", "assets-/c d": b""})
    command = r"find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tree, check=True, capture_output=True, text=True).stdout
    assert archives.directory_digest(str(tree)) == printed.split()[0]


# --- a whole SavedModel --------------------------------------------------------------------------------------

TWO = ("variables/variables.data-00000-of-00002", "variables/variables.data-00001-of-00002")
BROKEN = [
    ({"variables/x": 1}, "it has no saved_model.pb; give what tf.saved_model.save wrote"),
    ({"saved_model.pb": 0, INDEX: 1, SHARD: 1}, "its saved_model.pb is empty; export the model again"),
    ({"saved_model.pb": 0, "saved_model.pbtxt": 1}, "its saved_model.pb is empty; export the model again"),
    (
        {"saved_model.cpb": 1, "saved_model.pb": 1, INDEX: 1, SHARD: 1},
        "it is a saved_model.cpb, a graph of over 2 GB in pieces, which cannot be checked before a server loads "
        "it; keep the weights in variables, so that the graph fits into saved_model.pb",
    ),
    ({"saved_model.pb": 1, SHARD: 1}, f"{INDEX} is missing or empty; export the model again"),
    ({"saved_model.pb": 1, SHARD: 1, INDEX: 0}, f"{INDEX} is missing or empty; export the model again"),
    ({"saved_model.pb": 1, INDEX: 1}, f"it lacks {SHARD}; export or pack the model again"),
    ({"saved_model.pb": 1, INDEX: 1, TWO[1]: 1}, f"it lacks {TWO[0]}; export or pack the model again"),
    ({"saved_model.pb": 1, INDEX: 1, TWO[0]: 1}, f"it lacks {TWO[1]}; export or pack the model again"),
]


def holding(files: dict[str, int]) -> Survey:
    return Survey(dict(files), {path.rpartition("/")[0] for path in files} - {""})


@pytest.mark.parametrize(("files", "message"), BROKEN)
def test_a_model_that_lacks_a_part_is_refused(files, message):
    with pytest.raises(RefusalError) as refusal:
        archives.check_saved_model(holding(files))
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "found",
    [
        holding({"saved_model.pb": 1, INDEX: 1, SHARD: 1}),
        holding({"saved_model.pbtxt": 1, INDEX: 1, TWO[0]: 1, TWO[1]: 1}),
        holding({"saved_model.pb": 1, INDEX: 1, TWO[0]: 1, SHARD: 1}),
        Survey({"saved_model.pb": 1}, {"variables"}),
        Survey({"saved_model.pb": 1}, set()),
    ],
    ids=["binary", "text, two shards", "a stale shard beside a whole set", "frozen", "frozen, without its directory"],
)
def test_a_whole_model_is_taken(found):
    archives.check_saved_model(found)
