# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Servers out of an image: what runs, sealed in what, and how they come and go while somebody asks all the time."""

from __future__ import annotations

import hashlib
import json
import os
import random
from contextlib import contextmanager
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["ansible://tfserving"]

RELEASES = "/opt/tfserving/releases"
LAB = Path(os.environ["FLEET_CACHE"]) / "lab"
DIGESTS = json.loads((LAB / "images/digests.json").read_text())
REPOSITORY = "molecule-registry:5000/tensorflow/serving"
# Each takes half a minute, and all but the first are long tests; LAB_KILLS=20 asks for more.
KILLS = int(os.environ.get("LAB_KILLS", "2"))

# Asks one instance and, where that fails, the other, as a gateway would. What it saw is printed when it is told to end.
PROBES = """
import json, signal, sys, time, urllib.request
body = sys.argv[1].encode()
seen = {"asked": 0, "refused_by_both": 0, "longest_gap_s": {"8501": 0.0, "8511": 0.0}}
last = {}
running = True
def end(*_):
    global running
    running = False
signal.signal(signal.SIGTERM, end)
def ask(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/digits:predict", body, 5) as answer:
            ok = "predictions" in json.loads(answer.read())
    except (OSError, ValueError):
        ok = False
    now = time.monotonic()
    if ok:
        gap = now - last.get(port, now)
        seen["longest_gap_s"][port] = max(seen["longest_gap_s"][port], gap)
        last[port] = now
    return ok
while running:
    seen["asked"] += 1
    if not any([ask("8501"), ask("8511")]):
        seen["refused_by_both"] += 1
    time.sleep(0.02)
print(json.dumps(seen), flush=True)
"""


@pytest.fixture(scope="module")
def registry_host():
    return testinfra.get_host("docker://molecule-registry")


@pytest.fixture
def probes(host, known):
    """Ask both instances all the time; the block gets what was seen when it ends."""

    @contextmanager
    def run():
        seen: dict = {}
        request = json.dumps({"instances": known("digits")["request"]["instances"][:1]})
        host.run("systemctl reset-failed probes.service")
        host.check_output(
            "systemd-run --unit=probes --quiet -p StandardOutput=truncate:/run/probes.json python3 -c %s %s",
            PROBES,
            request,
        )
        try:
            yield seen
        finally:
            host.check_output("systemctl stop probes.service")
            seen.update(json.loads(host.file("/run/probes.json").content_string.splitlines()[-1]))

    return run


def release(version: str) -> str:
    return f"{RELEASES}/serving@sha256-{DIGESTS[version].removeprefix('sha256:')[:16]}"


def answers(instance, known) -> bool:
    sample = known("digits")
    rows = instance.predict("digits", sample["request"])["predictions"]
    return [row["class_id"] for row in rows] == [row["class_id"] for row in sample["answers"]["1"]["predictions"]]


def version_of(instance) -> str:
    """The version that the running process came with, wherever its root is."""
    path = "usr/lib/tfs-reference/VERSION"
    root = instance.show("RootDirectory")
    if not root:
        root = instance.command_of_unit().split("/usr/bin/")[0]
    return instance.host.check_output("cat %s/%s", root, path)


def test_the_server_runs_in_the_tree_of_its_image_and_is_started_directly(host, first, second):
    for instance in (first, second):
        assert instance.show("RootDirectory") == f"{release('2.19.1')}/rootfs"
        # The image's own entry script runs the server as a child, and keeps stop signals to itself.
        assert "entrypoint" not in host.check_output("ps -o args= -p %s", str(instance.pid))
        assert int(host.check_output("ps -o ppid= -p %s", str(instance.pid))) == 1


def test_both_instances_give_the_known_answer(first, second, known):
    assert answers(first, known)
    assert answers(second, known)


def test_the_status_shows_the_version_that_the_program_inside_of_the_image_tells(site):
    shown = site(playbook="playbooks/status.yml")
    assert shown.status == 0
    rows = [line for line in shown.output.splitlines() if "first" in line or "second" in line]
    assert len([row for row in rows if "2.19.1" in row]) == 2


