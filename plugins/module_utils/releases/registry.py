# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fetches a pinned image with skopeo: from a registry, its mirrors, or the host's own files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..disk.digests import file_digest
from ..errors import WishError
from .ids import OCI, REGISTRY, Image
from .job import Job, is_full, last_words

# Path of the fetched image below the staging directory, as an OCI layout, and its tag there.
LAYOUT = "image"
TAG = "release"

# A registry's transient failures are worth two more attempts; skopeo knows which these are, and waits 1 s and 2 s.
RETRIES = 2
# A registry that sends a byte now and then is never silent: an image with CUDA (3.5 GB) at 170 KiB a second.
LONGEST = "6h"

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Manifests have a few KiB; registries allow 4 MiB (distribution, registry/handlers/manifests.go).
MAX_MANIFEST = 4 * 1024 * 1024
# How much of a layout's actual content a message names: enough to find the mistake.
MOST_NAMED = 5

_ARCHITECTURE = re.compile(r"no image found in (?:manifest list|image index) for architecture", re.IGNORECASE)


TAMPERED = "check what changed there, or correct the digest"
UNREACHABLE = "check that this host reaches it, or name a mirror that it reaches"


class Failure(NamedTuple):
    """One kind of failure: a pattern for skopeo's last line, and the remedy."""

    words: re.Pattern[str]
    remedy: str


# The most specific first: if several places fail in several ways, the first matching kind gives the remedy.
FAILURES = (
    Failure(
        re.compile(r"trust policy|policy\.json", re.IGNORECASE),
        "repair /etc/containers/policy.json, which the package golang-github-containers-common brings",
    ),
    Failure(
        re.compile(r"does not match|did not match|mismatch", re.IGNORECASE),
        TAMPERED,
    ),
    Failure(
        re.compile(r"unauthorized|authentication required|denied|forbidden|\b40[13]\b", re.IGNORECASE),
        "name credentials in auth_file, as `skopeo login --authfile FILE` writes them",
    ),
    Failure(
        re.compile(r"manifest unknown|name unknown|not found|\b404\b", re.IGNORECASE),
        "check the repository and the digest with `skopeo inspect`, or push the image there",
    ),
    Failure(
        re.compile(r"x509|certificate|HTTP response to HTTPS", re.IGNORECASE),
        "put its authority's certificate below /etc/containers/certs.d, or write http:// before a mirror without TLS",
    ),
)


class Attempt(NamedTuple):
    """One place to fetch from: its name in messages, skopeo's source and options."""

    name: str
    source: str
    options: tuple[str, ...] = ()


def fetch(job: Job, image: Image) -> None:
    """Copy a pinned image to the layout, which proves its bytes. Raises WishError."""
    os.makedirs(os.path.join(job.place, "tmp"), exist_ok=True)
    failed: list[tuple[str, str]] = []
    for attempt in attempts(job, image):
        status, out, err = job.run(command(job.architecture, attempt), job.place)
        if status == 0:
            return
        words = last_words(err, out)
        if is_full(words):
            raise job.store.too_full(None, job.where)
        if _ARCHITECTURE.search(words):
            raise job.refusal(f"the image has no build for {job.architecture}", "name one that has")
        failed.append((attempt.name, words))
    told = ", ".join(f"{name} ({words})" for name, words in failed)
    raise job.refusal(f"the image cannot be fetched from {told}", _remedy(words for _name, words in failed))


def command(architecture: str, attempt: Attempt) -> list[str]:
    """Return skopeo's command line, to be run in the staging directory."""
    # tmpdir: layers that skopeo sets aside are as large as the image, and /var/tmp may be small.
    platform = ["--override-os", "linux", "--override-arch", architecture]
    bounds = ["--command-timeout", LONGEST, "--tmpdir", "tmp"]
    copy = ["copy", "--quiet", *attempt.options]
    return ["skopeo", *bounds, *platform, *copy, attempt.source, f"{OCI}{LAYOUT}:{TAG}"]


