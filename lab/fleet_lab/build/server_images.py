# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Container images of the reference server in an OCI layout: the package's files on top of some of the host image's.

They are as small as the server allows, since every scenario pushes and unpacks them. TensorFlow is left out too: a
drop-in of the lab bind-mounts the host's copy on an empty folder.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from fleet_lab.build import debian, hashing, oci
from fleet_lab.build.image import current_tag
from fleet_lab.build.packages import PACKAGE, packages_key
from fleet_lab.config import LABEL, RUNTIME_ON_HOST, SERVER_VERSIONS, Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly

STAMP = ".stamp"
REPOSITORY = "tensorflow-serving"
ENTRYPOINT = "usr/bin/tf_serving_entrypoint.sh"

PROGRAMS = ("usr/bin/sh", "usr/bin/env", "usr/bin/readlink", "usr/bin/dirname")
# What the shared objects of TensorFlow's wheel ask of a system (objdump -p), as far as Python does not; and what glibc
# opens by itself to look up a name.
RUNTIME_LIBRARIES = (
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libm.so.6",
    "librt.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "libresolv.so.2",
)

# Parts of Python's standard library that no server imports, by the name of a folder or file; those with a library of
# their own would bring it along. Without compiled files: theirs would not fit the files' time, which is always 1970.
LEFT_OUT = (
    *("__pycache__", "config-*", "ensurepip", "idlelib", "lib2to3", "test", "tests", "tkinter", "_tkinter.*"),
    *("turtle.py", "turtledemo", "pydoc_data", "venv", "_test*", "_ctypes_test.*", "_xx*", "xxlimited*", "_codecs_*"),
    *("curses", "_curses*", "readline.*", "sqlite3", "_sqlite3.*", "dbm", "_dbm.*", "_gdbm.*", "nis.*"),
)

FOLDERS = (
    *("dev", "proc", "run", "sys", "etc/tfserving", "usr/sbin", "var/cache", "var/lib"),
    RUNTIME_ON_HOST.lstrip("/"),
)
LINKS = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

# "name => /path (0x...)" or, for the loader, "/path (0x...)" below the name of the file that asks for it.
LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x")


def server_images(lab: Lab) -> str:
    """Write images/tensorflow-serving and images/digests.json, unless they exist for the same sources."""
    tag = current_tag(lab)
    key = images_key(lab, tag)
    home = lab.state / "images"
    if hashing.stamped(home / STAMP, key):
        return "reused"
    unfinished = lab.state / "images.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    python = "python{}.{}".format(*lab.host_python)
    base = oci.layer(base_tree(_host_files(lab, tag, python, unfinished), python))
    config = image_config(debian.architecture())
    images = {
        version: (config, [base, oci.layer(_server_tree(lab, version, unfinished))]) for version in SERVER_VERSIONS
    }
    digests = oci.write_layout(unfinished / REPOSITORY, images)
    (unfinished / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")
    (unfinished / STAMP).write_text(f"{key}\n")
    shutil.rmtree(home, ignore_errors=True)
    unfinished.rename(home)
    return f"built {', '.join(SERVER_VERSIONS)}"


def images_key(lab: Lab, tag: str) -> str:
    """Return a key that changes with anything that goes into the images; `tag` is the host image's."""
    sources = [Path(__file__), Path(oci.__file__), lab.root / "lab" / "images"]
    return hashing.key_of_files(sources, packages_key(lab), tag)


def image_config(architecture: str) -> dict[str, object]:
    """Return the container's defaults: upstream's script and, as in CUDA's images, NVIDIA's folders."""
    environment = (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
    )
    # Debian and OCI name amd64 and arm64 alike.
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [f"/{ENTRYPOINT}"], "Env": list(environment)},
    }


def wanted(path: str) -> bool:
    """Return whether a file of the host image, by its path from the root, goes into the images."""
    return not any(fnmatchcase(part, pattern) for part in PurePosixPath(path).parts for pattern in LEFT_OUT)


