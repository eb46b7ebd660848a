# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Downloads of an inventory, their places in a bundle, and the variables with which hosts use the bundle instead.

Pure functions for the controller. A host's wishes, gathered by the role offline_bundle, are a mapping::

    {version, method, models, headers, images, archives, release_root, allocator, jemalloc_package, address_rules,
     apt: {package, uri, suite, key_url, fingerprint}}

Everything except packages is found in a bundle by the digest that the wish itself pins, so the inventory remains the
only place that says what is served, and a wish that the bundle does not satisfy is refused by name.
All refusals are WishError.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.names import BUNDLE, ROOT
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import controller
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table as sources
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.ids import (
    ARCHIVES,
    IMAGES,
    MARK,
    OCI,
    REGISTRY,
    VERSION,
    Image,
    of_image,
    parse_image,
    release,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.web.address import public

from . import models as wish_models

AGAIN = "make the bundle again for this inventory"

# For every host: tools to verify keys and certificates, and what Ansible's apt module installs if it is missing.
BASE = ("ca-certificates", "gnupg", "python3-apt")
# The tools that the role tfserving installs to unpack images.
IMAGE_TOOLS = ("skopeo", "umoci", "golang-github-containers-common")


def needs(wishes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the downloads of hosts with these wishes, which are by host, without duplicates and in a stable order.

    ``packages``: lists of package names (optionally ``NAME=VERSION*``) to resolve together, ``repositories``:
    ``{uri, suite, component, key, key_url, fingerprint}``, ``images``: ``{reference, path}``, ``downloads``:
    ``{where, path, url, sha256, headers}``. Raise WishError for all wishes that are wrong.
    """
    found: dict[str, list[Any]] = {"packages": [], "repositories": [], "images": [], "downloads": []}
    for wish in wishes.values():
        for kind, entries in _of_host(wish).items():
            found[kind] += [entry for entry in entries if entry not in found[kind]]
    return found


def _of_host(wish: Mapping[str, Any]) -> dict[str, list[Any]]:
    apt = wish["apt"]
    by_apt = wish["method"] == "apt"
    repository = {
        "uri": apt["uri"],
        "suite": apt["suite"],
        "component": apt["package"],
        "key": key_path(apt["fingerprint"]),
        "key_url": apt["key_url"],
        "fingerprint": apt["fingerprint"],
    }
    # Two versions of one package cannot be resolved together.
    server = [[f"{apt['package']}={wish['version']}*"]] if by_apt else []
    archive = _archive(wish)
    return {
        "packages": [*([name] for name in package_names(wish)), *server],
        "repositories": [repository] if by_apt else [],
        "images": [{"reference": image.source, "path": image_path(image)} for image in _images(wish)],
        "downloads": [*_models(wish), *([archive] if archive else [])],
    }


def package_names(wish: Mapping[str, Any]) -> list[str]:
    """Return the distribution's packages that the roles install for these wishes."""
    jemalloc = [wish["jemalloc_package"]] if wish["allocator"] == "jemalloc" else []
    filters = ["nftables"] if wish["packet_filter"] else []
    watched = ["prometheus-node-exporter", "dbus"] if wish.get("watched") else []
    images = IMAGE_TOOLS if wish["method"] == "image" else ()
    return list(dict.fromkeys([*BASE, *jemalloc, *filters, *watched, *images, *wish["more_packages"]]))


def key_path(fingerprint: str) -> str:
    return f"keys/{re.sub(r'[^0-9A-F]', '', fingerprint.upper())}.gpg"


def image_path(image: Image) -> str:
    """Return the folder of an image; the layout is in a folder below it that is named after its manifest."""
    return f"images/{image.digest.partition(':')[2][:MARK]}"


def _bundled(wish: Mapping[str, Any], artifacts: Iterable[str]) -> list[tuple[str, str]]:
    """Return the path in the bundle and the reference on the host, for each image from a registry."""
    found = []
    for image in _images(wish):
        folder = f"{image_path(image)}/"
        digests = {path.removeprefix(folder).partition("/")[0] for path in artifacts if path.startswith(folder)}
        if len(digests) != 1:
            raise WishError(f"{IMAGES}.{wish['version']}", "is not in the bundle", AGAIN)
        # The last part names the release, like that of the registry's image.
        place = f"{folder}{min(digests)}/{image.name}"
        found.append((place, f"{OCI}{ROOT}/{place}@sha256:{min(digests)}"))
    return found


def _images(wish: Mapping[str, Any]) -> list[Image]:
    if wish["method"] != "image":
        return []
    _check_release(wish)
    reference = {str(version): value for version, value in wish["images"].items()}[wish["version"]]
    image = parse_image(reference, f"{IMAGES}.{wish['version']}")
    return [image] if image.transport == REGISTRY else []


def _check_release(wish: Mapping[str, Any]) -> None:
    """Raise WishError unless the wished release is named correctly."""
    release(wish["version"], wish["method"], wish["images"], wish["archives"], wish["apt"]["package"])


def _archive(wish: Mapping[str, Any]) -> dict[str, Any] | None:
    if wish["method"] != "archive":
        return None
    _check_release(wish)
    entry = {str(version): value for version, value in wish["archives"].items()}[wish["version"]]
    if "://" not in entry["uri"]:
        return None
    where = f"{ARCHIVES}.{wish['version']}.uri"
    path = f"archives/{entry['sha256'].lower()}"
    return {"where": where, "path": path, "url": entry["uri"], "sha256": entry["sha256"].lower(), "headers": {}}


def _models(wish: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = _read_models(wish)
    refusals = Refusals()
    for model in models:
        refusals.check(_refuse_imported, model)
    refusals.stop()
    return [
        {
            "where": f"{model.path}.source.uri",
            "path": model_path(model.name, model.source["uri"]).replace("{version}", str(version)),
            "url": model.source["uri"].replace("{version}", str(version)),
            "sha256": _digest_of(model, version),
            "headers": {**wish.get("headers", {}), **(model.source.get("headers") or {})},
        }
        for model in models
        if sources.of(model.source).bundled
        for version in model.provided
    ]


def _refuse_imported(model: wish_models.ModelWish) -> None:
    """Refuse a source that the bundle could only hold if its content had a digest in the wish."""
    row = sources.of(model.source)
    if row.imported:
        raise WishError(
            f"{model.path}.source.type",
            f"is {row.type}, and a bundle holds no models of that type",
            "fetch them where there is a network, and give their directory or archive with type path",
        )


def _read_models(wish: Mapping[str, Any]) -> list[wish_models.ModelWish]:
    refusals = Refusals()
    models = wish_models.read(wish["models"], refusals)
    refusals.stop()
    return models


def _digest_of(model: wish_models.ModelWish, version: int) -> str:
    wished = model.source["sha256"]
    return wished if isinstance(wished, str) else wished[str(version)]


def model_path(name: str, uri: str) -> str:
    """Return the path of a model's archives, with ``{version}``; a digest sets apart hosts' models of the same name."""
    mark = hashlib.sha256(public(uri).encode()).hexdigest()[:MARK]
    return f"models/{name}-{mark}/{{version}}"


def overrides(
    wish: Mapping[str, Any], artifacts: Mapping[str, Mapping[str, Any]], directory: str, release_name: str
) -> dict[str, Any]:
    """Return a host's variables in place of the inventory's; raise WishError for what is not in the bundle.

    ``artifacts`` are the manifest's, by path, ``directory`` is the bundle's on the controller, and ``release_name`` is
    the codename of the host's distribution, such as ``bookworm``.
    """
    _insist_on_packages(wish, artifacts, release_name)
    for download in _of_host(wish)["downloads"]:
        if artifacts.get(download["path"], {}).get("sha256") != download["sha256"]:
            raise WishError(download["where"], f"{public(download['url'])} is not in the bundle as it is wished", AGAIN)
    found: dict[str, Any] = {
        "tfserving_models": [_moved(*each, directory) for each in zip(wish["models"], _read_models(wish))],
        "tfserving_images": {str(version): value for version, value in wish["images"].items()},
        "tfserving_archives": {str(version): value for version, value in wish["archives"].items()},
        "tfserving_apt_key_url": f"{ROOT}/{key_path(wish['apt']['fingerprint'])}",
    }
    for _place, reference in _bundled(wish, artifacts):
        found["tfserving_images"][wish["version"]] = reference
    archive = _archive(wish)
    if archive:
        found["tfserving_archives"][wish["version"]] = {
            **found["tfserving_archives"][wish["version"]],
            "uri": f"{directory}/{archive['path']}",
        }
    return found


def _moved(wish: Mapping[str, Any], model: wish_models.ModelWish, directory: str) -> dict[str, Any]:
    """Return the wish with the bundle in place of the model's source, unless the bundle does not have such sources."""
    if not sources.of(model.source).bundled:
        return dict(wish)
    # By version: the path in a bundle has {version}, which the address need not have.
    digests = {str(version): _digest_of(model, version) for version in model.provided}
    path = f"{directory}/{model_path(model.name, model.source['uri'])}"
    return {**wish, "source": controller.wish(path, digests)}


def _insist_on_packages(wish: Mapping[str, Any], artifacts: Iterable[str], release_name: str) -> None:
    folder = f"packages/{release_name}/"
    here = [path.removeprefix(folder) for path in artifacts if path.startswith(folder)]
    if not here:
        raise WishError(
            BUNDLE, f"it holds no packages for {release_name}", "make it again with a builder of that release"
        )
    for name in package_names(wish):
        if not any(path.startswith(f"{name}_") for path in here):
            raise WishError(BUNDLE, f"it holds no package {name} for {release_name}", AGAIN)
    if wish["method"] == "apt":
        package, version = wish["apt"]["package"], wish["version"]
        # The role asks apt for PACKAGE=VERSION*.
        if not any(path.startswith(f"{package}_{version}") for path in here):
            raise WishError(VERSION, f"{package} {version} is not in the bundle for {release_name}", AGAIN)
        if key_path(wish["apt"]["fingerprint"]) not in artifacts:
            raise WishError("tfserving_apt_key_fingerprint", "its key is not in the bundle", AGAIN)


def files(
    wish: Mapping[str, Any], artifacts: Mapping[str, Mapping[str, Any]], release_name: str
) -> list[dict[str, Any]]:
    """Return the files to copy to the host, as ``{path, sha256, size, unless}``.

    Models and archives are left out: the roles send those from the controller to hosts that lack them. A file is not
    needed if its ``unless``, a path on the host, exists.
    """
    places = {f"packages/{release_name}/": "", key_path(wish["apt"]["fingerprint"]): ""}
    for place, reference in _bundled(wish, artifacts):
        unpacked = of_image(wish["version"], reference, wish["release_root"])
        places[f"{place}/"] = f"{unpacked['path']}/release.json"
    return [
        {"path": path, "sha256": entry["sha256"], "size": entry["size"], "unless": unless}
        for path, entry in sorted(artifacts.items())
        for place, unless in places.items()
        if path.startswith(place)
    ]