def test_jemalloc_is_mapped_inside_of_the_image(first):
    assert "libjemalloc.so.2" in first.process("maps")


def test_the_account_has_no_place_to_write_but_its_own(host, first):
    user, group = first.ids()
    assert group == host.group("tfserving").gid
    inside = f"nsenter --target {first.pid} --mount --root --wd --setgid {group} --setuid {user} --"
    assert host.run(f"{inside} /usr/bin/env touch /usr/x").rc != 0
    assert host.run(f"{inside} /bin/sh -c 'ls /home /root /srv'").stdout == ""


def test_credentials_of_the_registry_do_not_stay(host):
    assert host.check_output("find %s -maxdepth 1 -type f -name '.*' ! -name .lock", RELEASES) == ""
    assert host.run("grep -rlF %s /etc /opt --include=*.json", "auths").stdout == ""


def test_the_health_unit_says_that_the_models_are_available(host, first):
    assert host.service("tfserving-health@first.service").is_running
    assert "digits 1 available" in host.check_output(
        "systemctl show -p StatusText --value tfserving-health@first.service"
    )


HANDSHAKE = """
import socket, ssl, sys
context = ssl.create_default_context(cafile="/etc/tls/ca.crt")
context.set_alpn_protocols(["h2"])
if sys.argv[1] == "client":
    context.load_cert_chain("/etc/tls/client.crt", "/etc/tls/client.key")
with context.wrap_socket(socket.create_connection(("127.0.0.1", 8500)), server_hostname="molecule-runtime") as tls:
    # With TLS 1.3 a server's refusal comes after the handshake: an HTTP/2 server speaks first, with its settings.
    print(tls.selected_alpn_protocol(), len(tls.recv(9)))
"""


def test_grpc_speaks_tls_and_lets_in_only_clients_of_the_authority(host, first):
    certificates = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "certificates"
    host.check_output("mkdir -p -m 0700 /etc/tls")
    for name in ("ca.crt", "client.crt", "client.key"):
        host.check_output("printf %%s %s > /etc/tls/%s", (certificates / name).read_text(), name)
    assert host.check_output("python3 -c %s client", HANDSHAKE).strip() == "h2 9"
    assert host.run("python3 -c %s nobody", HANDSHAKE).stdout.strip() != "h2 9"
    file = host.file("/etc/tfserving/first/ssl.config")
    assert (oct(file.mode), file.user, file.group) == ("0o600", "root", "root")


def test_a_new_key_restarts_both_one_after_the_other_and_is_not_shown(
    site, host, first, second, probes, known, tmp_path
):
    certificates = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "certificates"
    key = (certificates / "molecule-registry.key").read_text()
    other = {
        "tfserving_tls_certificate": (certificates / "molecule-registry.crt").read_text(),
        "tfserving_tls_key": key,
    }
    with probes() as seen:
        run = site("--diff", **other)
        assert run.status == 0, run.output
        assert key.splitlines()[1] not in run.output
        run = site("--diff")
        assert run.status == 0, run.output
    assert seen["refused_by_both"] == 0
    assert answers(first, known)


# ---------------------------------------------------------------------------- what goes wrong on the way to 2.20.0


def pinned(digest: str, address: str = "molecule-registry:5000") -> dict:
    return {"tfserving_version": "2.20.0", "tfserving_images": {"2.20.0": f"{address}/tensorflow/serving@{digest}"}}


def goes_on(host, first, second, known, pids) -> None:
    """The old release serves as if nothing had been, and nothing unfinished is left."""
    assert (first.pid, second.pid) == pids
    assert answers(first, known)
    assert answers(second, known)
    assert not host.file(f"{release('2.20.0')}/release.json").exists
    assert host.check_output("find %s -maxdepth 1 -name '.staging*'", RELEASES) == ""


