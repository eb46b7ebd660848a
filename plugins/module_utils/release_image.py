# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A release made from a container image: fetched with skopeo, unpacked with umoci, run without a container engine."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import release_tree
from ansible_collections.tfserving.fleet.plugins.module_utils.release_ids import parse_image
from ansible_collections.tfserving.fleet.plugins.module_utils.release_job import Job, is_full, last_words
from ansible_collections.tfserving.fleet.plugins.module_utils.release_registry import LAYOUT, TAG, fetch
from ansible_collections.tfserving.fleet.plugins.module_utils.release_store import TREE

# What a compressed layer unpacks to. CUDA's libraries shrink to a half or less; three leaves room for the metadata.
UNPACKED = 3


def build(job: Job) -> dict[str, Any]:
    """Make ``rootfs`` in the job's place; return what is recorded of it. Raises WishError."""
    job.insist_on("skopeo", "umoci")
    fetch(job, parse_image(job.params["image"], job.where))
    manifest, config = read_layout(os.path.join(job.place, LAYOUT))
    job.check_built_for(config.get("architecture", ""), "the image")
    job.store.require(needed(manifest), job.where)
    _unpack(job)
    root = os.path.join(job.place, TREE)
    _check_binary(job, root)
    release_tree.harden(root)
    environment = _environment(config)
    return {
        "architecture": job.architecture,
        "library_path": environment.get("LD_LIBRARY_PATH", ""),
        "glibc": release_tree.glibc(root, job.architecture),
    }


def read_layout(layout: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the config of the only image of a layout that skopeo wrote."""
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as file:
        (entry,) = json.load(file)["manifests"]
    manifest = _blob(layout, entry)
    return manifest, _blob(layout, manifest["config"])


def _blob(layout: str, entry: dict[str, Any]) -> dict[str, Any]:
    with open(os.path.join(layout, "blobs", *entry["digest"].split(":")), encoding="utf-8") as file:
        return json.load(file)


def needed(manifest: dict[str, Any]) -> int:
    """Return the bytes that unpacking an image may take, by its manifest."""
    return UNPACKED * sum(layer["size"] for layer in manifest["layers"])


def _unpack(job: Job) -> None:
    status, out, err = job.run(["umoci", "unpack", "--image", f"{LAYOUT}:{TAG}", "bundle"], job.place)
    if status != 0:
        # All that umoci says: its last line need not be the one that tells of a full disk.
        if is_full(err + out):
            raise job.store.too_full(None, job.where)
        problem = f"the image cannot be unpacked ({last_words(err, out)})"
        raise job.refusal(problem, "check it with `umoci unpack`, or push it anew")
    os.rename(os.path.join(job.place, "bundle", "rootfs"), os.path.join(job.place, TREE))
    for name in ("bundle", LAYOUT, "source", "tmp"):
        shutil.rmtree(os.path.join(job.place, name), ignore_errors=True)
    if os.path.lexists(os.path.join(job.place, "source.tar")):
        os.unlink(os.path.join(job.place, "source.tar"))


def _check_binary(job: Job, root: str) -> None:
    binary = job.plan["binary"]
    place = release_tree.inside(root, binary)
    if not release_tree.runnable(place):
        raise job.refusal(
            f"the image holds no executable {binary}", "name an image of the server, or its path as binary"
        )
    job.check_built_for(release_tree.elf_architecture(place), f"{binary} in the image")


def _environment(config: dict[str, Any]) -> dict[str, str]:
    pairs = (text.partition("=") for text in (config.get("config") or {}).get("Env") or ())
    return {name: value for name, _equals, value in pairs}
