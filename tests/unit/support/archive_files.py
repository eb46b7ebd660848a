# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Archives of every format made from a mapping of paths to contents."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

FORMATS = ["w", "w:gz", "w:bz2", "w:xz", "zip"]


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def archive_of(path: Path, files: dict[str, bytes], form: str) -> Path:
    return zip_of(path, files) if form == "zip" else tar_of(path, files, form)


def write_tree(top: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        place = top / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return top


def read_tree(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
