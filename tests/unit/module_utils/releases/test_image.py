# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Releases from images, with skopeo and umoci as they are, on images made by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import image as release_image
from release_images import ARCHITECTURE, BINARY, FOREIGN, SERVER, Layout, at_once, digest_of, host, layout, with_tools

__all__ = ["at_once", "host", "layout"]  # fixtures


@with_tools
@pytest.mark.parametrize("how", [{}, {"compress": False}, {"index": True}, {"architectures": [FOREIGN, ARCHITECTURE]}])
def test_an_image_of_a_layout_becomes_a_release(tmp_path, host, how):
    layout = Layout(tmp_path / "serving", **how)
    result = host.install(image=layout.reference)
    release = result["release"]
    path = host.root / f"serving@sha256-{layout.digest[7:23]}"
    assert result["changed"]
    assert {**release, "size_bytes": 0} == {
        "id": path.name,
        "path": str(path),
        "method": "image",
        "version": "2.19.1",
        "source": layout.reference,
        "digest": layout.digest,
        "architecture": ARCHITECTURE,
        "chroot": True,
        "binary": f"/{BINARY}",
        "library_path": "/usr/local/cuda/lib64",
        "environment": {},
        "glibc": "2.35",
        "size_bytes": 0,
    }
    assert {path.name for path in path.iterdir()} == {"release.json", "rootfs"}
    assert {**json.loads((path / "release.json").read_text()), "path": str(path)} == release
    assert (path / "rootfs" / BINARY).read_bytes() == SERVER
    assert host.names() == [path.name]


@with_tools
def test_what_is_installed_can_be_read_by_all_and_lends_nobody_its_owners_rights(host, layout):
    path = Path(host.install(image=layout.reference)["release"]["path"])
    modes = [(path / name).stat().st_mode & 0o7777 for name in ("", "release.json", "rootfs", f"rootfs/{BINARY}")]
    assert modes == [0o755, 0o644, 0o755, 0o755]


@with_tools
def test_a_second_run_calls_no_program_and_changes_nothing(host, layout):
    first = host.install(image=layout.reference)
    shutil.rmtree(layout.top)
    host.commands.clear()
    second = host.install(image=layout.reference)
    assert (second["changed"], second["release"], host.commands) == (False, first["release"], [])
    assert second["diff"]["before"] == second["diff"]["after"]


def test_check_mode_foretells_and_touches_nothing(host, layout):
    result = host.install(image=layout.reference, check=True)
    name = f"serving@sha256-{layout.digest[7:23]}"
    assert result["changed"]
    assert result["release"]["id"] == name
    assert (result["diff"]["before"], result["diff"]["after"]) == ("", f"{name} from {layout.reference}\n")
    assert not host.root.exists()
    assert not host.commands


@with_tools
def test_an_image_that_docker_saved_becomes_a_release(tmp_path, host, layout):
    file = tmp_path / "serving:2.19.1.tar"
    plain = tmp_path / "plain.tar"
    copy = ["skopeo", "copy", "-q", f"oci:{layout.top}", f"docker-archive:{plain}:serving:2.19.1"]
    subprocess.run(copy, check=True, capture_output=True)
    plain.rename(file)
    release = host.install(image=f"docker-archive:{file}@{digest_of(file.read_bytes())}")["release"]
    assert release["id"].startswith("serving-2.19.1@sha256-")
    assert (Path(release["path"]) / "rootfs" / BINARY).read_bytes() == SERVER


@with_tools
def test_a_leftover_of_a_killed_run_is_removed_and_the_release_begun_anew(host, layout):
    left = host.root / f".staging-serving@sha256-{layout.digest[7:23]}"
    (left / "rootfs").mkdir(parents=True)
    (left / "rootfs" / "half").write_bytes(b"a file")
    (host.root / ".staging-other@sha256-0").mkdir()
    release = host.install(image=layout.reference)["release"]
    assert host.names() == [release["id"]]
    assert not (Path(release["path"]) / "rootfs" / "half").exists()


@with_tools
def test_the_binary_may_be_a_link_and_stand_elsewhere(tmp_path, host):
    files = {"opt/server/bin": SERVER, "usr/bin/real": SERVER}
    layout = Layout(tmp_path / "serving", files, links={"usr/bin/server": "/bin/real", "bin": "usr/bin"})
    assert host.install(image=layout.reference, binary="/bin/server")["release"]["binary"] == "/bin/server"


@pytest.mark.parametrize("config", [[], None, {"architecture": 5}, {"config": []}, {"config": {"Env": [5]}}])
@pytest.mark.parametrize("layers", [[{"size": 1}], [5], 5, [{"size": "x"}]])
def test_an_image_of_other_parts_is_refused_in_words(tmp_path, config, layers):
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    manifest = {"config": {"digest": "sha256:c"}, "layers": layers}
    for name, content in (("c", config), ("m", manifest)):
        (tmp_path / "blobs/sha256" / name).write_text(json.dumps(content))
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:m"}]}))
    part = "config" if layers == [{"size": 1}] else "manifest"
    with pytest.raises(ValueError, match=f"its {part} has other parts than OCI's"):
        release_image.read_layout(str(tmp_path))
