# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Releases from archives, bare programs and installed packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import package as release_package
from ansible_collections.tfserving.fleet.plugins.modules import server_release
from archive_files import FORMATS, archive_of, tar_of, write_tree
from http_double import Server
from release_images import ARCHITECTURE, FOREIGN, SERVER, Host, elf

PROGRAM = "tensorflow_model_server"
MACHINES = {"amd64": 62, "arm64": 183}
OWN = elf(MACHINES.get(ARCHITECTURE, 62))
FILES = {PROGRAM: OWN, "lib/libtensorflow.so.2": OWN, "README": b"a text"}


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path / "host" / "releases")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def options(path: Path, **more: object) -> dict[str, object]:
    return {"method": "archive", "archive": str(path), "archive_sha256": file_digest(str(path)), **more}


def refused(text: str) -> str:
    return f"tfserving_archives.2.19.1: {text}"


def modes(top: Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.stat().st_mode & 0o7777 for path in top.rglob("*")}


# --- archives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_becomes_a_release_whose_programs_can_be_run_by_all(tmp_path, host, form):
    path = archive_of(tmp_path / "build", FILES, form)
    release = host.install(**options(path, archive_uri="https://me:secret@builds.example/s.tgz?key=secret"))["release"]
    tree = Path(release["path"]) / "rootfs"
    assert release["binary"] == str(tree / PROGRAM)
    assert (release["chroot"], release["glibc"], release["library_path"]) == (False, "", "")
    assert release["source"] == "https://builds.example/s.tgz"
    assert release["digest"] == f"sha256:{file_digest(str(path))}"
    assert "secret" not in (tree.parent / "release.json").read_text()
    assert modes(tree) == {"lib": 0o755, PROGRAM: 0o755, "lib/libtensorflow.so.2": 0o755, "README": 0o644}
    assert not host.install(**options(path))["changed"]


@pytest.mark.parametrize("content", [SERVER, OWN])
@pytest.mark.parametrize("binary", [None, "bin/server"])
def test_a_bare_program_becomes_a_release(tmp_path, host, content, binary):
    path = tmp_path / "build"
    path.write_bytes(content)
    release = host.install(**options(path, binary=binary))["release"]
    assert release["binary"] == f"{release['path']}/rootfs/{binary or PROGRAM}"
    assert Path(release["binary"]).read_bytes() == content
    assert os.access(release["binary"], os.X_OK)


def test_an_archive_is_fetched_from_its_address(tmp_path, host, server):
    path = tar_of(tmp_path / "build", FILES)
    server.answers["/s.tgz"] = (200, {}, path.read_bytes())
    sha256 = file_digest(str(path))
    result = host.install(method="archive", archive_uri=f"{server.url}/s.tgz", archive_sha256=sha256)
    place = Path(result["release"]["path"])
    assert sorted(path.name for path in place.iterdir()) == ["release.json", "rootfs"]
    assert Path(result["release"]["binary"]).read_bytes() == OWN


def test_an_address_with_a_secret_is_fetched_and_not_recorded(tmp_path, host, server):
    path = tar_of(tmp_path / "build", FILES)
    server.answers["/s.tgz"] = (200, {}, path.read_bytes())
    result = host.install(
        method="archive",
        archive_uri=f"{server.url}/s.tgz",
        archive_address=f"{server.url}/s.tgz?key=Tr0ub4dor",
        archive_sha256=file_digest(str(path)),
    )
    assert server.requests[-1][0] == "/s.tgz?key=Tr0ub4dor"
    record = (Path(result["release"]["path"]) / "release.json").read_text()
    assert "Tr0ub4dor" not in record + str(result)
    assert server_release.ARGUMENTS["archive_address"]["no_log"] is True


def test_an_address_that_gives_nothing_is_refused(host, server):
    wish = {"method": "archive", "archive_uri": f"{server.url}/s.tgz", "archive_sha256": "0" * 64}
    assert host.refusal(**wish) == refused(f"{server.url}/s.tgz answers 404 Not Found; check the address")


