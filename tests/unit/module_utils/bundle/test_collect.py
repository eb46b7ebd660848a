# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a builder fetches: downloads from a web server, images with real skopeo, packages from a told apt."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import collect as bundle_collect
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import images as bundle_images
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import packages as bundle_packages
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.ids import parse_image
from bundle_cases import sha256
from registry_double import NOWHERE, Registry
from release_images import ARCHITECTURE, BINARY, FOREIGN, Layout, host, with_tools

__all__ = ["host"]  # fixture


def refused(sentence: str):
    return pytest.raises(WishError, match=f"^{re.escape(sentence)}$")


def run(arguments: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


# --- downloads ---


@pytest.fixture
def web(tmp_path):
    class Handler(http.server.SimpleHTTPRequestHandler):
        asked: list[tuple[str, str | None]] = []

        def do_GET(self) -> None:
            self.asked.append((self.path, self.headers.get("X-Token")))
            super().do_GET()

        def log_message(self, *_arguments: object) -> None:
            pass

    (tmp_path / "www").mkdir()
    (tmp_path / "www/digits.tgz").write_bytes(b"digits")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "www"))
    ) as server:
        server.asked = Handler.asked = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def params(root: Path, *downloads: dict, headers: dict | None = None) -> dict:
    nothing = {"packages": [], "repositories": [], "images": [], "timeout": 5}
    return {"root": str(root), "downloads": list(downloads), "headers": headers or {}, **nothing}


def digits(web, content: bytes = b"digits", name: str = "digits.tgz?key=secret") -> dict:
    url, where = f"{web.url}/{name}", "tfserving_models[0].source.uri"
    return {"where": where, "path": "models/digits-1/1", "url": url, "sha256": sha256(content)}


def test_a_download_is_fetched_once_with_its_headers_and_listed_without_secrets(web, tmp_path):
    asked = params(tmp_path / "root", digits(web), headers={"models/digits-1/1": {"X-Token": "word"}})
    first = bundle_collect.collect(asked, run)
    assert bundle_collect.collect(asked, run) == first
    assert web.asked == [("/digits.tgz?key=secret", "word")]
    (listed,) = first
    assert listed == {
        "path": "models/digits-1/1",
        "sha256": sha256(b"digits"),
        "size": 6,
        "from": f"{web.url}/digits.tgz",
    }


def test_a_download_of_another_digest_is_refused_and_not_kept(web, tmp_path):
    with refused(
        f"tfserving_models[0].source.uri: its checksum is {sha256(b'digits')}, not the wished {sha256(b'other')}; "
        "check what changed the source, or correct the wish"
    ):
        bundle_collect.collect(params(tmp_path / "root", digits(web, b"other")), run)
    assert not (tmp_path / "root/models").exists()


def test_an_address_that_leads_nowhere_is_refused(web, tmp_path):
    with pytest.raises(WishError, match=r"tfserving_models\[0\]\.source\.uri: .*/none answers 404"):
        bundle_collect.collect(params(tmp_path / "root", digits(web, name="none")), run)


def test_what_is_no_longer_wished_goes_from_the_builder(web, tmp_path):
    bundle_collect.collect(params(tmp_path / "root", digits(web)), run)
    assert bundle_collect.collect(params(tmp_path / "root"), run) == []
    assert not (tmp_path / "root/models").exists()


# --- images ---