def attempts(job: Job, image: Image) -> Iterator[Attempt]:
    """Yield the places to fetch an image from, in order; files of the host are verified when their turn comes."""
    if image.transport == REGISTRY:
        auth_file = job.params.get("auth_file")
        authorised = ("--authfile", checked_auth_file(auth_file)) if auth_file else ()
        yield from _registries(image, job.params.get("mirrors") or (), authorised)
    elif image.transport == OCI:
        _offer_layout(job, image)
        yield Attempt(image.place, "oci:source")
    else:
        _offer_archive(job, image)
        yield Attempt(image.place, "docker-archive:source.tar")


def _registries(image: Image, mirrors: Any, authorised: tuple[str, ...]) -> Iterator[Attempt]:
    retries = ("--retry-times", str(RETRIES))
    for mirror in mirrors:
        plain = mirror.startswith("http://")
        place = re.sub(r"^https?://", "", mirror).rstrip("/")
        # The digest decides what is accepted, so an unencrypted mirror is no weaker; it never gets credentials.
        options = ("--src-tls-verify=false", "--src-no-creds") if plain else authorised
        name = place.partition("/")[0]
        yield Attempt(name, f"{REGISTRY}{place}/{image.repository}@{image.digest}", (*retries, *options))
    yield Attempt(image.registry, f"{REGISTRY}{image.place}@{image.digest}", (*retries, *authorised))


def checked_auth_file(path: str) -> str:
    """Return the path of a credentials file, which only its owner may read. Raises WishError."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise WishError("auth_file", f"{path} cannot be read ({error.strerror})", "put it on this host") from error
    if mode & 0o077:
        raise WishError("auth_file", f"{path} can be read by others (mode {mode:04o})", "set its mode to 0600")
    return path


def _offer_layout(job: Job, image: Image) -> None:
    """Make ``source``: a layout whose only entry is the pinned manifest, with the blobs of the given layout.

    skopeo can address an image in a layout only by its tag, and a tag may move.
    """
    manifest = pinned_manifest(job, image)
    source = os.path.join(job.place, "source")
    os.mkdir(source)
    os.symlink(os.path.join(image.place, "blobs"), os.path.join(source, "blobs"))
    kind = INDEX_TYPE if "manifests" in json.loads(manifest) else MANIFEST_TYPE
    entry = {"mediaType": kind, "digest": image.digest, "size": len(manifest)}
    _write(os.path.join(source, "oci-layout"), {"imageLayoutVersion": "1.0.0"})
    _write(os.path.join(source, "index.json"), {"schemaVersion": 2, "manifests": [entry]})


def pinned_manifest(job: Job, image: Image) -> bytes:
    """Return the manifest (or index) that a reference to a layout pins. Raises WishError."""
    if not os.path.isfile(os.path.join(image.place, "index.json")):
        raise job.refusal(f"{image.place} is not an OCI layout on this host", "put one there, with its index.json")
    try:
        with open(os.path.join(image.place, "blobs", *image.digest.split(":")), "rb") as file:
            manifest = file.read(MAX_MANIFEST + 1)
    except FileNotFoundError:
        problem = f"{image.place} holds no {image.digest}, its index names {_named_in(image.place)}"
        raise job.refusal(problem, "correct the digest, or copy the image there again") from None
    found = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    if found != image.digest:
        problem = f"the manifest in {image.place} has the digest {found}, not the wished {image.digest}"
        raise job.refusal(problem, TAMPERED)
    return manifest


def _named_in(layout: str) -> str:
    try:
        with open(os.path.join(layout, "index.json"), encoding="utf-8") as file:
            named = json.loads(file.read(MAX_MANIFEST))["manifests"]
        return ", ".join(entry["digest"] for entry in named[:MOST_NAMED]) or "nothing"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "nothing that can be read"


def _offer_archive(job: Job, image: Image) -> None:
    """Make ``source.tar``, a link to the verified file under a name that skopeo cannot take for a tag."""
    if not os.path.isfile(image.place):
        raise job.refusal(f"{image.place} is not a file on this host", "put there what `docker save` wrote")
    found = f"sha256:{file_digest(image.place)}"
    if found != image.digest:
        problem = f"{image.place} has the digest {found}, not the wished {image.digest}"
        raise job.refusal(problem, TAMPERED)
    os.symlink(image.place, os.path.join(job.place, "source.tar"))


def _remedy(told: Any) -> str:
    words = " ".join(told)
    return next((failure.remedy for failure in FAILURES if failure.words.search(words)), UNREACHABLE)


def _write(path: str, content: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