def test_a_download_that_does_not_fit_is_refused_before_it_begins(host, server):
    server.answers["/s.tgz"] = (200, {"Content-Length": str(1 << 50)}, b"")
    said = host.refusal(method="archive", archive_uri=f"{server.url}/s.tgz", archive_sha256="0" * 64)
    assert said.startswith(refused("the release needs 1073741824 MiB and "))
    assert said.endswith(f"are free under {host.root}; free space there, or keep fewer releases")


def test_a_wrong_checksum_is_refused_with_both(tmp_path, host):
    path = tar_of(tmp_path / "build", FILES)
    assert host.refusal(**options(path, archive_sha256="0" * 64)) == refused(
        f"its checksum is {file_digest(str(path))}, not the wished {'0' * 64}; "
        "check what changed the source, or correct the wish"
    )


def test_a_file_that_is_not_there_is_refused(tmp_path, host):
    wish = {"method": "archive", "archive_sha256": "0" * 64}
    assert host.refusal(archive=f"{tmp_path}/no", **wish) == refused(
        f"{tmp_path}/no is not a file on this host; put it there, or give an address as uri"
    )
    assert host.refusal(archive_uri="builds/s.tgz", **wish) == refused(
        "builds/s.tgz is not on this host; give the option archive its path here"
    )


REPACK = (
    "give the bare program, or a tar or zip of regular files with relative names (tar --dereference --hard-dereference)"
)


def link_to(target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("libtensorflow.so")
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    ("files", "extra", "problem"),
    [
        ({**FILES, "../etc/passwd": b""}, (), f"the name ../etc/passwd leads out of it; {REPACK}"),
        ({**FILES, "/etc/passwd": b""}, (), f"it holds the absolute name /etc/passwd; {REPACK}"),
        (FILES, (link_to("/etc/passwd"),), f"it holds a symbolic link, libtensorflow.so; {REPACK}"),
        ({"README": b""}, (), f"the archive holds no {PROGRAM}; set binary to the path of the server in it"),
        (
            {f"b/bin/{PROGRAM}": OWN, f"a/{PROGRAM}": OWN},
            (),
            f"the archive holds no {PROGRAM} but a/{PROGRAM} and b/bin/{PROGRAM}; set binary to a/{PROGRAM}",
        ),
        (
            {PROGRAM: b"a text"},
            (),
            f"{PROGRAM} in the archive is neither an ELF program nor a script; set binary to the server's path",
        ),
        (
            {PROGRAM: elf(MACHINES[FOREIGN])},
            (),
            f"{PROGRAM} in the archive is built for {FOREIGN}, and this host is {ARCHITECTURE}; "
            f"name one for {ARCHITECTURE}",
        ),
    ],
)
def test_an_archive_that_cannot_be_a_release_is_refused(tmp_path, host, files, extra, problem):
    assert host.refusal(**options(tar_of(tmp_path / "build", files, extra=extra))) == refused(problem)


def test_what_is_no_archive_is_refused(tmp_path, host):
    path = tmp_path / "build"
    path.write_bytes(b"<html>not found</html>")
    problem = "it is neither a tar (plain, gz, bz2, xz) nor a zip"
    assert host.refusal(**options(path)) == refused(f"{problem}; {REPACK}")


def test_an_archive_that_breaks_off_is_refused(tmp_path, host):
    path = tar_of(tmp_path / "build", {**FILES, "large": os.urandom(1 << 16)})
    path.write_bytes(path.read_bytes()[: 1 << 15])
    said = host.refusal(**options(path))
    assert said.startswith(refused("the archive is damaged ("))
    assert said.endswith("); pack or fetch it again")


# --- packages ------------------------------------------------------------------------------------------------

with_dpkg = pytest.mark.skipif(
    not shutil.which("dpkg-deb") or os.geteuid() != 0, reason="dpkg is not installed here, or this is not root"
)
PACKAGED = {
    f"usr/bin/{PROGRAM}": SERVER,
    "usr/lib/tfs/libtensorflow.so.2": OWN,
    "usr/share/doc/tensorflow-model-server/copyright": b"a text",
    "etc/tfs.conf": b"settings",
}


