# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a holder offers, to whom, and how its service is confined; systemd-run is a double that starts the program."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import holder as program
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import manifest as manifests
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import offer, rate
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.incoming import Incoming
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.offer import Terms
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.pull import Holder, pull
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store
from archive_files import read_tree, write_tree
from ports import free_port
from saved_models import MODEL, SHARD

TOKEN = "5e" * 32


def manifest_of(files):
    entries = {path: [hashlib.sha256(content).hexdigest(), len(content)] for path, content in files.items()}
    return manifests.read({"sha256": "0" * 64, "files": entries})


MANIFEST = manifest_of(MODEL)


class Systemd:
    """Stands in for systemd-run and systemctl; ``given`` is what the service was told, and with which mode."""

    def __init__(self) -> None:
        self.calls = []
        self.given = ("", 0)
        self.process = None
        self.fails = ""

    def __call__(self, arguments):
        self.calls.append(arguments)
        if arguments[0] == "systemd-run":
            if self.fails:
                return 1, "", self.fails
            (given,) = [each for each in arguments if each.startswith("--property=StandardInput=file:")]
            with open(given.partition("file:")[2], encoding="utf-8") as offered:
                self.given = (offered.read(), os.fstat(offered.fileno()).st_mode & 0o777)
                offered.seek(0)
                command = [sys.executable, *arguments[arguments.index("/usr/bin/python3") + 1 :]]
                self.process = subprocess.Popen(command, stdin=offered, stdout=subprocess.PIPE, text=True)
            assert self.process.stdout.readline().startswith("tfserving-peer: offers at 127.0.0.1 port ")
        elif self.process:
            self.end()
        return 0, "", ""

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None


@pytest.fixture
def systemd():
    systemd = Systemd()
    yield systemd
    if systemd.process:
        systemd.end()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(offer, "FOLDER", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "holder"))


@pytest.fixture
def published(store) -> Store:
    """Return a store that has published version 7, to which the host has added warm-up records."""
    records = {"assets.extra/tf_serving_warmup_requests": b"records"}
    tree = write_tree(Path(store.root, "tree"), {**MODEL, **records})
    os.makedirs(store.base("ranker"))
    store.publish("ranker", 7, str(tree), {"tree": MANIFEST.tree})
    return store


def terms(**changed) -> Terms:
    plain = {"address": "127.0.0.1", "port": free_port(), "reader": "127.0.0.1", "token": TOKEN, "rate": 0}
    return Terms(**{**plain, **changed})


def refusal(systemd, store, manifest=MANIFEST, **changed) -> str:
    with pytest.raises(RefusalError) as error:
        offer.begin(systemd, store, "ranker", 7, manifest, terms(**changed))
    return str(error.value)


def test_a_published_version_reaches_the_reader_without_what_the_host_has_added(published, systemd, tmp_path):
    given = terms()
    offer.begin(systemd, published, "ranker", 7, MANIFEST, given)
    reader = Store(str(tmp_path / "reader"))
    pull(reader, "ranker", 7, MANIFEST, Holder(given.address, given.port, TOKEN))
    assert read_tree(Path(Incoming(reader, "ranker", 7).tree)) == MODEL


def test_a_version_that_is_not_published_yet_can_be_offered_once_it_is_verified(store, systemd):
    incoming = Incoming(store, "ranker", 7)
    incoming.begin(MANIFEST)
    write_tree(Path(incoming.tree), MODEL)
    assert offer.held(store, "ranker", 7, MANIFEST) == ("", "")
    incoming.finish(MANIFEST)
    assert offer.held(store, "ranker", 7, MANIFEST) == ("verified", incoming.tree)
    offer.begin(systemd, store, "ranker", 7, MANIFEST, terms())


def test_nobody_but_root_can_read_the_token_and_it_is_gone_once_the_service_runs(published, systemd, folder):
    offer.begin(systemd, published, "ranker", 7, MANIFEST, terms())
    told, mode = systemd.given
    assert json.loads(told)["token"] == TOKEN
    assert mode == 0o600
    assert TOKEN not in " ".join(map(" ".join, systemd.calls))
    assert [each.name for each in folder.iterdir()] == ["holder.py"]
    assert (folder / "holder.py").read_bytes() == Path(program.__file__).read_bytes()


def test_an_offer_takes_the_place_of_an_earlier_one_and_ends(published, systemd, folder):
    for _ in range(2):
        offer.begin(systemd, published, "ranker", 7, MANIFEST, terms())
    assert [call[0] for call in systemd.calls] == ["systemd-run", "systemctl", "systemd-run"]
    assert offer.end(systemd)
    assert systemd.calls[-1] == ["systemctl", "stop", "tfserving-peer.service"]
    assert not folder.exists()
    assert not offer.end(systemd)


