# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's container images, made here of a few files instead of the host image's."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from fleet_lab import cli
from fleet_lab.build import oci, server_images
from fleet_lab.errors import Stop

ROOT = Path(__file__).resolve().parents[2]
BASE = {"usr/bin/sh": oci.Entry(0o755, b"shell"), "bin": oci.Entry(target="usr/bin"), "tmp": oci.Entry(0o1777)}


@pytest.fixture
def layout(tmp_path):
    place = tmp_path / "layout"
    write(place)
    return place


def write(place, base=BASE):
    layers = {tag: [oci.layer(base), oci.layer({"VERSION": oci.Entry(0o644, tag.encode())})] for tag in ("1.0", "2.0")}
    config = server_images.image_config("amd64")
    return oci.write_layout(place, {tag: (config, parts) for tag, parts in layers.items()})


def blob(layout, descriptor):
    data = layout.joinpath("blobs", *descriptor["digest"].split(":")).read_bytes()
    assert len(data) == descriptor["size"]
    return data


def manifests(layout):
    index = json.loads((layout / "index.json").read_text())
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in index["manifests"]}


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


def test_every_blob_is_named_by_its_own_digest(layout):
    blobs = list((layout / "blobs" / "sha256").iterdir())
    assert len(blobs) == 7  # for each of two images a manifest, a config and a layer, and the layer that they share
    for path in blobs:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_an_image_leads_from_its_tag_to_its_layers(layout):
    manifest = json.loads(blob(layout, manifests(layout)["2.0"]))
    config = json.loads(blob(layout, manifest["config"]))
    plain = [gzip.decompress(blob(layout, part)) for part in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [oci.digest(data) for data in plain]
    assert [[member.name for member in members(data)] for data in plain] == [
        ["bin", "tmp", "usr", "usr/bin", "usr/bin/sh"],
        ["VERSION"],
    ]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")


def test_the_digests_that_are_told_are_those_of_the_index(tmp_path):
    told = write(tmp_path / "layout")
    assert told == {tag: entry["digest"] for tag, entry in manifests(tmp_path / "layout").items()}


def test_equal_trees_make_equal_images_in_whatever_order(tmp_path):
    assert write(tmp_path / "a") == write(tmp_path / "b", dict(reversed(BASE.items())))


def test_one_changed_byte_makes_another_image(tmp_path):
    changed = {**BASE, "usr/bin/sh": oci.Entry(0o755, b"Shell")}
    assert not set(write(tmp_path / "a").values()) & set(write(tmp_path / "b", changed).values())


def test_all_in_a_layer_is_roots_and_of_one_time_and_keeps_its_kind(layout):
    manifest = json.loads(blob(layout, manifests(layout)["1.0"]))
    found = {member.name: member for member in members(gzip.decompress(blob(layout, manifest["layers"][0])))}
    assert {(member.uid, member.gid, member.mtime) for member in found.values()} == {(0, 0, 0)}
    assert found["bin"].linkname == "usr/bin"
    assert (found["tmp"].isdir(), found["tmp"].mode) == (True, 0o1777)
    assert (found["usr/bin/sh"].isfile(), found["usr/bin/sh"].mode) == (True, 0o755)


@pytest.mark.parametrize(
    ("path", "goes_in"),
    [
        ("usr/bin/python3.11", True),
        ("usr/lib/python3.11/json/decoder.py", True),
        ("usr/lib/python3.11/unittest/case.py", True),
        ("usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", True),
        ("usr/lib/python3.11/lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so", True),
        ("usr/lib/python3.11/lib-dynload/_ctypes_test.cpython-311-x86_64-linux-gnu.so", False),
        ("usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so", False),
        ("usr/lib/python3.11/json/__pycache__/decoder.cpython-311.pyc", False),
        ("usr/lib/python3.11/test/support/__init__.py", False),
        ("usr/lib/python3.11/idlelib/run.py", False),
        ("usr/lib/python3.11/ensurepip/__init__.py", False),
    ],
)
def test_of_python_only_what_a_server_may_import_goes_in(path, goes_in):
    assert server_images.wanted(path) is goes_in


LISTING = """\
/usr/bin/sh:
\tlinux-vdso.so.1 (0x00007ffd)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f01)
/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so:
\tstatically linked
/usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so:
\tlibsqlite3.so.0 => /lib/x86_64-linux-gnu/libsqlite3.so.0 (0x00007f02)
"""


def test_libraries_are_those_of_the_wanted_files_at_their_place_below_usr():
    assert server_images.libraries(LISTING) == [
        "usr/bin/sh",
        "usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib64/ld-linux-x86-64.so.2",
    ]


def test_a_library_that_the_host_image_lacks_is_named():
    listing = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6:\n\tlibm.so.6 => not found\n"
    with pytest.raises(Stop, match=r"^usr/lib/x86_64-linux-gnu/libstdc\+\+\.so\.6 needs libm\.so\.6; add its package"):
        server_images.libraries(listing)


def test_every_link_of_the_base_leads_to_something_in_it():
    tree = server_images.base_tree(
        {"usr/lib64/ld.so": BASE["usr/bin/sh"], "usr/bin/python3.11": BASE["usr/bin/sh"]}, "python3.11"
    )
    present = {str(parent) for path in tree for parent in (Path(path), *Path(path).parents)} | {"usr/lib"}
    for path, entry in tree.items():
        if entry.target:
            assert str(Path(path).parent / entry.target) in present, path


def test_nothing_in_the_base_takes_a_file_of_a_layer_below_away():
    assert not [path for path in server_images.base_tree({}, "python3.11") if Path(path).name.startswith(".wh.")]


def test_only_the_execution_bits_of_a_packed_file_count(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for name, mode in (("./usr/bin/program", 0o700), ("./usr/lib/data", 0o640)):
            member = tarfile.TarInfo(name)
            member.mode, member.size, member.uid, member.mtime = mode, 1, 1000, 12345
            tar.addfile(member, io.BytesIO(b"x"))
    assert server_images.files_of(archive) == {
        "usr/bin/program": oci.Entry(0o755, b"x"),
        "usr/lib/data": oci.Entry(0o644, b"x"),
    }


def test_the_entry_point_survives_a_stop_signal_and_its_server_gets_the_flags(tmp_path):
    """So a unit that runs it by mistake cannot pass a test."""
    server = tmp_path / "tensorflow_model_server"
    server.write_text('#!/bin/sh\nkill -TERM "$PPID"\necho "$@"\nexit 7\n')
    server.chmod(0o755)
    script = ROOT / "lab" / "images" / Path(server_images.ENTRYPOINT).name
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MODEL_NAME": "digits"}
    run = subprocess.run([script, "--x=1"], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 7
    assert run.stdout.split() == [
        *("--port=8500", "--rest_api_port=8501", "--model_name=digits", "--model_base_path=/models/digits", "--x=1")
    ]


def test_images_are_made_for_scenarios_and_not_for_the_hosts():
    assert "images" not in cli.order(["up"])
    assert cli.order(["images"]).index("image") < cli.order(["images"]).index("images")
