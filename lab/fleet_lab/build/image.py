# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The image of a lab host: a minimal Debian with systemd, from the archive that this machine itself uses."""

from __future__ import annotations

import shlex
from pathlib import Path

from fleet_lab.build import debian, hashing
from fleet_lab.config import IMAGE_NAME, LABEL, Lab
from fleet_lab.shell import answer, quietly

# mmdebstrap makes the same tree as debootstrap, with security updates, in half of the time (22 s, not 45).
TOOLS = {"mmdebstrap": "mmdebstrap"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def image(lab: Lab) -> str:
    """Build the image unless it exists; a change of the recipe or of the archive's address makes another one."""
    sources, settings = debian.machine_archive(lab.suite)
    tag = image_tag(lab, sources, settings)
    if answer(["docker", "image", "inspect", "--format", "{{.Id}}", tag]):
        return f"reused {tag}"
    log = lab.logs / "image.log"
    debian.need_commands(TOOLS, "the host image", log)
    if not KEYRING.exists():  # Debian has it, Ubuntu does not
        debian.install(["debian-archive-keyring"], "the host image", log)
    lab.state.mkdir(parents=True, exist_ok=True)
    # Through a file, not a pipe: a tree that was cut short must never become an image.
    tree = lab.state / f"host-{lab.suite}.tar"
    try:
        quietly(bootstrap_command(lab, tree, sources, settings), log)
        quietly(import_command(tree, tag), log)
    finally:
        tree.unlink(missing_ok=True)
    return f"built {tag}"


def current_tag(lab: Lab) -> str:
    return image_tag(lab, *debian.machine_archive(lab.suite))


def image_tag(lab: Lab, sources: list[str], settings: list[str]) -> str:
    key = hashing.key_of_files([recipe(lab), Path(__file__)], *sources, *settings, debian.architecture())
    return f"{IMAGE_NAME}:{lab.suite}-{key}"


def recipe(lab: Lab) -> Path:
    return lab.root / "lab" / "host"


def package_names(text: str) -> list[str]:
    """Return the packages of a list with one per line and comments after "#"."""
    words = (line.split("#")[0].strip() for line in text.splitlines())
    return [word for word in words if word]


def bootstrap_command(lab: Lab, tree: Path, sources: list[str], settings: list[str]) -> list[str]:
    packages = package_names((recipe(lab) / "packages.txt").read_text())
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        # Nothing here has to survive a power cut: without dpkg's syncs, builds and installs do not wait for the disk.
        "--dpkgopt=force-unsafe-io",
        *(f"--aptopt={setting}" for setting in settings),
        f'--customize-hook={shlex.quote(str(recipe(lab) / "customise.sh"))} "$1"',
        lab.suite,
        str(tree),
        *sources,
    ]


def import_command(tree: Path, tag: str) -> list[str]:
    changes = (
        'CMD ["/usr/sbin/lab-init"]',
        "ENV container=docker",  # tells systemd where it is
        f"LABEL {LABEL}=image",
    )
    return ["docker", "import", *(f"--change={change}" for change in changes), str(tree), tag]