def test_the_service_is_confined():
    command = offer.command(terms(longest_s=600), "10.0.0.2", "0-1", 991)
    words = " ".join(command)
    assert command[0] == "systemd-run"
    assert "--service-type=notify" in command
    for rule in (
        *("DynamicUser=yes", "CapabilityBoundingSet=", "SupplementaryGroups=991", "ProtectSystem=strict"),
        *("IPAddressDeny=any", "IPAddressAllow=10.0.0.2", "IOSchedulingClass=idle", "Nice=19", "CPUAffinity=0-1"),
        *("RuntimeMaxSec=605", "MemoryMax=256M"),
    ):
        assert f"--property={rule}" in command
    assert words.endswith("holder.py")
    bare = " ".join(offer.command(terms(), "10.0.0.2", "", 0))
    assert "CPUAffinity" not in bare
    assert "SupplementaryGroups" not in bare


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd-analyze")
def test_the_service_is_no_wider_open_than_it_needs_to_be(tmp_path):
    start = "--property="
    properties = [each[len(start) :] for each in offer.command(terms(), "10.0.0.2", "", 0) if each.startswith(start)]
    unit = tmp_path / offer.UNIT
    unit.write_text("\n".join(["[Service]", "Type=notify", "ExecStart=/usr/bin/python3", *properties, ""]))
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+)", judged.stdout)
    assert exposure, judged.stderr
    # Listens, for one address.
    assert 10 * float(exposure[1]) <= 16, judged.stdout


def test_the_memory_of_a_holder_stays_far_below_its_limit(published, systemd, tmp_path):
    given = terms()
    offer.begin(systemd, published, "ranker", 7, MANIFEST, given)
    pull(Store(str(tmp_path / "reader")), "ranker", 7, MANIFEST, Holder(given.address, given.port, TOKEN))
    status = Path(f"/proc/{systemd.process.pid}/status").read_text()
    assert int(re.search(r"VmHWM:\s+([0-9]+) kB", status).group(1)) < 128 * 1024


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_version_that_is_not_here_is_not_offered(store, systemd):
    assert refusal(systemd, store) == (
        "version 7 is not whole on this host, so it cannot be offered; let another host offer it"
    )


def test_a_version_of_other_content_is_not_offered(published, systemd):
    assert refusal(systemd, published, manifest_of({**MODEL, "assets/more": b""})) == (
        "version 7 has other content here, so it cannot be offered; let another host offer it"
    )


@pytest.mark.parametrize("damage", ["link", "folder link", "length", "gone"])
def test_a_version_that_is_not_what_was_published_is_not_offered(published, systemd, damage):
    place = Path(published.place("ranker", 7), SHARD)
    if damage == "folder link":
        place.parent.rename(place.parents[2] / "elsewhere")
        place.parent.symlink_to(place.parents[2] / "elsewhere")
    elif damage == "length":
        place.write_bytes(b"short")
    else:
        place.rename(place.parents[2] / "elsewhere")
        if damage == "link":
            place.symlink_to(place.parents[2] / "elsewhere")
    assert refusal(systemd, published).endswith(" is not what was published; let another host offer it")
    assert systemd.calls == []


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "reader.example.com", "", "224.0.0.1"])
def test_what_is_no_address_of_a_host_is_refused(published, systemd, address):
    assert refusal(systemd, published, reader=address) == f"{address!r} is no address of a host; give one address"


def test_what_is_no_list_of_cpus_is_refused(published, systemd):
    assert refusal(systemd, published, cpus="x\n") == r"'x\\n' is no list of CPUs; write one such as 0-1,8"


def test_a_taken_port_is_refused_before_anything_is_started(published, systemd, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(systemd, published, port=port) == (
            f"port {port} of 127.0.0.1 cannot be listened on (Address already in use); give another port, or the "
            "address that this host has"
        )
    assert systemd.calls == []
    assert not folder.exists()


def test_a_service_that_does_not_start_is_said_and_leaves_nothing(published, systemd, folder):
    systemd.fails = "Failed to start\x1b transient service unit: no bus\n"
    assert refusal(systemd, published) == (
        r"version 7 cannot be offered (Failed to start\x1b transient service unit: no bus); see journalctl -u "
        "tfserving-peer.service"
    )
    assert not folder.exists()


# --- rate --------------------------------------------------------------------------------------------------


def addresses(output, status=0):
    return lambda arguments: (status, output, "")


@pytest.mark.parametrize(
    ("speed", "output", "found"),
    [
        ("10000", '[{},{"ifname":"eth0"}]', (625e6, "")),
        ("-1", '[{"ifname":"eth0"}]', (62.5e6, "nothing tells how fast eth0 is, so it counts as 1 Gbit/s")),
        ("x", '[{"ifname":"eth0"}]', (62.5e6, "nothing tells how fast eth0 is, so it counts as 1 Gbit/s")),
        ("10000", "[{}]", (62.5e6, "nothing tells how fast 10.0.0.1 is, so it counts as 1 Gbit/s")),
        ("10000", "nonsense", (62.5e6, "nothing tells how fast 10.0.0.1 is, so it counts as 1 Gbit/s")),
        ("10000", '{"ifname":"eth0"}', (62.5e6, "nothing tells how fast 10.0.0.1 is, so it counts as 1 Gbit/s")),
        ("10000", '[{"ifname":"../eth0"}]', (62.5e6, "nothing tells how fast 10.0.0.1 is, so it counts as 1 Gbit/s")),
    ],
)
def test_a_holder_may_use_a_share_of_its_interface(tmp_path, speed, output, found):
    write_tree(tmp_path, {"sys/class/net/eth0/speed": f"{speed}\n".encode()})
    assert rate.of_share(addresses(output), Tree(str(tmp_path)), "10.0.0.1", 0.5) == found


def test_a_host_without_ip_counts_as_slow(tmp_path):
    assert rate.of_share(addresses("", 127), Tree(str(tmp_path)), "10.0.0.1", 1)[0] == 125e6
