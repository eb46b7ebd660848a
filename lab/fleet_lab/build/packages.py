# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Debian packages of the reference server, in a signed repository that looks like upstream's.

Made with apt-ftparchive: the reprepro of Debian 12 (5.3) keeps one version of a package in a suite, and the lab needs
two side by side for upgrades and rollbacks, which is also what upstream's repository offers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from fleet_lab.build import debian, hashing
from fleet_lab.config import SERVER_VERSIONS, Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly

TOOLS = {"apt-ftparchive": "apt-utils", "gpg": "gpg", "gpg-agent": "gpg-agent", "gpgconf": "gpgconf"}
PACKAGE = "tensorflow-model-server"
SUITE = "stable"
SIGNER = "tfserving.fleet lab <lab@packages.lab>"
STAMP = ".stamp"
SOURCE_DATE_EPOCH = "1767225600"  # 2026-01-01: a fixed date makes equal sources equal packages, byte for byte


def packages(lab: Lab) -> str:
    """Build and publish the packages unless the same sources are published already."""
    server = lab.root / "lab" / "reference_server"
    if not (server / "bin" / "tensorflow_model_server").is_file():
        raise Stop(f"{server}/bin/tensorflow_model_server is missing; restore it from the repository")
    if hashing.stamped(lab.repository / STAMP, packages_key(lab)):
        return "reused"
    log = lab.logs / "packages.log"
    debian.need_commands(TOOLS, "the lab's package repository", log)
    unfinished = lab.repository.with_name("apt.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for version in SERVER_VERSIONS:
        _build(lab, server, version, unfinished / "pool", log)
    with _keyring(lab, log) as keyring:
        _publish(lab, unfinished, keyring, log)
    (unfinished / STAMP).write_text(f"{packages_key(lab)}\n")
    shutil.rmtree(lab.repository, ignore_errors=True)
    unfinished.rename(lab.repository)
    return f"published {', '.join(SERVER_VERSIONS)}"


def packages_key(lab: Lab) -> str:
    """Return a key that changes with anything that goes into the packages or the repository."""
    here = lab.root / "lab"
    server = here / "reference_server"
    sources = [server / "bin", server / "tfs_reference", here / "apt", Path(__file__)]
    return hashing.key_of_files(sources, *SERVER_VERSIONS)


def _build(lab: Lab, server: Path, version: str, pool: Path, log: Path) -> None:
    """Make one .deb; both versions have the same code, and VERSION tells the server which one to report."""
    with tempfile.TemporaryDirectory(prefix="fleet-deb-") as folder:
        tree = Path(folder)
        home = tree / "usr/lib/tfs-reference"
        home.mkdir(parents=True)
        shutil.copytree(
            server / "tfs_reference", home / "tfs_reference", ignore=shutil.ignore_patterns(*hashing.IGNORED)
        )
        (home / "VERSION").write_text(f"{version}\n")
        (tree / "usr/bin").mkdir()
        shutil.copy(server / "bin" / "tensorflow_model_server", tree / "usr/bin/tensorflow_model_server")
        _set_modes(tree)
        control = Template((lab.root / "lab/apt/control.template").read_text())
        (tree / "DEBIAN").mkdir(mode=0o755)
        (tree / "DEBIAN/control").write_text(control.substitute(version=version, installed_size=_kibibytes(tree)))
        pool.mkdir(parents=True, exist_ok=True)
        deb = pool / f"{PACKAGE}_{version}_all.deb"
        quietly(["dpkg-deb", "--root-owner-group", "--build", tree, deb], log, {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH})


def _set_modes(tree: Path) -> None:
    """Set fixed file modes, so that packages do not depend on the checkout's umask."""
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        executable = path.is_dir() or path.parent.name == "bin"
        path.chmod(0o755 if executable else 0o644)


def _kibibytes(tree: Path) -> int:
    return -(-sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024)


def _publish(lab: Lab, repository: Path, keyring: Path, log: Path) -> None:
    """Write the indexes, sign them and put the public key and its fingerprint beside them."""
    architecture = debian.architecture()
    index = repository / "dists" / SUITE / PACKAGE / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True)
    listing = answer(["sh", "-c", 'cd "$1" && exec apt-ftparchive packages pool', "sh", repository])
    if not listing:
        raise Stop(f"apt-ftparchive lists no packages in {repository}/pool; remove {lab.state} and run this again")
    index.write_text(listing + "\n")
    suite = repository / "dists" / SUITE
    config = lab.root / "lab/apt/release.conf"
    option = f"APT::FTPArchive::Release::Architectures={architecture}"
    release = answer(["apt-ftparchive", "-c", config, "-o", option, "release", suite])
    if not release:
        raise Stop(f"apt-ftparchive makes no Release file for {suite}; try by hand: apt-ftparchive release {suite}")
    (suite / "Release").write_text(release + "\n")
    gpg: list[str | Path] = ["gpg", "--homedir", keyring, "--batch", "--yes", "--armor"]
    quietly([*gpg, "--clearsign", "--output", suite / "InRelease", suite / "Release"], log)
    quietly([*gpg, "--detach-sign", "--output", suite / "Release.gpg", suite / "Release"], log)
    quietly([*gpg, "--export", "--output", repository / "key.asc"], log)
    (repository / "fingerprint").write_text(_fingerprint(keyring) + "\n")


@contextmanager
def _keyring(lab: Lab, log: Path) -> Iterator[Path]:
    """Yield a GnuPG home with the lab's signing key, which is made once and kept in the cache.

    The home is temporary and in /tmp, because the path of the agent's socket may have at most 107 characters, and a
    checkout may be deeper than that.
    """
    with tempfile.TemporaryDirectory(prefix="fleet-gpg-") as folder:
        home = Path(folder)  # mode 0700, as GnuPG asks
        gpg: list[str | Path] = [
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--quiet",
            "--pinentry-mode=loopback",
            "--passphrase=",
        ]
        try:
            if lab.signing_key.is_file():
                quietly([*gpg, "--import", lab.signing_key], log)
            else:
                quietly([*gpg, "--quick-generate-key", SIGNER, "ed25519", "sign", "never"], log)
                _keep_signing_key(lab, [*gpg, "--armor", "--export-secret-keys"])
            yield home
        finally:
            answer(["gpgconf", "--homedir", home, "--kill", "all"])


def _keep_signing_key(lab: Lab, export: list[str | Path]) -> None:
    key = answer(export)
    if not key:
        raise Stop("gpg does not hand out the signing key that it has just made; see gpg --version for its state")
    descriptor = os.open(lab.signing_key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")


def _fingerprint(keyring: Path) -> str:
    listing = answer(["gpg", "--homedir", keyring, "--batch", "--with-colons", "--list-keys"]) or ""
    for line in listing.splitlines():
        if line.startswith("fpr:"):
            return line.split(":")[9]
    raise Stop("gpg does not list the lab's signing key; remove the cache's folder lab and run this again")
