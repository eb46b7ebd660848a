# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Collects a bundle on a builder: packages, keys, images and downloads, below one directory. Raises WishError."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..disk import folders
from ..disk.digests import compare, file_digest
from ..errors import RefusalError, WishError
from ..releases.ids import IMAGES, parse_image
from ..web import download
from ..web.address import public
from . import images as bundle_images
from . import manifest as bundle_manifest
from . import packages as bundle_packages

# For the builder alone: apt's index, and images being fetched.
PRIVATE = ".work"


def collect(params: Mapping[str, Any], run: bundle_packages.Run) -> list[dict[str, Any]]:
    """Fetch missing artifacts to ``params["root"]`` and remove unneeded ones; return the artifacts."""
    root = params["root"]
    folders.make(os.path.join(root, PRIVATE))
    origins = {repository["key"]: public(repository["key_url"]) for repository in params["repositories"]}
    if params["packages"]:
        origins.update(_packages(root, params, run))
    for image in params["images"]:
        origins.update(_image(root, image, params, run))
    for each in params["downloads"]:
        origins.update(_download(root, each, params))
    bundle_manifest.prune(root, origins)
    return [_artifact(root, path, origin) for path, origin in sorted(origins.items())]


def _packages(root: str, params: Mapping[str, Any], run: bundle_packages.Run) -> dict[str, str]:
    resolver = bundle_packages.Resolver(os.path.join(root, PRIVATE, "apt"), run)
    resolver.prepare(params["repositories"], os.path.join(root, "keys"))
    resolver.refresh()
    folder = f"packages/{bundle_packages.codename()}"
    fetched = bundle_packages.collect(resolver, params["packages"], os.path.join(root, folder))
    index = f"{folder}/{bundle_packages.INDEX}"
    return {**{f"{folder}/{name}": public(uri) for name, uri in fetched.items()}, index: "the packages beside it"}


def _image(root: str, wish: Mapping[str, Any], params: Mapping[str, Any], run: bundle_packages.Run) -> dict[str, str]:
    image = parse_image(wish["reference"], IMAGES)
    target = os.path.join(root, wish["path"])
    work = os.path.join(root, PRIVATE, "image")
    bundle_images.collect(run, image, target, work, IMAGES, params)
    paths = [os.path.join(place, name) for place, _folders, names in os.walk(target) for name in names]
    return {os.path.relpath(path, root): image.source for path in paths}


def _download(root: str, wish: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, str]:
    target = os.path.join(root, wish["path"])
    if not os.path.exists(target) or file_digest(target) != wish["sha256"]:
        staged = os.path.join(root, PRIVATE, "download")
        if os.path.exists(staged):
            os.unlink(staged)
        try:
            headers = params["headers"].get(wish["path"]) or {}
            found = download.download(wish["url"], staged, headers=headers, timeout=params["timeout"])
            compare(wish["sha256"], found)
        except RefusalError as refusal:
            raise WishError(wish["where"], refusal.problem, refusal.remedy) from refusal
        folders.make(os.path.dirname(target))
        os.replace(staged, target)
    return {wish["path"]: public(wish["url"])}


def _artifact(root: str, path: str, origin: str) -> dict[str, Any]:
    place = os.path.join(root, path)
    return {"path": path, "sha256": file_digest(place), "size": os.path.getsize(place), "from": origin}
