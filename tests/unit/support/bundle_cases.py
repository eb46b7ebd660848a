# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Wishes and bundles for the tests of module_utils/bundle*.py."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import manifest as bundle_manifest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle

FINGERPRINT = "916E2B2FEBC274930BACA9D9544B7F63BF9E4D5F"
DIGEST = "ab" * 32


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def model(name: str = "digits", content: bytes = b"digits", **changes: Any) -> dict[str, Any]:
    source = {"type": "http", "uri": "https://models.example/digits.tgz", "sha256": sha256(content)}
    return {"name": name, "version": 1, "source": source, **changes}


def wish(**changes: Any) -> dict[str, Any]:
    apt = {
        "package": "tensorflow-model-server",
        "uri": "https://apt.example",
        "suite": "stable",
        "key_url": "https://apt.example/key.asc",
        "fingerprint": FINGERPRINT,
    }
    return {
        "version": "2.19.1",
        "method": "apt",
        "models": [model()],
        "headers": {},
        "images": {},
        "archives": {},
        "release_root": "/opt/tfserving/releases",
        "allocator": "jemalloc",
        "jemalloc_package": "libjemalloc2",
        "packet_filter": False,
        "more_packages": [],
        "apt": apt,
        **changes,
    }


def artifact(path: str, content: bytes = b"") -> dict[str, Any]:
    return {"path": path, "sha256": sha256(content), "size": len(content), "from": "https://example/"}


def artifacts(*more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a manifest that meets ``wish()``, by path."""
    names = ("ca-certificates_1_all", "gnupg_1_all", "python3-apt_1_amd64", "libjemalloc2_5_amd64")
    listed = [artifact(f"packages/bookworm/{name}.deb") for name in (*names, "tensorflow-model-server_2.19.1_all")]
    listed += [artifact("packages/bookworm/Packages"), artifact(bundle.key_path(FINGERPRINT))]
    place = bundle.model_path("digits", "https://models.example/digits.tgz").replace("{version}", "1")
    listed += [artifact(place, b"digits"), *more]
    return {entry["path"]: entry for entry in listed}


def fill(directory: Path, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Write files and return their artifacts."""
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return [artifact(path, content) for path, content in files.items()]


def make(directory: Path, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Write a bundle with its manifest."""
    entries = fill(directory, files)
    bundle_manifest.write(str(directory), entries)
    return entries
