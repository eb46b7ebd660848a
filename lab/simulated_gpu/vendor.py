#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Build a signed repository with the names, dependencies and versions of NVIDIA's: vendor.py FOLDER.

For Debian, branches 590 and 595. The packages hold no driver: sources for the simulated dkms, a library by its
name alone, units that sleep. Prints the fingerprint of the key, which lies beside the index.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from packages import Package, repository

VERSIONS = ("590.44.01", "590.48.01", "595.71.05")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def unit(name: str) -> dict[str, str]:
    """Return a unit that does nothing, as a package's file."""
    text = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    return {f"lib/systemd/system/{name}.service": text}


def driver(version: str) -> list[Package]:
    """Return the packages of one version."""
    full = f"{version}-1"
    source = f"usr/src/nvidia-{version}"
    conf = {f"{source}/dkms.conf": f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{version}"\n'}
    # As dh_dkms writes them.
    named = f"-m nvidia -v {version}"
    scripts = {"postinst": f"dkms add {named}\ndkms install {named} || true", "prerm": f"dkms remove {named} --all"}
    modules = f"nvidia-kernel-open-dkms (= {full}) | nvidia-kernel-dkms (= {full})"
    library = {f"{LIBRARIES}/libnvidia-ml.so.{version}": "simulated\n"}
    link = {f"{LIBRARIES}/libnvidia-ml.so.1": f"libnvidia-ml.so.{version}"}
    return [
        Package(
            "nvidia-kernel-open-dkms",
            full,
            "dkms",
            {**conf, f"{source}/nvidia-open": ""},
            fields={"Conflicts": "nvidia-kernel-dkms"},
            scripts=scripts,
        ),
        Package(
            "nvidia-kernel-dkms",
            full,
            "dkms",
            conf,
            fields={"Conflicts": "nvidia-kernel-open-dkms"},
            scripts=scripts,
        ),
        Package("libnvidia-ml1", full, files=library, links=link),
        Package("nvidia-driver-cuda", full, f"libnvidia-ml1 (= {full}), {modules}"),
        Package("nvidia-persistenced", full, files=unit("nvidia-persistenced")),
        Package("nvidia-fabricmanager", full, files=unit("nvidia-fabricmanager")),
    ]


def pinning(branch: str) -> Package:
    """Return the package that chooses a branch, as NVIDIA's does: by a file for apt."""
    text = f"Package: *nvidia*\nPin: version {branch}.*\nPin-Priority: 1000\n"
    only_one = dict.fromkeys(("Provides", "Conflicts", "Replaces"), "nvidia-driver-pinning")
    name = f"nvidia-driver-pinning-{branch}"
    return Package(name, f"{branch}-1", files={f"etc/apt/preferences.d/{name}": text}, fields=only_one)


def sign(place: Path) -> str:
    """Sign the index with a key of its own and return the key's fingerprint."""
    home = ["gpg", "--homedir", place, "--batch", "--quiet"]
    user = "simulated vendor"
    subprocess.run([*home, "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign", "0"], check=True)
    release = subprocess.run(["apt-ftparchive", "release", place], check=True, capture_output=True).stdout
    (place / "Release").write_bytes(release)
    sign_it = ["--yes", "--clearsign", "--output", place / "InRelease", place / "Release"]
    subprocess.run([*home, *sign_it], check=True)
    subprocess.run([*home, "--yes", "--output", place / "3bf863cc.pub", "--armor", "--export", user], check=True)
    listed = subprocess.run([*home, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True).stdout
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def main(folder: str) -> None:
    """Build the repository."""
    place = Path(folder)
    place.mkdir(parents=True)
    place.chmod(0o755)
    repository(place, [pinning("590"), pinning("595"), *(each for version in VERSIONS for each in driver(version))])
    print(sign(place))


if __name__ == "__main__":
    main(sys.argv[1])
