# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server release that a host's wishes select: its name, path and source, known before it is installed.

Pure functions for the controller and the hosts alike. All refusals are WishError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from .. import errors, scalars
from ..defaults import PACKAGE, RELEASES
from ..disk.digests import is_sha256
from ..errors import WishError, kind, nearest, quoted
from ..web import address as web_address
from ..web.address import public

PROGRAM = "tensorflow_model_server"
BINARY = f"/usr/bin/{PROGRAM}"
METHODS = ("apt", "image", "archive")

# The user's variables, for messages.
METHOD = "tfserving_install_method"
VERSION = "tfserving_version"
IMAGES = "tfserving_images"
ARCHIVES = "tfserving_archives"

# Hexadecimal digits of a digest that a name carries: 64 bits do not collide by chance, and the release's record holds
# the whole digest, which is compared.
MARK = 16

OCI = "oci:"
DOCKER_ARCHIVE = "docker-archive:"
REGISTRY = "docker://"

# From the reference grammar of the distribution project (distribution/reference, regexp.go).
_REPOSITORY = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_TAG = re.compile(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# Becomes part of a unit's ExecStart=.
_INNER = re.compile(r"[A-Za-z0-9._+@=,/-]{1,255}")
_DOCKER_HUB = "docker.io"


class Release(TypedDict):
    """The place of a server release on the host, and its source."""

    id: str
    path: str
    chroot: bool
    binary: str
    source: str
    digest: str


@dataclass(frozen=True)
class Image:
    """A pinned image: its transport (``docker://``, ``oci:``, ``docker-archive:``), place and digest ``sha256:HEX``."""

    transport: str
    place: str
    digest: str

    @property
    def name(self) -> str:
        """Return the last part of its place, fit for a directory's name."""
        last = self.place.rstrip("/").rpartition("/")[2]
        if self.transport == DOCKER_ARCHIVE:
            last = re.sub(r"\.tar(\.[a-z0-9]+)?$", "", last)
        return re.sub(r"[^A-Za-z0-9_.-]", "-", last).lstrip(".-") or "image"

    @property
    def source(self) -> str:
        """Return the reference in common notation."""
        transport = "" if self.transport == REGISTRY else self.transport
        return f"{transport}{self.place}@{self.digest}"

    @property
    def registry(self) -> str:
        """Return the host (and port) of a registry's image."""
        return self.place.partition("/")[0]

    @property
    def repository(self) -> str:
        """Return the path of a registry's image, without the host."""
        return self.place.partition("/")[2]


def release(
    version: str,
    method: str,
    images: Mapping[str, str] | None = None,
    archives: Mapping[str, Mapping[str, str]] | None = None,
    package: str = PACKAGE,
    root: str = RELEASES,
) -> Release:
    """Return the release that a version selects: ``id, path, chroot, binary, source, digest``. Raises WishError.

    :param images: pinned references by version, for the method ``image``.
    :param archives: mappings of ``uri``, ``sha256`` and optionally ``binary`` by version, for the method ``archive``.
    """
    if method == "image":
        entry = _entry(IMAGES, version, images, "REPOSITORY@sha256:DIGEST")
        return of_image(version, entry, root)
    if method == "archive":
        entry = _entry(ARCHIVES, version, archives, "{uri: PATH, sha256: HEX}")
        return of_archive(version, **_archive_fields(f"{ARCHIVES}.{version}", entry), root=root)
    if method == "apt":
        return of_package(version, package, root)
    raise WishError(
        METHOD, f"{quoted(method)} is not a method", nearest(method, METHODS) or "use apt, image or archive"
    )


def of_image(version: str, reference: Any, root: str = RELEASES, binary: str | None = None) -> Release:
    """Return the release made from an image. It runs with the image's tree as its root."""
    where = f"{IMAGES}.{checked_version(version)}"
    image = parse_image(reference, where)
    binary = binary or BINARY
    if not binary.startswith("/") or ".." in binary.split("/"):
        raise WishError(
            where, f"the binary {quoted(binary)} is not a path inside the image", "write it from the image's root"
        )
    return _plan(release_id(image.name, image.digest), root, image.source, image.digest, binary)


def of_archive(
    version: str, uri: str | None, sha256: str | None, binary: str | None = None, root: str = RELEASES
) -> Release:
    """Return the release made from an archive or a bare program. It runs in the host's tree."""
    where = f"{ARCHIVES}.{checked_version(version)}"
    if not uri or not isinstance(uri, str):
        raise WishError(where, "names no uri", "add uri: a path, or an address that begins with https://")
    scalars.one_line(f"{where}.uri", uri)
    parts = web_address.parts(uri)
    if web_address.is_meant(uri) and not (parts and parts.scheme in ("http", "https") and parts.hostname):
        problem = "is no address that can be fetched"
        raise WishError(f"{where}.uri", problem, "begin it with https:// or http://, or give a path")
    if not sha256:
        raise WishError(where, "names no sha256", "add sha256: HEX as sha256sum prints it")
    digest = _digest(f"sha256:{sha256}", f"{where}.sha256", "write the 64 hexadecimal digits that sha256sum prints")
    inner = binary or PROGRAM
    if not isinstance(inner, str) or not _INNER.fullmatch(inner) or {"", ".", ".."} & set(inner.split("/")):
        problem = f"{quoted(inner)} is not a path inside the archive"
        remedy = "write it relative to the archive's top"
        raise WishError(f"{where}.binary", problem, remedy)
    return _plan(release_id(PROGRAM, digest), root, public(uri) if "://" in uri else uri, digest, inner, chroot=False)


def of_package(version: str, package: str = PACKAGE, root: str = RELEASES) -> Release:
    """Return the release copied from an installed package. It runs in the host's tree; no digest is known."""
    if not _PACKAGE.fullmatch(str(package)):
        raise WishError("package", f"{quoted(package)} is not a package name", f"write it as {PACKAGE}")
    named = f"{package}@{checked_version(version)}"
    return _plan(named, root, f"{package}={version}", "", BINARY, chroot=False)


def release_id(name: str, digest: str) -> str:
    """Return the name of a release made from a source with a digest: ``serving@sha256-0123456789abcdef``."""
    algorithm, _colon, digits = digest.partition(":")
    return f"{name}@{algorithm}-{digits[:MARK]}"


def parse_image(reference: Any, where: str) -> Image:
    """Parse an image reference. Raises WishError naming ``where``."""
    if not isinstance(reference, str) or not reference:
        raise WishError(where, f"is {kind(reference) if reference else 'empty'}", "write REPOSITORY@sha256:DIGEST")
    place, at, digest = reference.strip().rpartition("@")
    if not at or ":" not in digest or "/" in digest:
        raise WishError(where, "names no digest", "append @sha256:... as `skopeo inspect` prints it")
    digest = _digest(digest, where, "write sha256: and its 64 hexadecimal digits, as `skopeo inspect` prints them")
    for transport in (OCI, DOCKER_ARCHIVE):
        if place.startswith(transport):
            return _image_on_host(transport, place.removeprefix(transport), digest, where)
    return _image_of_registry(place, digest, where)


def _image_on_host(transport: str, path: str, digest: str, where: str) -> Image:
    if not path.startswith("/"):
        raise WishError(where, "names no absolute path", f"write {transport}/PATH@{digest}")
    scalars.one_line(where, path)
    if ".." in path.split("/"):
        raise WishError(where, "names a path with '..'", "give the path as it is after them")
    return Image(transport, path, digest)


def _image_of_registry(place: str, digest: str, where: str) -> Image:
    place = place.removeprefix(REGISTRY)
    # Next to a digest a tag decides nothing, and skopeo refuses both together.
    place = _TAG.sub("", place)
    if not _REPOSITORY.fullmatch(place):
        remedy = (
            "write registry.example/path/name@sha256:..., oci:/DIRECTORY@sha256:... or docker-archive:/FILE@sha256:..."
        )
        raise WishError(where, "names no repository", remedy)
    host, slash, _rest = place.partition("/")
    if not slash:
        return Image(REGISTRY, f"{_DOCKER_HUB}/library/{place}", digest)
    named = "." in host or ":" in host or host == "localhost"
    return Image(REGISTRY, place if named else f"{_DOCKER_HUB}/{place}", digest)


def checked_version(version: Any) -> str:
    """Return a version that is safe in names. Raises WishError."""
    if not _VERSION.fullmatch(str(version)) or len(str(version)) > 64:
        raise WishError(VERSION, f"{quoted(version)} is not a version", "write it as 2.19.1")
    return str(version)


def _digest(text: str, where: str, remedy: str) -> str:
    algorithm, _colon, digits = text.partition(":")
    if algorithm != "sha256" or not is_sha256(digits):
        raise WishError(where, "holds no SHA-256 digest", remedy)
    return f"sha256:{digits.lower()}"


def _entry(variable: str, version: str, entries: Any, example: str) -> Any:
    if entries is not None and not isinstance(entries, Mapping):
        raise WishError(variable, f"is {kind(entries)}", f'map versions: "{version}": {example}')
    named = {str(key): value for key, value in (entries or {}).items()}
    if named.get(str(version)) is None:
        raise WishError(variable, f"has no entry for {version}", f'add one: "{version}": {example}')
    return named[str(version)]


def _archive_fields(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise WishError(where, f"is {kind(entry)}", "write {uri: PATH, sha256: HEX}")
    known = ("uri", "sha256", "binary")
    for key in entry:
        if key not in known:
            raise errors.unknown_key(where, key, "an archive", known)
    return {key: entry.get(key) for key in known}


def _plan(name: str, root: str, source: str, digest: str, binary: str, chroot: bool = True) -> Release:
    path = f"{root.rstrip('/')}/{name}"
    started = binary if chroot else f"{path}/rootfs/{binary.lstrip('/')}"
    return {"id": name, "path": path, "chroot": chroot, "binary": started, "source": source, "digest": digest}
