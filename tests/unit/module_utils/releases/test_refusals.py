# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Images that do not become a release: every refusal with its sentence, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from release_images import (
    ARCHITECTURE,
    BINARY,
    FILES,
    FOREIGN,
    Host,
    Layout,
    at_once,
    digest_of,
    elf,
    host,
    layout,
    refused,
    with_tools,
)

__all__ = ["at_once", "host", "layout"]  # fixtures


@with_tools
def test_a_tampered_layer_is_refused(host, layout):
    layout.tamper(layout.layer)
    said = host.refusal(image=layout.reference)
    assert said.startswith(refused(f"the image cannot be fetched from {layout.top} ("))
    assert "Digest did not match" in said
    assert said.endswith("); check what changed there, or correct the digest")


@with_tools
def test_a_tampered_manifest_of_a_layout_is_refused_with_both_digests(host, layout):
    layout.tamper(layout.digest)
    found = digest_of(layout.blob(layout.digest).read_bytes())
    assert host.refusal(image=layout.reference) == refused(
        f"the manifest in {layout.top} has the digest {found}, not the wished {layout.digest}; "
        "check what changed there, or correct the digest"
    )


@with_tools
def test_a_digest_that_a_layout_does_not_hold_is_refused_with_those_it_names(host, layout):
    other = f"sha256:{'0' * 64}"
    assert host.refusal(image=f"oci:{layout.top}@{other}") == refused(
        f"{layout.top} holds no {other}, its index names {layout.digest}; "
        "correct the digest, or copy the image there again"
    )


@with_tools
def test_a_layout_or_a_file_that_is_not_there_is_refused(tmp_path, host):
    digest = f"sha256:{'0' * 64}"
    assert host.refusal(image=f"oci:{tmp_path}@{digest}") == refused(
        f"{tmp_path} is not an OCI layout on this host; put one there, with its index.json"
    )
    assert host.refusal(image=f"docker-archive:{tmp_path}/s.tar@{digest}") == refused(
        f"{tmp_path}/s.tar is not a file on this host; put there what `docker save` wrote"
    )


@with_tools
def test_a_saved_image_with_another_checksum_is_refused_with_both(tmp_path, host):
    file, wished = tmp_path / "s.tar", f"sha256:{'0' * 64}"
    file.write_bytes(b"something else")
    assert host.refusal(image=f"docker-archive:{file}@{wished}") == refused(
        f"{file} has the digest {digest_of(b'something else')}, not the wished {wished}; "
        "check what changed there, or correct the digest"
    )


@with_tools
@pytest.mark.parametrize(
    ("how", "problem"),
    [
        (
            {"architectures": [FOREIGN]},
            f"the image is built for {FOREIGN}, and this host is {ARCHITECTURE}; name one for {ARCHITECTURE}",
        ),
        (
            {"architectures": [FOREIGN, "riscv64"]},
            f"the image has no build for {ARCHITECTURE}; name one that has",
        ),
    ],
)
def test_an_image_for_another_architecture_is_refused(tmp_path, host, how, problem):
    assert host.refusal(image=Layout(tmp_path / "serving", **how).reference) == refused(problem)


@with_tools
def test_an_image_whose_program_is_for_another_architecture_is_refused(tmp_path, host):
    machine = {"arm64": 183, "amd64": 62}[FOREIGN]
    layout = Layout(tmp_path / "serving", {**FILES, BINARY: elf(machine)})
    assert host.refusal(image=layout.reference) == refused(
        f"/{BINARY} in the image is built for {FOREIGN}, and this host is {ARCHITECTURE}; name one for {ARCHITECTURE}"
    )


@with_tools
def test_an_image_without_the_server_is_refused(tmp_path, host):
    layout = Layout(tmp_path / "serving", {"etc/passwd": b"root"})
    assert host.refusal(image=layout.reference) == refused(
        f"the image holds no executable /{BINARY}; name an image of the server, or its path as binary"
    )


@with_tools
def test_a_damaged_layer_is_refused_in_umocis_words(tmp_path, host):
    layout = Layout(tmp_path / "serving")
    manifest = json.loads(layout.blob(layout.digest).read_bytes())
    manifest["layers"][0] = {**layout.entry(layout.add(b"no gzip"), manifest["layers"][0]["mediaType"])}
    digest = layout.add_json(manifest)
    said = host.refusal(image=f"oci:{layout.top}@{digest}")
    assert said.startswith(refused("the image cannot be unpacked ("))
    assert said.endswith("); check it with `umoci unpack`, or push it again")


@pytest.mark.parametrize("tool", ["skopeo", "umoci"])
def test_a_missing_tool_is_named(tmp_path, host, layout, monkeypatch, tool):
    place = tmp_path / "bin"
    place.mkdir()
    for name in {"skopeo", "umoci"} - {tool}:
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    assert host.refusal(image=layout.reference) == refused(
        f"{tool} is not installed on this host; install {tool}, as the role tfserving does"
    )


@pytest.fixture
def small_host(tmp_path) -> Iterator[Host]:
    """A host whose releases lie on a file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], capture_output=True).returncode != 0:
        pytest.skip("mounts are not allowed here")
    yield Host(place)
    subprocess.run(["umount", "--lazy", place], check=True)


@with_tools
@pytest.mark.parametrize(
    ("content", "needs"),
    [
        (os.urandom(8 << 20), "more"),  # skopeo meets the end
        (os.urandom(2 << 20), "7 MiB"),  # the check before unpacking
        (bytes(8 << 20), "more"),  # umoci does
    ],
    ids=["fetching", "foreseen", "unpacking"],
)
def test_a_full_disk_is_told_with_figures_and_nothing_is_left(tmp_path, small_host, content, needs):
    layout = Layout(tmp_path / "serving", {**FILES, "usr/lib/large": content})
    said = small_host.refusal(image=layout.reference)
    head, _free, tail = said.partition(" and ")
    assert head == refused(f"the release needs {needs}")
    assert tail.endswith(f"MiB are free under {small_host.root}; free space there, or keep fewer releases")
    assert small_host.names() == []