@pytest.mark.long
def test_a_digest_that_the_registry_does_not_have_is_refused(site, host, first, second, known):
    pids = first.pid, second.pid
    run = site(**pinned("sha256:" + "0" * 64))
    assert run.status != 0
    assert "tfserving_images.2.20.0: the image cannot be fetched from molecule-registry:5000" in run.message
    assert "check the repository and the digest" in run.message
    goes_on(host, first, second, known, pids)


def test_a_reference_without_a_digest_is_refused_before_the_host_is_asked(site, first, second):
    run = site(tfserving_version="2.20.0", tfserving_images={"2.20.0": f"{REPOSITORY}:latest"})
    assert run.status != 0
    assert "tfserving_images.2.20.0: names no digest" in run.message


def test_a_tampered_blob_is_noticed(site, host, registry_host, first, second, known):
    pids = first.pid, second.pid
    blobs = "/var/lib/docker-registry/docker/registry/v2/blobs/sha256"
    manifest = json.loads(registry_host.check_output("cat %s/%s/%s/data", blobs, *split(DIGESTS["2.20.0"])))
    layer = f"{blobs}/{'/'.join(split(manifest['layers'][-1]['digest']))}/data"
    registry_host.check_output("cp -a %s /root/whole && printf x | dd of=%s bs=1 seek=200 conv=notrunc", layer, layer)
    try:
        run = site(**pinned(DIGESTS["2.20.0"]))
    finally:
        registry_host.check_output("cp -a /root/whole %s", layer)
    assert run.status != 0
    assert "tfserving_images.2.20.0: the image cannot be fetched" in run.message
    assert "digest" in run.message
    goes_on(host, first, second, known, pids)


def split(digest: str) -> tuple[str, str]:
    """As a registry stores a blob: by the first two digits, then by all."""
    digits = digest.removeprefix("sha256:")
    return digits[:2], digits


# Passes a few requests on, and is gone in the middle of the first large answer.
CUTTER = """
import socket, threading
left = 1_500_000
def pump(source, target, counted):
    global left
    while (chunk := source.recv(16384)):
        if counted:
            left -= len(chunk)
            if left < 0:
                import os
                os._exit(0)
        target.sendall(chunk)
server = socket.create_server(("", 5001))
while True:
    client, _ = server.accept()
    upstream = socket.create_connection(("127.0.0.1", 5000))
    threading.Thread(target=pump, args=(client, upstream, False), daemon=True).start()
    threading.Thread(target=pump, args=(upstream, client, True), daemon=True).start()
"""


@pytest.mark.long
def test_a_registry_that_goes_down_in_the_middle_leaves_nothing(site, host, registry_host, first, second, known):
    pids = first.pid, second.pid
    host.check_output(
        "cp -a /etc/containers/certs.d/molecule-registry:5000 /etc/containers/certs.d/molecule-registry:5001"
    )
    registry_host.check_output("systemd-run --unit=cutter --quiet python3 -c %s", CUTTER)
    password = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "registry-password").read_text().strip()
    login = {"molecule-registry:5001": {"username": "lab", "password": password}}
    run = site(**pinned(DIGESTS["2.20.0"], "molecule-registry:5001"), tfserving_registry_credentials=login)
    assert registry_host.run("systemctl is-active cutter.service").stdout.strip() != "active"
    assert run.status != 0
    assert "the image cannot be fetched from molecule-registry:5001" in run.message
    goes_on(host, first, second, known, pids)


@pytest.mark.long
def test_a_disk_that_is_full_leaves_nothing(site, host, first, second, known):
    pids = first.pid, second.pid
    host.check_output("mkdir -p /srv/small && mount -t tmpfs -o size=24m tmpfs /srv/small")
    try:
        run = site(**pinned(DIGESTS["2.20.0"]), tfserving_release_root="/srv/small/releases")
        assert host.check_output("ls -A /srv/small/releases") in ("", ".lock")
    finally:
        host.check_output("umount /srv/small")
    assert run.status != 0
    assert "free under /srv/small/releases" in run.message
    goes_on(host, first, second, known, pids)