def libraries(listing: str) -> list[str]:
    """Return the libraries that ldd lists for the wanted files, and these files, as paths below /usr.

    Raise Stop for a library that the host image lacks.
    """
    found: set[str] = set()
    asking = ""
    for line in listing.splitlines():
        if not line[:1].isspace():
            asking = line.rstrip(":").lstrip("/")
        if not wanted(asking):
            continue
        if line.endswith("=> not found"):
            raise Stop(f"{asking} needs {line.split()[0]}; add its package to lab/host/packages.txt")
        library = LIBRARY.match(line)
        found.add(_below_usr(library[1]) if library else asking)
    return sorted(found)


def _below_usr(path: str) -> str:
    """Return /lib/x as usr/lib/x: the images have Debian's links from / to /usr, and files only below /usr."""
    path = path.lstrip("/")
    return path if path.startswith("usr/") else f"usr/{path}"


def base_tree(files: dict[str, oci.Entry], python: str) -> dict[str, oci.Entry]:
    """Return the tree that all versions share: these files of the host image, and the basics of a root folder."""
    links = {**LINKS, "usr/bin/python3": python}
    return {
        **{path: entry for path, entry in files.items() if wanted(path)},
        **{path: oci.Entry() for path in FOLDERS},
        **{path: oci.Entry(0o1777) for path in ("tmp", "var/tmp")},
        **{path: oci.Entry(target=target) for path, target in links.items()},
        **{path: oci.Entry(0o644, text.encode()) for path, text in ACCOUNTS.items()},
    }


def files_of(archive: Path) -> dict[str, oci.Entry]:
    """Return the files in a tar file, with modes reduced to whether they are executable."""
    with tarfile.open(archive) as tar:
        return {
            str(PurePosixPath(member.name)): oci.Entry(0o755 if member.mode & 0o111 else 0o644, content.read())
            for member in tar
            if member.isfile() and (content := tar.extractfile(member))
        }


def _host_files(lab: Lab, tag: str, python: str, scratch: Path) -> dict[str, oci.Entry]:
    """Return programs, libraries and Python's standard library from a container of the host image."""
    programs, standard_library = (f"usr/bin/{python}", *PROGRAMS), f"usr/lib/{python}"
    run = ["docker", "run", "--rm", "--network=none", f"--label={LABEL}=images", tag]
    places = [f"/usr/lib/*-linux-gnu/{name}" for name in RUNTIME_LIBRARIES]
    asking = [*(f"/{path}" for path in programs), f"/{standard_library}/lib-dynload/*.so", *places]
    listing = answer([*run, "sh", "-c", f"exec ldd {' '.join(asking)}"])
    if listing is None:
        raise Stop(f"{tag} cannot list the libraries of {python}; try by hand: docker run --rm {tag} ldd {asking[0]}")
    # Followed, not stored: of library.so.1 -> library.so.1.2 only the first name is ever asked for.
    tar = ["tar", "--create", "--dereference", "--hard-dereference", "--directory=/"]
    command = [*run, *tar, *programs, standard_library, *libraries(listing)]
    return _read(command, scratch / "base.tar", lab.logs / "images.log")


def _server_tree(lab: Lab, version: str, scratch: Path) -> dict[str, oci.Entry]:
    """Return the files that this version's package installs, and the entry point."""
    package = lab.repository / "pool" / f"{PACKAGE}_{version}_all.deb"
    files = _read(["dpkg-deb", "--fsys-tarfile", str(package)], scratch / "package.tar", lab.logs / "images.log")
    script = lab.root / "lab" / "images" / PurePosixPath(ENTRYPOINT).name
    return {**files, ENTRYPOINT: oci.Entry(0o755, script.read_bytes())}


def _read(command: Sequence[str], archive: Path, log: Path) -> dict[str, oci.Entry]:
    """Return the files in the archive that a command writes, through a file, so that a truncated one is never used."""
    try:
        quietly(["sh", "-c", 'exec "$@" > "$0"', archive, *command], log)
        return files_of(archive)
    finally:
        archive.unlink(missing_ok=True)
