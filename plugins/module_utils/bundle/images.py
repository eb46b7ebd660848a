# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Images from registries as OCI layouts.

An OCI image is kept byte for byte, under the digest that pins it. Docker's own kind of manifest cannot be in a layout,
so such an image gets an OCI manifest, which has another digest; the layers are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from ..disk import folders
from ..disk.digests import SHA256
from ..errors import WishError
from ..releases.ids import OCI, REGISTRY, Image
from ..releases.job import last_words
from ..releases.registry import INDEX_TYPE, MANIFEST_TYPE, RETRIES

# (arguments) -> (exit status, standard output, standard error).
Run = Callable[[list[str]], tuple[int, str, str]]

# The architecture of TensorFlow Serving's published builds.
ARCHITECTURE = "amd64"


def collect(run: Run, image: Image, folder: str, place: str, where: str, options: Mapping[str, Any]) -> None:
    """Make ``folder/DIGITS/NAME`` a layout of the image with the manifest ``sha256:DIGITS``. Raises WishError.

    :param place: a directory for fetched files, removed afterwards.
    :param options: ``mirrors`` (as the role tfserving takes them) and ``auth_file``.
    """
    if os.path.isdir(folder):
        return
    problems = []
    for source, extra in sources(image, options):
        shutil.rmtree(place, ignore_errors=True)
        folders.make(place, 0o700)
        problem = _fetch(run, source, extra, place)
        if not problem:
            layout = os.path.join(place, "layout")
            digits = _lay_out(run, place, image.digest, layout, where)
            folders.make(os.path.join(place, "done", digits))
            os.rename(layout, os.path.join(place, "done", digits, image.name))
            folders.make(os.path.dirname(folder))
            os.rename(os.path.join(place, "done"), folder)
            shutil.rmtree(place)
            return
        problems.append(f"{source.removeprefix(REGISTRY).partition('/')[0]} ({problem})")
    raise WishError(where, f"the image cannot be fetched from {', '.join(problems)}", "check it with `skopeo inspect`")


def sources(image: Image, options: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the places to fetch the image from, in order, with skopeo's options for each."""
    authorised = ["--authfile", options["auth_file"]] if options.get("auth_file") else []
    found = []
    for mirror in options.get("mirrors") or ():
        place = re.sub(r"^https?://", "", mirror).rstrip("/")
        # The digest decides what is accepted; credentials are never sent unencrypted.
        extra = ["--tls-verify=false", "--no-creds"] if mirror.startswith("http://") else authorised
        found.append((f"{REGISTRY}{place}/{image.repository}@{image.digest}", extra))
    return [*found, (f"{REGISTRY}{image.place}@{image.digest}", authorised)]


def _fetch(run: Run, source: str, extra: list[str], place: str) -> str:
    """Fetch the pinned manifest and the image for one architecture; return what went wrong."""
    status, out, err = run(["skopeo", "inspect", "--raw", *extra, source])
    if status != 0:
        return last_words(err, out)
    with open(os.path.join(place, "pinned"), "w", encoding="utf-8", newline="") as file:
        file.write(out)
    platform = ["--override-os", "linux", "--override-arch", ARCHITECTURE, "--tmpdir", place]
    retry = ["--retry-times", str(RETRIES)]
    options = [option.replace("--tls", "--src-tls").replace("--no-creds", "--src-no-creds") for option in extra]
    # dir: keeps manifests, and so their digests, as they are.
    copy = ["copy", "--quiet", "--preserve-digests", *retry, *options, source, f"dir:{place}/fetched"]
    status, out, err = run(["skopeo", *platform, *copy])
    return "" if status == 0 else last_words(err, out)


def _lay_out(run: Run, place: str, digest: str, target: str, where: str) -> str:
    """Convert the fetched image to a layout; return the digits of its manifest's digest."""
    fetched = os.path.join(place, "fetched")
    with open(os.path.join(place, "pinned"), "rb") as file:
        pinned = file.read()
    found = f"sha256:{hashlib.sha256(pinned).hexdigest()}"
    if found != digest:
        raise WishError(where, f"the registry's manifest is {found}, not {digest}", "check what changed there")
    with open(os.path.join(fetched, "manifest.json"), encoding="utf-8") as file:
        docker = "vnd.docker." in json.load(file).get("mediaType", "")
    if docker:
        return _converted(run, fetched, target, where)
    blobs = os.path.join(target, "blobs", "sha256")
    folders.make(blobs)
    for name in os.listdir(fetched):
        if SHA256.fullmatch(name):
            os.rename(os.path.join(fetched, name), os.path.join(blobs, name))
    for path in (os.path.join(fetched, "manifest.json"), os.path.join(place, "pinned")):
        _keep(path, blobs)
    kind = INDEX_TYPE if "manifests" in json.loads(pinned) else MANIFEST_TYPE
    _write(os.path.join(target, "oci-layout"), {"imageLayoutVersion": "1.0.0"})
    entry = {"mediaType": kind, "digest": digest, "size": len(pinned)}
    _write(os.path.join(target, "index.json"), {"schemaVersion": 2, "manifests": [entry]})
    return digest.partition(":")[2]


def _converted(run: Run, fetched: str, target: str, where: str) -> str:
    status, out, err = run(["skopeo", "copy", "--quiet", "--format", "oci", f"dir:{fetched}", f"{OCI}{target}:release"])
    if status != 0:
        raise WishError(
            where, f"the image cannot be written as an OCI layout ({last_words(err, out)})", "push it again"
        )
    with open(os.path.join(target, "index.json"), encoding="utf-8") as file:
        (entry,) = json.load(file)["manifests"]
    return str(entry["digest"]).partition(":")[2]


def _keep(path: str, blobs: str) -> None:
    with open(path, "rb") as file:
        content = file.read()
    with open(os.path.join(blobs, hashlib.sha256(content).hexdigest()), "wb") as file:
        file.write(content)


def _write(path: str, content: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
