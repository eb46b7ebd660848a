# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names in a bundle that the controller and the hosts share."""

from __future__ import annotations

BUNDLE = "tfserving_fleet_bundle"
# Where a host keeps the files brought to it.
ROOT = "/var/lib/tfserving-fleet/bundle"


def apt_files(release_name: str, root: str = ROOT) -> dict[str, str]:
    """Return the texts, by path below ``root``, that make apt see the bundle and nothing else."""
    configuration = {
        "Dir::Etc::sourcelist": f"{root}/apt/sources.list",
        # The only source, so that no entry of the host's can conflict with it.
        "Dir::Etc::sourceparts": "/dev/null",
        # Leaves the host's own index and caches as they are.
        "Dir::State::lists": f"{root}/apt/lists",
        "Dir::Cache::pkgcache": f"{root}/apt/pkgcache.bin",
        "Dir::Cache::srcpkgcache": f"{root}/apt/srcpkgcache.bin",
        # Nothing is downloaded, so the user _apt has nothing to protect against.
        "APT::Sandbox::User": "root",
    }
    lines = [f'{name} "{value}";' for name, value in configuration.items()]
    return {
        "apt/apt.conf": "\n".join(
            ["// What apt sees while a bundle is installed: APT_CONFIG names this file.", *lines, ""]
        ),
        # The controller has compared every file with the manifest's SHA-256 before bringing it, so a signature of the
        # index would add no proof.
        "apt/sources.list": f"deb [trusted=yes] file:{root}/packages/{release_name} ./\n",
    }
