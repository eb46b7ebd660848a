# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A release made from a container image: fetched with skopeo, unpacked with umoci, run without a container engine."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ..disk import plain_files
from . import tree as release_tree
from .ids import parse_image
from .job import Job, is_full, last_words
from .registry import LAYOUT, MAX_MANIFEST, TAG, fetch
from .store import TREE

# The growth of a compressed layer when unpacked. CUDA's libraries compress to half or less; three leaves room for the
# metadata.
UNPACKED = 3

# The parts read of an image's own metadata (image-spec, manifest.md and config.md).
_MANIFEST = {"config": {"digest": str}, "layers": [{"size": int}]}
_CONFIG = {
    "architecture?": str,
    "config?": lambda value: value is None or plain_files.fits(value, {"Env?": _is_environment}),
}


def _is_environment(value: Any) -> bool:
    return value is None or plain_files.fits(value, [str])


def build(job: Job) -> dict[str, Any]:
    """Make ``rootfs`` in the job's place; return the facts to record. Raises WishError."""
    job.insist_on("skopeo", "umoci")
    fetch(job, parse_image(job.params["image"], job.where))
    try:
        manifest, config = read_layout(os.path.join(job.place, LAYOUT))
    except ValueError as error:
        raise job.refusal(f"the image cannot be run ({error})", "build it again and push it") from error
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
    """Return the manifest and the config of the only image of a layout that skopeo wrote.

    Raises ValueError if they do not follow the specification: both are by the image's maker.
    """
    (entry,) = plain_files.json_of(os.path.join(layout, "index.json"), MAX_MANIFEST)["manifests"]
    manifest = _blob(layout, entry["digest"], _MANIFEST, "its manifest")
    return manifest, _blob(layout, manifest["config"]["digest"], _CONFIG, "its config")


def _blob(layout: str, digest: str, shape: Any, what: str) -> dict[str, Any]:
    content: dict[str, Any] = plain_files.json_of(os.path.join(layout, "blobs", *digest.split(":")), MAX_MANIFEST)
    if not plain_files.fits(content, shape):
        raise ValueError(f"{what} has other parts than OCI's")
    return content


def needed(manifest: dict[str, Any]) -> int:
    """Return the bytes that unpacking an image may take, judged by its manifest."""
    return UNPACKED * sum(int(layer["size"]) for layer in manifest["layers"])


def _unpack(job: Job) -> None:
    status, out, err = job.run(["umoci", "unpack", "--image", f"{LAYOUT}:{TAG}", "bundle"], job.place)
    if status != 0:
        # umoci's whole output: its last line need not be the one about a full disk.
        if is_full(err + out):
            raise job.store.too_full(None, job.where)
        problem = f"the image cannot be unpacked ({last_words(err, out)})"
        raise job.refusal(problem, "check it with `umoci unpack`, or push it again")
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
