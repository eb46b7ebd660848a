# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names that a bundle has on the controller and on the hosts alike."""

from __future__ import annotations

BUNDLE = "tfserving_fleet_bundle"
# Where a host keeps what was brought to it.
ROOT = "/var/lib/tfserving-fleet/bundle"


def apt_files(release_name: str, root: str = ROOT) -> dict[str, str]:
    """Return the texts, by path below ``root``, that make apt see the bundle and nothing else."""
    configuration = {
        "Dir::Etc::sourcelist": f"{root}/apt/sources.list",
        # Alone, so that no entry of the host's can conflict with it.
        "Dir::Etc::sourceparts": "/dev/null",
        # The host's own index and its caches stay as they are.
        "Dir::State::lists": f"{root}/apt/lists",
        "Dir::Cache::pkgcache": f"{root}/apt/pkgcache.bin",
        "Dir::Cache::srcpkgcache": f"{root}/apt/srcpkgcache.bin",
        # Nothing is downloaded, so there is nothing that the user _apt would shield from.
        "APT::Sandbox::User": "root",
    }
    lines = [f'{name} "{value}";' for name, value in configuration.items()]
    return {
        "apt/apt.conf": "\n".join(
            ["// What apt sees while a bundle is installed: APT_CONFIG names this file.", *lines, ""]
        ),
        # The controller has compared every file with the manifest's SHA-256 before it brought it, so that nothing is
        # left for a signature of the index to prove.
        "apt/sources.list": f"deb [trusted=yes] file:{root}/packages/{release_name} ./\n",
    }
