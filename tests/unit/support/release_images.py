# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in files, a host that unpacks them, and binaries that look like servers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import registry as release_registry
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import tree as release_tree
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.install import install
from ansible_collections.tfserving.fleet.plugins.modules import server_release

TOOLS = all(map(shutil.which, ("skopeo", "umoci"))) and os.geteuid() == 0
with_tools = pytest.mark.skipif(not TOOLS, reason="skopeo and umoci are not installed here, or this is not root")
ARCHITECTURE = release_tree.host_architecture()
FOREIGN = "arm64" if ARCHITECTURE != "arm64" else "amd64"
BINARY = "usr/bin/tensorflow_model_server"
SERVER = b"#!/bin/sh\necho TensorFlow ModelServer: 2.19.1\n"
LIBC = b"\x7fELF\0GNU C Library (Ubuntu GLIBC 2.35-0ubuntu3.8) stable release version 2.35.\n\0"
FILES = {BINARY: SERVER, "usr/lib64/libc.so.6": LIBC, "usr/share/licence": b"a text"}
LINKS = {"lib64": "/usr/lib64", "usr/bin/loop": "loop"}
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def elf(machine: int) -> bytes:
    """Return the beginning of an ELF program for a machine (elf.h, EM_*)."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)


class Layout:
    """An OCI layout with one image: a layer, its config and its manifest, or an index of several."""

    def __init__(
        self, top: Path, files: dict[str, bytes] = FILES, *, links: dict[str, str] = LINKS, **how: Any
    ) -> None:
        self.top = top
        (top / "blobs" / "sha256").mkdir(parents=True)
        (top / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        compress = how.get("compress", True)
        plain = layer_of(files, links)
        self.layer = self.add(gzip.compress(plain, mtime=0) if compress else plain)
        suffix = "+gzip" if compress else ""
        layer = self.entry(self.layer, f"application/vnd.oci.image.layer.v1.tar{suffix}")
        self.manifests = [self._manifest(how, each, layer, plain) for each in how.get("architectures", [ARCHITECTURE])]
        self.digest = self.manifests[0]
        if len(self.manifests) > 1 or how.get("index"):
            entries = [
                {**self.entry(digest, release_registry.MANIFEST_TYPE), **platform(each)}
                for digest, each in zip(self.manifests, how.get("architectures", [ARCHITECTURE]))
            ]
            self.digest = self.add_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})
        top_entry = self.entry(self.digest, INDEX_TYPE if self.is_index else release_registry.MANIFEST_TYPE)
        (top / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top_entry]}))

    def _manifest(self, how: dict[str, Any], architecture: str, layer: dict[str, Any], plain: bytes) -> str:
        config = {
            "os": "linux",
            "architecture": architecture,
            "config": {"Env": how.get("env", ["PATH=/usr/bin", "LD_LIBRARY_PATH=/usr/local/cuda/lib64"])},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]},
        }
        written = self.entry(self.add_json(config), "application/vnd.oci.image.config.v1+json")
        return self.add_json(
            {"schemaVersion": 2, "mediaType": release_registry.MANIFEST_TYPE, "config": written, "layers": [layer]}
        )

    @property
    def is_index(self) -> bool:
        return self.digest not in self.manifests

    @property
    def reference(self) -> str:
        return f"oci:{self.top}@{self.digest}"

    def blob(self, digest: str) -> Path:
        return self.top / "blobs" / "sha256" / digest.partition(":")[2]

    def add(self, content: bytes) -> str:
        digest = digest_of(content)
        self.blob(digest).write_bytes(content)
        return digest

    def add_json(self, content: Any) -> str:
        return self.add(json.dumps(content).encode())

    def entry(self, digest: str, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": digest, "size": self.blob(digest).stat().st_size}

    def tamper(self, digest: str) -> None:
        """Change a blob without changing its length."""
        content = bytearray(self.blob(digest).read_bytes())
        content[-5] ^= 1
        self.blob(digest).write_bytes(bytes(content))


def platform(architecture: str) -> dict[str, Any]:
    return {"platform": {"os": "linux", "architecture": architecture}}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer_of(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    """Return a layer; programs in it have the set-user-ID bit, as su has in an image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o4755 if name.startswith("usr/bin/") else 0o644
            tar.addfile(info, io.BytesIO(content))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


class Host:
    """A host's releases, and runs of the module's work against them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands: list[list[str]] = []

    def run(self, arguments: list[str], directory: str) -> tuple[int, str, str]:
        self.commands.append(arguments)
        done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def install(self, check: bool = False, run: Any = None, **options: Any) -> dict[str, Any]:
        defaults = {name: spec.get("default") for name, spec in server_release.ARGUMENTS.items()}
        params = {**defaults, "root": str(self.root), "version": "2.19.1", "method": "image", **options}
        return install(params, check, run or self.run)

    def refusal(self, **options: Any) -> str:
        before = self.names()
        with pytest.raises(WishError) as refusal:
            self.install(**options)
        assert self.names() == before
        return str(refusal.value)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name != ".lock") if self.root.exists() else []


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    """Nothing here gets better by waiting."""
    monkeypatch.setattr(release_registry, "RETRIES", 0)


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path / "host" / "releases")


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path / "serving")


def refused(text: str) -> str:
    return f"tfserving_images.2.19.1: {text}"