def fetched(layout: Layout, folder: Path, registry: Registry, reference: str = "") -> Path:
    """Collect an image and return its layout."""
    image = parse_image(reference or f"{NOWHERE}/tensorflow/serving@{layout.digest}", "tfserving_images")
    options = {"mirrors": [f"http://{registry.place}/hub"]}
    bundle_images.collect(run, image, str(folder), str(folder.parent / "work"), "tfserving_images", options)
    (found,) = folder.glob("*/serving")
    return found


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing here gets better by waiting."""
    monkeypatch.setattr(bundle_images, "RETRIES", 0)
    monkeypatch.setattr(bundle_images, "ARCHITECTURE", ARCHITECTURE)


@with_tools
@pytest.mark.parametrize("how", [{}, {"index": True}, {"architectures": [FOREIGN, ARCHITECTURE]}])
def test_an_image_of_a_registry_becomes_a_layout_under_its_own_digest_and_then_a_release(tmp_path, host, how):
    layout = Layout(tmp_path / "source", **how)
    found = fetched(layout, tmp_path / "images", Registry(layout))
    assert f"sha256:{found.parent.name}" == layout.digest
    release = host.install(image=f"oci:{found}@{layout.digest}")["release"]
    assert release["id"] == f"serving@sha256-{layout.digest[7:23]}"
    assert Path(release["path"], "rootfs", BINARY).exists()


@with_tools
def test_an_image_of_dockers_own_kind_becomes_one_that_a_layout_can_hold(tmp_path, host):
    layout = Layout(tmp_path / "source")
    docker = tmp_path / "docker"
    status, _out, err = run(["skopeo", "copy", "--quiet", "--format", "v2s2", f"oci:{layout.top}", f"dir:{docker}"])
    assert status == 0, err
    for blob in docker.iterdir():
        shutil.copy(blob, layout.blob(f"sha256:{sha256(blob.read_bytes())}"))
    pinned = f"sha256:{sha256((docker / 'manifest.json').read_bytes())}"
    found = fetched(layout, tmp_path / "images", Registry(layout), f"{NOWHERE}/tensorflow/serving@{pinned}")
    assert f"sha256:{found.parent.name}" != pinned
    assert host.install(image=f"oci:{found}@sha256:{found.parent.name}")["changed"]


@with_tools
def test_an_image_is_fetched_once(tmp_path):
    layout = Layout(tmp_path / "source")
    registry = Registry(layout)
    fetched(layout, tmp_path / "images", registry)
    asked = len(registry.requests)
    fetched(layout, tmp_path / "images", registry)
    assert len(registry.requests) == asked


@with_tools
def test_an_image_that_nobody_has_is_refused_with_every_place_that_was_asked(tmp_path):
    layout = Layout(tmp_path / "source")
    registry = Registry(layout)
    layout.blob(layout.digest).unlink()
    with pytest.raises(WishError, match=rf"fetched from {registry.place} \(.*\), {NOWHERE} \(.*\); check it"):
        fetched(layout, tmp_path / "images", registry)
    assert not (tmp_path / "images").exists()


def test_credentials_are_kept_from_an_unencrypted_mirror():
    image = parse_image(f"registry.example/a/serving@sha256:{'0' * 64}", "tfserving_images")
    options = {"mirrors": ["http://m", "n:5/p"], "auth_file": "F"}
    assert [extra for _source, extra in bundle_images.sources(image, options)] == [
        ["--tls-verify=false", "--no-creds"],
        ["--authfile", "F"],
        ["--authfile", "F"],
    ]


# --- packages ---


class Apt:
    """An apt that has some packages, and the dpkg-deb that reads them."""

    def __init__(self, packages: dict[str, list[str]]) -> None:
        self.packages, self.calls = packages, []

    def __call__(self, arguments: list[str]) -> tuple[int, str, str]:
        self.calls.append(arguments)
        if arguments[0] == "dpkg-deb":
            return 0, f"Package: {Path(arguments[-1]).name.split('_')[0]}\nVersion: 1\n", ""
        if "install" not in arguments:
            return 0, "", ""
        name = arguments[-1]
        if name not in self.packages:
            return 100, "Reading package lists...", f"W: a warning\nE: Unable to locate package {name}\n"
        (archives,) = [word.partition("=")[2] for word in arguments if word.startswith("Dir::Cache::archives=")]
        files = [f"{each}_1_all.deb" for each in self.packages[name]]
        if "--print-uris" in arguments:
            return 0, "Reading...\n" + "".join(f"'http://d.example/{file}' {file} 3 SHA256:00\n" for file in files), ""
        for file in files:
            (Path(archives) / file).write_bytes(b"deb")
        return 0, "", ""


def resolver(tmp_path: Path, apt: Apt) -> bundle_packages.Resolver:
    sources = tmp_path / "sources.list.d"
    sources.mkdir(exist_ok=True)
    for name in ("site.sources", "tfserving.sources"):
        (sources / name).write_text("Types: deb\n")
    made = bundle_packages.Resolver(str(tmp_path / "apt"), apt)
    repository = {"uri": "http://a.example", "suite": "stable", "component": "server", "key": "keys/AA.gpg"}
    made.prepare([repository], "/bundle/keys", str(sources))
    return made


def test_packages_become_a_flat_repository_with_an_index(tmp_path):
    apt = Apt({"a": ["a", "libc6"], "b": ["b", "libc6"]})
    target = tmp_path / "packages"
    found = bundle_packages.collect(resolver(tmp_path, apt), [["a"], ["b"]], str(target))
    assert found["libc6_1_all.deb"] == "http://d.example/libc6_1_all.deb"
    stanzas = (target / "Packages").read_text().strip().split("\n\n")
    assert [stanza.splitlines()[0] for stanza in stanzas] == ["Package: a", "Package: b", "Package: libc6"]
    assert stanzas[0].splitlines()[2:] == ["Filename: ./a_1_all.deb", "Size: 3", f"SHA256: {sha256(b'deb')}"]


def test_packages_that_are_no_longer_needed_go(tmp_path):
    apt, target = Apt({"a": ["a", "old"]}), tmp_path / "packages"
    bundle_packages.collect(resolver(tmp_path, apt), [["a"]], str(target))
    apt.packages["a"] = ["a"]
    bundle_packages.collect(resolver(tmp_path, apt), [["a"]], str(target))
    assert sorted(path.name for path in target.iterdir()) == ["Packages", "a_1_all.deb"]
    assert "old" not in (target / "Packages").read_text()


def test_nothing_counts_as_installed_and_nothing_of_the_builder_changes(tmp_path):
    made = resolver(tmp_path, Apt({}))
    options = made.options(made.archives)
    assert f"Dir::State::status={tmp_path}/apt/status" in options
    assert (tmp_path / "apt/status").read_text() == ""
    places = [word.partition("=")[2] for word in options if word.startswith("Dir::")]
    assert all(place.startswith(f"{tmp_path}/apt/") for place in places)


def test_the_repository_is_believed_for_its_own_key_beside_the_builders_own_sources(tmp_path):
    resolver(tmp_path, Apt({}))
    sources = tmp_path / "apt/sources"
    assert sorted(path.name for path in sources.iterdir()) == ["site.sources", "tfserving-bundle-0.list"]
    line = (sources / "tfserving-bundle-0.list").read_text()
    assert line == "deb [signed-by=/bundle/keys/AA.gpg] http://a.example stable server\n"


def test_a_package_that_no_source_has_is_refused_in_apts_words(tmp_path):
    with refused(
        "bundle_builder: none cannot be downloaded (Unable to locate package none); "
        "check the sources and the network of this host"
    ):
        bundle_packages.collect(resolver(tmp_path, Apt({})), [["none"]], str(tmp_path / "packages"))


def test_an_index_that_cannot_be_fetched_is_refused(tmp_path):
    made = resolver(tmp_path, lambda _arguments: (100, "", "E: The repository is not signed.\n"))
    with refused(
        "bundle_builder: the package index cannot be fetched (The repository is not signed); "
        "check the sources and the network of this host"
    ):
        made.refresh()


def test_the_release_of_a_builder_is_what_its_system_says(tmp_path):
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    assert bundle_packages.codename(str(tmp_path / "os-release")) == "bookworm"
    (tmp_path / "os-release").write_text("ID=arch\n")
    with refused("bundle_builder: this host's release has no name; name a host of Debian or Ubuntu"):
        bundle_packages.codename(str(tmp_path / "os-release"))
