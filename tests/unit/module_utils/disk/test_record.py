# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is remembered between runs is written whole and durably, in one way, and read as what anybody may damage."""

from __future__ import annotations

import errno
import json
import os
import stat

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import host as bundle_host
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import manifest as bundle_manifest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import parcel as bundle_parcel
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import durable
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.record import Record
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus.settings_memory import Memory
from ansible_collections.tfserving.fleet.plugins.module_utils.host import holds, plan_record
from ansible_collections.tfserving.fleet.plugins.module_utils.host.pause import Pause
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.partition import Limits
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.settings import Originals
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store as Models
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.state import Store as Tree
from killed import run_until_killed

OLD, NEW = {"names": ["old"]}, {"names": ["new"] * 1000}
SHAPE = {"names": [str]}
CURE = "delete it, and run again"


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "folder/record.json", SHAPE, CURE, schema=1)


def test_what_is_saved_is_loaded_and_nothing_lies_beside_it(record, tmp_path):
    assert record.load() is None
    record.save(NEW)
    assert record.load() == NEW
    assert os.listdir(tmp_path / "folder") == ["record.json"]


def test_a_record_is_absent_when_it_is_empty(record, tmp_path):
    record.save({})
    assert not (tmp_path / "folder").exists()
    record.save(OLD)
    record.save({})
    assert os.listdir(tmp_path / "folder") == []


def test_a_record_is_readable_by_all_and_one_that_is_private_by_its_owner_alone_under_any_umask(tmp_path):
    before = os.umask(0o077)
    try:
        Record(tmp_path / "a/open.json", SHAPE).save(OLD)
        Record(tmp_path / "b/closed.json", SHAPE, mode=0o600, folder=0o700).save(OLD)
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert found == {"a": 0o755, "open.json": 0o644, "b": 0o700, "closed.json": 0o600}


def test_wherever_the_power_fails_the_old_record_or_the_new_one_is_there_whole(record, tmp_path):
    at = 1
    while True:
        record.save(OLD)
        killed = run_until_killed(lambda: record.save(NEW), at)
        found = record.load()
        assert found in (OLD, NEW)
        if not killed:
            break
        # What was cut short is in nobody's way.
        record.save({"names": ["next"]})
        assert os.listdir(tmp_path / "folder") == ["record.json"]
        at += 1
    assert found == NEW
    assert at > 5, "killed before each of the calls that write it"


def test_a_disk_that_fails_keeps_the_old_record_and_leaves_nothing_beside_it(record, tmp_path, monkeypatch):
    record.save(OLD)

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        record.save(NEW)
    assert record.load() == OLD
    assert os.listdir(tmp_path / "folder") == ["record.json"]


def test_a_file_system_without_directories_to_sync_is_no_failure_and_one_that_fails_is(record, monkeypatch):
    fsync, number = os.fsync, errno.EINVAL

    def of_files_alone(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    record.save(NEW)
    assert record.load() == NEW
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        record.save(OLD)


def test_a_link_in_place_of_what_is_staged_is_not_followed(record, tmp_path):
    record.save(OLD)
    (tmp_path / "other").write_text("theirs")
    (tmp_path / "folder/.record.json.new").symlink_to(tmp_path / "other")
    record.save(NEW)
    assert (tmp_path / "other").read_text() == "theirs"
    assert record.load() == NEW


DAMAGES = [
    ("{", "is damaged"),
    ("", "is damaged"),
    ("[]", "is damaged"),
    ('{"names": [1]}', "is damaged"),
    ('{"names": ["' + "x" * (1 << 20) + '"]}', "cannot be read (it has more than 1048576 bytes)"),
    (os.mkdir, "cannot be read (it is a directory)"),
    (os.mkfifo, "cannot be read (it is no file)"),
]


@pytest.mark.parametrize(("damage", "problem"), DAMAGES)
def test_whatever_lies_in_its_place_is_refused_in_one_sentence_or_counts_as_nothing(record, tmp_path, damage, problem):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder/record.json"
    damage(path) if callable(damage) else path.write_text(damage)
    with pytest.raises(WishError) as refusal:
        record.load()
    assert str(refusal.value) == f"{path}: {problem}; {CURE}"
    assert record.found() is None


def test_a_record_of_a_later_release_is_left_to_it(record, tmp_path):
    record.save({"schema": 2, "names": []})
    with pytest.raises(WishError) as refusal:
        record.load()
    assert str(refusal.value) == (
        f"{record.path}: has schema 2, this release of the collection reads schema 1; "
        "run the release that wrote it, or a newer one"
    )


def originals(folder):
    kept = Originals(f"{folder}/kernel.json")
    kept.note("vm.swappiness", "/proc/sys/vm/swappiness", "60")
    kept.save()


def memory(folder):
    Memory(f"{folder}/gpus.json", "boot", False).lock("GPU-1", "graphics_clock_mhz", (900, 1200))


def proven(folder):
    os.makedirs(f"{folder}/ranker/7")
    Models(folder).prove("ranker", 7)


WRITERS = {
    "kernel settings": originals,
    "cpu partition": lambda folder: Limits(f"{folder}/partition.json").save(["ssh.service"], "0-3"),
    "paused units": lambda folder: Pause(lambda _arguments: (0, "", ""), f"{folder}/stopped.json").stop(["a.service"]),
    "package holds": lambda folder: holds.record(folder, "driver").save(["libcuda1"]),
    "gpu settings": memory,
    "plan": lambda folder: plan_record.write(f"{folder}/plan.json", {"schema": 1}),
    "model version": proven,
    "tree": lambda folder: Tree(folder).save("manifest.json", {"schema": 1}),
    "bundle manifest": lambda folder: bundle_manifest.write(folder, []),
    "bundle on a host": lambda folder: bundle_host._lay_down(folder, {"apt/sources.list": "deb"}),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_each_record_is_on_disk_before_it_takes_its_place_and_its_place_before_the_end(writer, tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.rename

    def counted(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("rename"), rename(*names)))
    WRITERS[writer](str(tmp_path))
    assert done[-3:] == ["file", "rename", "folder"]


def test_a_bundles_note_is_kept_whole_and_absent_when_it_says_nothing(tmp_path):
    content = tmp_path / "keys/a.gpg"
    content.parent.mkdir()
    content.write_bytes(b"key")
    wanted = {"path": "keys/a.gpg", "size": 3, "sha256": bundle_parcel.file_digest(str(content))}
    assert bundle_parcel.lacking(str(tmp_path), [wanted], remember=True) == []
    note = tmp_path / bundle_parcel.NOTE
    assert json.loads(note.read_text())["keys/a.gpg"][:2] == [wanted["sha256"], 3]
    content.unlink()
    assert bundle_parcel.lacking(str(tmp_path), [wanted], remember=True) == ["keys/a.gpg"]
    assert not note.exists()


def test_a_file_is_durably_gone(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "sync", synced.append)
    durable.remove(str(tmp_path / "none"))
    assert synced == []
    (tmp_path / "one").write_text("")
    durable.remove(str(tmp_path / "one"))
    assert synced == [str(tmp_path)]
    assert not (tmp_path / "one").exists()
