# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What somebody who has taken over one server can reach: tried from its account, its group and its view of the host."""

from __future__ import annotations

import json

import pytest

# Prints what came of each attempt: "ok", or the word for the kernel's refusal.
ATTEMPTS = """
import ctypes, errno, json, os, socket, sys
wanted = json.loads(sys.argv[1])
def read(path):
    with open(path, "rb") as file:
        file.read(1)
def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
def attach(pid):
    if ctypes.CDLL(None, use_errno=True).ptrace(16, int(pid), None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
def memory(pid):
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    here = Piece(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    there = Piece(4096, 8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.process_vm_readv(int(pid), ctypes.byref(here), 1, ctypes.byref(there), 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
def signal(pid):
    os.kill(int(pid), 0)
def tcp(address):
    host, port = address.rsplit(":", 1)
    socket.create_connection((host, int(port)), timeout=5).close()
def udp(address):
    host, port = address.rsplit(":", 1)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (host, int(port)))
def group(gid):
    os.setgid(int(gid))
def attempt(how, what):
    try:
        globals()[how](what)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"
print(json.dumps([attempt(how, what) for how, what in wanted]))
"""
DENIED = {"EACCES", "EPERM", "ENOENT", "ESRCH"}
UNREACHABLE = {"EHOSTUNREACH", "EPERM", "ENETUNREACH"}


@pytest.fixture
def attempts():
    """Each attempt, and what came of it, from within an instance."""

    def run(instance, *wanted: tuple[str, str]) -> dict[tuple[str, str], str]:
        return dict(zip(wanted, instance.inside(ATTEMPTS, json.dumps(wanted)), strict=True))

    return run


def key(name: str) -> str:
    return f"/run/credentials/tfserving@{name}.service/ssl.config"


def test_every_server_has_an_account_of_its_own(host, ranker, digits):
    health = {
        int(host.check_output(f"systemctl show -P UID tfserving-health@{name}.service"))
        for name in ("ranker", "digits")
    }
    assert len({ranker.ids()[0], digits.ids()[0], *health}) == 4


def test_a_server_can_read_its_own_key_its_models_and_its_configuration(ranker, attempts):
    seen = attempts(
        ranker,
        ("read", key("ranker")),
        ("read", "/etc/tfserving/ranker/models.config"),
        ("read", "/etc/tfserving/ranker/monitoring.config"),
        ("read", "/srv/models/ranker/2/saved_model.pb"),
        ("read", "/proc/self/environ"),
        ("write", "/var/cache/tfserving/ranker/kept"),
        ("write", "/run/tfserving/ranker/written"),
    )
    assert set(seen.values()) == {"ok"}, seen


def test_the_models_are_for_the_servers_alone(host, ranker):
    file = host.file("/srv/models/ranker/2/saved_model.pb")
    assert (file.user, file.group, oct(file.mode)) == ("daemon", "model-servers", "0o640")
    assert host.run("runuser -u nobody -- test -r /srv/models/ranker/2/saved_model.pb").rc != 0


def test_a_server_that_was_taken_over_learns_nothing_of_the_other(ranker, digits, attempts):
    pid = str(digits.pid)
    wanted = [
        ("read", f"/proc/{pid}/environ"),
        ("read", f"/proc/{pid}/mem"),
        ("read", f"/proc/{pid}/maps"),
        ("read", f"/proc/{pid}/root/etc/passwd"),
        ("memory", pid),
        ("attach", pid),
        ("signal", pid),
        ("read", key("digits")),
        *(
            ("read", f"/etc/tfserving/{name}/{file}")
            for name in ("ranker", "digits")
            for file in ("ssl.config", "environment")
        ),
        ("read", "/var/cache/private/tfserving/digits"),
        ("write", "/var/cache/tfserving/digits/x"),
        ("write", "/run/tfserving/digits/x"),
        ("group", "0"),
        ("write", "/etc/tfserving/ranker/models.config"),
        ("write", "/srv/models/ranker/2/saved_model.pb"),
    ]
    seen = attempts(ranker, *wanted)
    assert set(seen.values()) <= DENIED | {"EROFS"}, seen


def test_the_record_of_the_plan_is_not_for_the_servers(ranker, attempts):
    assert (
        set(attempts(ranker, *(("read", f"/etc/tfserving/{name}") for name in ("plan.json", "plan.key"))).values())
        <= DENIED
    )


@pytest.fixture
def far(host):
    """Another host as this one sees it: 198.51.100.1, which tfserving_allow_to names, and .2, which nobody names."""
    network = "198.51.100"
    host.check_output("ip netns add far && ip link add near type veth peer name far netns far")
    host.check_output("ip addr add %s.254/24 dev near && ip link set near up && ip -n far link set far up", network)
    host.check_output("ip -n far addr add %s.1/24 dev far && ip -n far addr add %s.2/24 dev far", network, network)
    program = "import socket; server = socket.create_server(('', 80)); print(flush=True)\nwhile True: server.accept()"
    host.check_output("systemd-run --quiet --unit=far -p Type=exec ip netns exec far python3 -c %s", program)
    host.check_output(
        "timeout 120 sh -c 'until ip netns exec far ss -Hltn sport = :80 | grep -q .; do sleep 0.1; done'"
    )
    yield network
    # The link by itself: the kernel takes those of a deleted namespace away later, and the next test makes it anew.
    host.check_output("systemctl stop far.service; ip link delete near && ip netns delete far")


def test_a_server_reaches_its_own_host_and_whom_it_is_allowed_to_and_nobody_else(ranker, attempts, far):
    wanted = [
        ("tcp", f"{far}.2:80"),
        ("udp", f"{far}.2:53"),
        ("tcp", "169.254.169.254:80"),
        ("udp", "169.254.169.254:80"),
    ]
    seen = attempts(ranker, *wanted)
    assert set(seen.values()) <= UNREACHABLE, seen
    allowed = [("tcp", f"{far}.1:80"), ("udp", f"{far}.1:53"), ("tcp", "127.0.0.1:9501"), ("udp", "127.0.0.1:53")]
    seen = attempts(ranker, *allowed)
    assert set(seen.values()) == {"ok"}, seen


def test_the_rules_are_for_the_servers_and_for_nobody_else_on_the_host(host, far):
    host.check_output("python3 -c %s %s.2", "import socket, sys; socket.create_connection((sys.argv[1], 80), 5)", far)


def test_a_group_that_is_somebody_elses_is_refused_and_the_servers_go_on(site, host, ranker):
    pid = ranker.pid
    run = site(tfserving_group="shadow")
    assert run.status != 0
    assert (
        "tfserving_group: shadow comes with the system (id 42); leave tfserving_group out, or name a group that is the"
        " servers' alone"
    ) in run.message
    assert ranker.pid == pid
    assert ranker.ids()[1] == host.group("model-servers").gid


def test_an_account_that_is_there_is_not_taken_over_by_an_instance_of_its_name(site, host, ranker):
    pid = ranker.pid
    host.check_output("useradd --create-home tfhealth-digits")
    try:
        run = site()
    finally:
        host.check_output("userdel --remove tfhealth-digits")
    assert run.status != 0
    assert "tfserving_instances: digits would run as tfhealth-digits, which is an account of this host" in run.message
    assert ranker.pid == pid