# ------------------------------------------------------------------------------------------------- switches


def test_another_release_is_switched_to_one_instance_after_the_other(site, host, first, second, probes, known):
    with probes() as seen:
        run = site(tfserving_version="2.20.0")
    assert run.status == 0, run.output
    assert version_of(first) == version_of(second) == "2.20.0"
    assert seen["asked"] > 20
    assert seen["refused_by_both"] == 0
    assert host.file(f"{release('2.19.1')}/release.json").exists
    assert not site(tfserving_version="2.20.0").changed


def test_a_release_that_does_not_serve_is_switched_back_by_itself(site, host, first, second, probes, known, tmp_path):
    broken = tmp_path / "tensorflow_model_server"
    broken.write_text("#!/bin/sh\necho 'cannot serve' >&2\nexit 1\n")
    wishes = {"tfserving_install_method": "archive", "tfserving_version": "2.19.0"}
    with probes() as seen:
        run = site(**wishes, tfserving_archives={"2.19.0": {"uri": str(broken), "sha256": sha256(broken)}})
    assert run.status != 0
    assert "The previous configuration is back in force: first and second serve as before this run." in run.message
    assert seen["refused_by_both"] == 0
    assert version_of(first) == version_of(second) == "2.20.0"
    assert answers(first, known)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_going_back_needs_no_registry(site, host, registry_host, first, second, probes, known):
    registry_host.check_output("systemctl stop docker-registry")
    try:
        with probes() as seen:
            run = site(playbook="playbooks/server_rollback.yml")
    finally:
        registry_host.check_output("systemctl start docker-registry")
    assert run.status == 0, run.output
    assert version_of(first) == version_of(second) == "2.19.1"
    assert seen["refused_by_both"] == 0
    assert answers(second, known)


def test_apt_is_one_variable_apart(site, host, first, second, probes, known):
    with probes() as seen:
        run = site(tfserving_install_method="apt")
    assert run.status == 0, run.output
    assert first.show("RootDirectory") == ""
    assert f"{RELEASES}/tensorflow-model-server@2.19.1/rootfs" in first.command_of_unit()
    assert seen["refused_by_both"] == 0
    assert answers(first, known)
    assert answers(second, known)


def test_an_archive_is_one_variable_apart_and_old_releases_go(site, host, first, second, known, tmp_path):
    host.check_output("tar -C %s/tensorflow-model-server@2.19.1/rootfs -czf /tmp/server.tar.gz usr", RELEASES)
    packed = tmp_path / "server.tar.gz"
    packed.write_bytes(host.file("/tmp/server.tar.gz").content)
    entry = {"uri": str(packed), "sha256": sha256(packed), "binary": "usr/bin/tensorflow_model_server"}
    run = site(tfserving_install_method="archive", tfserving_archives={"2.19.1": entry})
    assert run.status == 0, run.output
    assert "tensorflow_model_server@sha256-" in first.command_of_unit()
    assert answers(first, known)
    kept = host.check_output("ls %s", RELEASES).split()
    assert len(kept) == 2, kept


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=pytest.mark.long if number else ()) for number in range(KILLS)]
)
def test_a_run_that_is_killed_anywhere_is_made_good_by_the_next(site, host, first, second, probes, known, number):
    version = ["2.20.0", "2.19.1"][number % 2]
    moment = random.uniform(1, 25)
    with probes() as seen:
        site(kill_after=moment, tfserving_version=version)
        run = site(tfserving_version=version)
    assert run.status == 0, f"killed after {moment:.1f} s: {run.output}"
    assert version_of(first) == version_of(second) == version
    assert seen["refused_by_both"] == 0, f"killed after {moment:.1f} s: {seen}"
    assert answers(first, known)
    assert answers(second, known)


def test_after_all_that_a_plain_run_ends_where_it_began(site, host, first, known):
    assert site().status == 0
    run = site()
    assert run.status == 0
    assert not run.changed, run.output
    assert version_of(first) == "2.19.1"
    assert first.show("NRestarts") == "0"