class DpkgHost(Host):
    """A host with a dpkg database and a tree of its own, for real packages that nothing else here sees."""

    def __init__(self, top: Path) -> None:
        super().__init__(top / "releases")
        self.top, self.tree = top, top / "tree"
        (self.tree / "var/lib/dpkg/info").mkdir(parents=True)
        (self.tree / "var/lib/dpkg/updates").mkdir()
        (self.tree / "var/lib/dpkg/status").touch()

    def run(self, arguments: list[str], directory: str) -> tuple[int, str, str]:
        return super().run([arguments[0], f"--admindir={self.tree}/var/lib/dpkg", *arguments[1:]], directory)

    def dpkg(self, version: str, files: dict[str, bytes]) -> None:
        tree = self.top / f"package-{version}"
        write_tree(tree, files)
        for path in tree.rglob("usr/bin/*"):
            path.chmod(0o4755)
        (tree / "usr/lib/tfs").mkdir(parents=True, exist_ok=True)
        (tree / "usr/lib/tfs/libtensorflow.so").symlink_to("libtensorflow.so.2")
        (tree / "usr/lib/tfs/absolute").symlink_to("/etc/passwd")
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/conffiles").write_text("/etc/tfs.conf\n" if "etc/tfs.conf" in files else "")
        fields = {"Package": "tensorflow-model-server", "Version": version, "Architecture": "all",
                  "Maintainer": "nobody <nobody@example.com>", "Description": "a server"}  # fmt: skip
        (tree / "DEBIAN/control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
        deb = self.top / f"{version}.deb"
        for command in (["dpkg-deb", "-b", tree, deb], ["dpkg", f"--root={self.tree}", "--log=/dev/null", "-i", deb]):
            subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def debian(tmp_path, monkeypatch) -> DpkgHost:
    host = DpkgHost(tmp_path / "debian")
    monkeypatch.setattr(release_package, "HOST", str(host.tree))
    return host


@with_dpkg
@pytest.mark.parametrize("version", ["2.19.1", "2.19.1-1", "1:2.19.1-1+b2"])
def test_a_package_is_copied_without_settings_and_documentation(debian, version):
    debian.dpkg(version, PACKAGED)
    release = debian.install(method="apt")["release"]
    tree = Path(release["path"]) / "rootfs"
    assert release["id"] == "tensorflow-model-server@2.19.1"
    assert release["binary"] == str(tree / "usr/bin" / PROGRAM)
    assert release["digest"] == f"sha256:{file_digest(release['binary'])}"
    assert json.loads((tree.parent / "release.json").read_text())["source"] == "tensorflow-model-server=2.19.1"
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()}
    assert found == {f"usr/bin/{PROGRAM}", "usr/lib/tfs/libtensorflow.so.2", "usr/lib/tfs/libtensorflow.so"}
    assert os.stat(release["binary"]).st_mode & 0o7777 == 0o755


@with_dpkg
def test_an_upgrade_of_the_package_leaves_the_release_as_it_was(debian):
    debian.dpkg("2.19.1", PACKAGED)
    first = debian.install(method="apt")["release"]
    debian.dpkg("2.20.0", {**PACKAGED, f"usr/bin/{PROGRAM}": SERVER + b"# newer\n"})
    assert Path(first["binary"]).read_bytes() == SERVER
    again = debian.install(method="apt")
    assert (again["changed"], again["release"]) == (False, first)
    debian.install(method="apt", version="2.20.0")
    assert debian.names() == ["tensorflow-model-server@2.19.1", "tensorflow-model-server@2.20.0"]


@with_dpkg
def test_a_package_that_is_not_installed_or_of_another_version_is_refused(debian):
    install = "install tensorflow-model-server=2.19.1 first"
    assert debian.refusal(method="apt") == (
        f"tfserving_version: the package tensorflow-model-server is not installed on this host; {install}"
    )
    debian.dpkg("2.19.10", PACKAGED)
    assert debian.refusal(method="apt") == (
        f"tfserving_version: this host has tensorflow-model-server 2.19.10, not 2.19.1; {install}"
    )


@with_dpkg
def test_a_package_without_the_server_is_refused(debian):
    debian.dpkg("2.19.1", {"usr/share/text": b""})
    assert debian.refusal(method="apt") == (
        "tfserving_version: the package tensorflow-model-server holds no executable "
        "/usr/bin/tensorflow_model_server; name a package of the server"
    )
