# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The VM's image: kernel, initial RAM disk and root file system, from the archive that this machine itself uses."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

from fleet_lab.build import debian, hashing
from fleet_lab.build.image import KEYRING, package_names
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import quietly
from fleet_lab.vm.config import DISK_MB, HOST, KERNEL_ARGUMENTS, Files, Image

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}
RECIPE = ("packages.txt", "initramfs.sh", "customise.sh", "boot-loader")


def image(lab: Lab) -> str:
    """Build the image unless it exists; a change of recipe, key or archive makes another one."""
    log = lab.logs / "vm-image.log"
    debian.need_commands(TOOLS, "the VM", log)
    ensure_key(lab, log)
    sources, settings = debian.machine_archive(lab.suite)
    wanted = Image(image_folder(lab, sources, settings))
    if wanted:
        return f"reused {wanted.folder.name}"
    if debian.architecture() != "amd64":
        raise Stop("the VM is made for amd64 machines; run the other scenarios here and this one there")
    if not debian.may_install():
        raise Stop("the VM's file tree can be made by root only; run this command as root, once")
    if not KEYRING.exists():
        debian.install(["debian-archive-keyring"], "the VM's image", log)
    build(lab, wanted, sources, settings, log)
    _forget_others(lab, wanted)
    return f"built {wanted.folder.name}"


def current(lab: Lab) -> Image:
    return Image(image_folder(lab, *debian.machine_archive(lab.suite)))


def image_folder(lab: Lab, sources: list[str], settings: list[str]) -> Path:
    recipe = [_recipe(lab) / name for name in RECIPE] + [lab.root / "lab" / "host" / "packages.txt"]
    public_key = Files.of(lab).public_key
    key = hashing.key_of_files(
        recipe,
        *sources,
        *settings,
        KERNEL_ARGUMENTS,
        str(DISK_MB),
        public_key.read_text() if public_key.exists() else "",
    )
    return Files.of(lab).folder / f"image-{lab.suite}-{key}"


def ensure_key(lab: Lab, log: Path) -> None:
    """Make this lab's key, which opens its VM and nothing else, unless it exists."""
    files = Files.of(lab)
    if files.key.exists():
        return
    files.folder.mkdir(parents=True, exist_ok=True)
    quietly(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tfserving-lab-vm", "-f", files.key], log)


def build(lab: Lab, wanted: Image, sources: list[str], settings: list[str], log: Path) -> None:
    """Make all files in a temporary folder and move them into place at once, so that an image is never incomplete."""
    wanted.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=wanted.folder.parent) as work:
        tree, made = Path(work) / "tree", Image(Path(work) / "image")
        made.folder.mkdir()
        quietly(bootstrap_command(lab, tree, sources, settings), log)
        _boot_files(tree, made)
        made.known_hosts.write_text(f"{HOST} {(tree / 'etc/ssh/ssh_host_ed25519_key.pub').read_text()}")
        quietly(filesystem_command(tree, made.disk), log)
        made.folder.rename(wanted.folder)


def bootstrap_command(lab: Lab, tree: Path, sources: list[str], settings: list[str]) -> list[str]:
    host, recipe = lab.root / "lab" / "host", _recipe(lab)
    packages = [name for folder in (host, recipe) for name in package_names((folder / "packages.txt").read_text())]
    initramfs, customise, key = (
        shlex.quote(str(path)) for path in (recipe / "initramfs.sh", recipe / "customise.sh", Files.of(lab).public_key)
    )
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        *(f"--aptopt={setting}" for setting in settings),
        # Manuals and translations are never read here, and every file is one more for mke2fs to copy.
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
        f'--essential-hook={initramfs} "$1"',
        f'--customize-hook={customise} "$1" {key} {shlex.quote(KERNEL_ARGUMENTS)}',
        lab.suite,
        str(tree),
        *sources,
    ]


def filesystem_command(tree: Path, disk: Path) -> list[str]:
    return ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(disk), f"{DISK_MB}M"]


def _boot_files(tree: Path, made: Image) -> None:
    for pattern, target in (("vmlinuz-*", made.kernel), ("initrd.img-*", made.ramdisk)):
        found = sorted((tree / "boot").glob(pattern))
        if len(found) != 1:
            raise Stop(f"the VM's file tree has {len(found)} files boot/{pattern}, not one; see lab/vm/packages.txt")
        shutil.copyfile(found[0], target)


def _recipe(lab: Lab) -> Path:
    return lab.root / "lab" / "vm"


def _forget_others(lab: Lab, wanted: Image) -> None:
    """Remove images of other recipes, half a gigabyte each, except the one that a machine uses."""
    record = Files.of(lab).machine
    in_use = record.read_text() if record.exists() else ""
    for folder in wanted.folder.parent.glob("image-*"):
        if folder != wanted.folder and folder.name not in in_use:
            shutil.rmtree(folder, ignore_errors=True)
