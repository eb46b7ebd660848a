# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Container images in an OCI layout, written without a container tool and byte for byte the same each time.

After the OCI image format specification 1.0: https://github.com/opencontainers/image-spec (image-layout.md, layer.md).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MEDIA = "application/vnd.oci.image"
INDEX = f"{MEDIA}.index.v1+json"
MANIFEST = f"{MEDIA}.manifest.v1+json"
CONFIG = f"{MEDIA}.config.v1+json"
LAYER = f"{MEDIA}.layer.v1.tar+gzip"
TAG = "org.opencontainers.image.ref.name"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Entry:
    """A file of a tree when it has content, a symbolic link when it has a target, a folder otherwise."""

    mode: int = 0o755
    content: bytes | None = None
    target: str = ""


Tree = Mapping[str, Entry]  # by path from the root: "usr/bin/env"


@dataclass(frozen=True)
class Layer:
    """A layer as stored, and the digest of its bytes before compression, which the image's config names."""

    stored: bytes
    content_digest: str


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive(tree: Tree) -> bytes:
    """Return a tar file of the tree and the folders above its entries: sorted, dated 1970, owned by root."""
    folders = {str(parent): Entry() for path in tree for parent in PurePosixPath(path).parents if parent.name}
    entries = {**folders, **tree}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(entries):
            tar.addfile(_header(path, entries[path]), io.BytesIO(entries[path].content or b""))
    return out.getvalue()


def _header(path: str, entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)  # its defaults: mtime 0, uid 0, gid 0
    header.mode = entry.mode
    if entry.content is not None:
        header.size = len(entry.content)
    elif entry.target:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.target, 0o777
    else:
        header.type = tarfile.DIRTYPE
    return header


def layer(tree: Tree) -> Layer:
    plain = archive(tree)
    return Layer(gzip.compress(plain, mtime=0), digest(plain))


def write_layout(place: Path, images: Mapping[str, tuple[Mapping[str, object], Sequence[Layer]]]) -> dict[str, str]:
    """Write images, given by tag as (config, layers), into a new layout; return the digests of their manifests.

    A config has "architecture", "os" and the container's defaults as "config"; the rest is filled in. Layers that
    images share are stored once.
    """
    (place / "blobs" / "sha256").mkdir(parents=True)
    manifests = {tag: _manifest(place, config, layers) for tag, (config, layers) in images.items()}
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**manifest, "annotations": {TAG: tag}} for tag, manifest in manifests.items()],
    }
    (place / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (place / "index.json").write_bytes(_json(index))
    return {tag: str(manifest["digest"]) for tag, manifest in manifests.items()}


def _manifest(place: Path, config: Mapping[str, object], layers: Sequence[Layer]) -> dict[str, object]:
    """Store the parts of an image and return the descriptor of its manifest."""
    whole = {
        **config,
        "created": EPOCH,
        "rootfs": {"type": "layers", "diff_ids": [part.content_digest for part in layers]},
        "history": [{"created": EPOCH, "created_by": "tfserving.fleet lab"} for _part in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _blob(place, CONFIG, _json(whole)),
        "layers": [_blob(place, LAYER, part.stored) for part in layers],
    }
    return _blob(place, MANIFEST, _json(manifest))


def _blob(place: Path, media_type: str, data: bytes) -> dict[str, object]:
    name = digest(data)
    place.joinpath("blobs", *name.split(":")).write_bytes(data)
    return {"mediaType": media_type, "digest": name, "size": len(data)}


def _json(data: object) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
