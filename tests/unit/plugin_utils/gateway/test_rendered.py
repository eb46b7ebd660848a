# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Configurations of many kinds of plans, read by HAProxy itself, and held against what other versions know."""

from __future__ import annotations

import re
import socket
import subprocess
import threading

import gateway_cases as cases
import haproxies
import jinja2
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import answers, pollers
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.companion import MOST_LINE
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.pollers import Pollers
from haproxies import BOOKWORM, NOBLE, TRIXIE
from tls_pairs import pair

CERTIFICATE, KEY = pair()
JWT = {"algorithm": "ES256", "key": "", "issuer": "https://issuer.example/", "audience": "fleet"}
CONFIG = "etc/haproxy/haproxy.cfg"

ENCRYPTED = {"gateway_tls_certificate": CERTIFICATE, "gateway_tls_key": KEY}
GUARDED = {
    **ENCRYPTED,
    "gateway_tls_client_ca": CERTIFICATE,
    "gateway_tls_client_names": ["alice", "the robot"],
    "gateway_tokens": {"bob": "b" * 32},
    "gateway_rate_limit": {"requests": 100, "by": "caller"},
    "gateway_source_address": "10.0.0.250",
    "gateway_address": "fd00::1",
    "gateway_sticky_header": "x-user",
    "gateway_retries": 0,
    "gateway_body_limit_mb": 0,
}
MOVING = {"ranker": {"canary": ["gpu-1"], "control": ["gpu-2"], "permille": 50}}
TWO = (
    cases.instance("left", ["dense", "ranker"]),
    cases.instance("right", ["wide"], ports={"grpc": 8510, "rest": 8511}),
)
SERVER_TLS = {"gateway_server_ca": CERTIFICATE, "gateway_server_certificate": CERTIFICATE, "gateway_server_key": KEY}

OLD = {"host": "gpu-1", "instance": "ranker", "ports": {"grpc": 9000, "rest": 9001}, "models": {"ranker": [7]}}

PLANS = {
    "smallest": {},
    "without a log": {"gateway_log": ""},
    "guarded": GUARDED,
    "of IPv6": {
        "hosts": cases.fleet(1, address="fd00::7"),
        "gateway_source_address": "fd00::250",
        "gateway_status_address": "::1",
        "has_ipv6": True,
    },
    "roll-out": {"hosts": cases.fleet(4), "rollouts": MOVING},
    "old servers beside the new instances": {"gateway_adopted": [OLD], "gateway_adopted_share": 25},
    "old servers with TLS": {
        "hosts": cases.fleet(1, cases.instance(flags={"ssl_config_file": "x"})),
        "gateway_adopted": [{**OLD, "tls": True}],
        **SERVER_TLS,
    },
    "connections passed on whole": {"gateway_grpc_mode": "tcp", **ENCRYPTED},
    "connections passed on whole to servers with TLS": {
        "hosts": cases.fleet(1, cases.instance(flags={"ssl_config_file": "x"})),
        "gateway_grpc_mode": "tcp",
        **ENCRYPTED,
        **SERVER_TLS,
        "gateway_tls_client_ca": CERTIFICATE,
        "gateway_tls_client_names": ["alice"],
    },
    "one port for two instances": {
        "hosts": cases.fleet(2, *TWO),
        "gateway_grpc_ports": {"left": 9500, "right": 9500},
    },
    "two gateways": {"gateways": 2, "gateway": "edge-2.rack.example"},
    "versions apart": {
        "hosts": {"a": cases.host(1), "b": cases.host(2, cases.instance(versions=[7, 8], labels={"new": 8}))}
    },
    "watched from everywhere": {
        "readers": [f"2001:db8:aaaa:bbbb:cccc:dddd:{number:x}:0/112" for number in range(200)],
        "has_ipv6": True,
    },
    "servers with TLS": {"hosts": cases.fleet(1, cases.instance(flags={"ssl_config_file": "x"})), **SERVER_TLS},
    "followers": {"hosts": cases.fleet(102, cases.instance(models=["dense", "ranker"]))},
    "twelve models": {"hosts": cases.fleet(1, cases.instance(models=[f"m{number}" for number in range(12)]))},
}


def jwt_key():
    """Return a public key as PEM text."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def split(keys):
    """Return the arguments of a plan, and the variables that its templates read."""
    return dict(keys), {name: value for name, value in keys.items() if name.startswith("gateway_")}


def laid_down(tmp_path, package, keys):
    wanted, secrets = split(keys)
    return cases.laid_down(cases.planned(wanted.pop("hosts", None), package, **wanted), tmp_path, **secrets)


def config(package, keys):
    """Return a configuration without its comments."""
    wanted, secrets = split(keys)
    text = cases.files(cases.planned(wanted.pop("hosts", None), package, **wanted), **secrets)[CONFIG]
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


@pytest.mark.parametrize("package", haproxies.PACKAGES)
@pytest.mark.parametrize("name", PLANS)
def test_haproxy_is_content(tmp_path, package, name):
    assert haproxies.complaints(package, laid_down(tmp_path, package, PLANS[name])) == ""


def test_everybody_who_may_read_the_metrics_is_on_one_of_the_lines():
    words = [line.split() for line in config(TRIXIE, PLANS["watched from everywhere"]).splitlines()]
    named = [each for line in words if line[:3] == ["acl", "of_monitoring", "src"] for each in line[3:]]
    assert named == PLANS["watched from everywhere"]["readers"]


@pytest.mark.parametrize("package", [BOOKWORM, NOBLE, TRIXIE])
def test_haproxy_is_content_with_web_tokens(tmp_path, package):
    keys = {**GUARDED, "gateway_jwt": {**JWT, "key": jwt_key()}}
    assert haproxies.complaints(package, laid_down(tmp_path, package, keys)) == ""


def test_haproxy_is_not_content_with_everything(tmp_path):
    file = laid_down(tmp_path, TRIXIE, {})
    file.write_text(file.read_text().replace("max-spread-checks", "max-spread-cheques"))
    assert "max-spread-cheques" in haproxies.complaints(TRIXIE, file)


# What depends on the version, and the first that documents it (doc/configuration.txt of the tags v2.4.0, v2.6.0, v2.8.0
# and v3.0.0): a release of that branch may know more than its first one, and another may be installed.
SINCE = {
    r"tune\.h2\.(be|fe)\.": (2, 8),
    r"\bjwt_(verify|header_query|payload_query)\b": (2, 6),
    r"\bhttp_auth_bearer\b": (2, 6),
    r"\bset-var-fmt\b": (2, 6),
    r"\bclose-spread-time\b": (2, 6),
    r"\bbe2dec\b": (2, 6),
    r"\bset-retries\b": (3, 2),
    r"\bstats-file\b|\bguid\b|\bcrt-store\b": (3, 0),
    r"\binit-state\b": (3, 1),
    r"\bhash-key\b|\blog-profile\b": (3, 1),
    r"^defaults .*\n(?:    .*\n)*?    http-(?:request|response|after-response) ": (2, 6),
}


@pytest.mark.parametrize("package", haproxies.PACKAGES)
@pytest.mark.parametrize("name", PLANS)
def test_no_keyword_is_newer_than_the_version(package, name):
    text = config(package, PLANS[name])
    version = tuple(map(int, package.split(".")[:2]))
    newer = [pattern for pattern, since in SINCE.items() if since > version and re.search(pattern, text, re.MULTILINE)]
    assert newer == []


@pytest.mark.parametrize(
    ("keys", "addresses"),
    [
        ({}, ["*:8080"]),
        ({"has_ipv6": True}, ["*:8080", "[::]:8080 v6only"]),
        ({"has_ipv6": True, "gateway_address": "10.0.0.9"}, ["10.0.0.9:8080"]),
        ({"has_ipv6": True, "gateway_address": "::"}, ["[::]:8080"]),
    ],
)
def test_callers_of_both_families_are_heard_where_the_gateway_has_both(keys, addresses):
    found = config(TRIXIE, keys)
    assert re.findall(r"bind (\S+:8080.*)", found) == addresses
    grpc = [address.replace("8080", "9500") for address in addresses]
    assert re.findall(r"bind (\S+:9500(?: v6only)?)", found) == grpc


def test_a_source_of_ipv6_has_no_port():
    assert " source [fd00::1:250]\n" in config(TRIXIE, {"gateway_source_address": "fd00::1:250"})


def test_connections_that_are_decrypted_here_are_encrypted_towards_servers_with_tls():
    keys = PLANS["connections passed on whole to servers with TLS"]

    def encrypted(**others):
        servers = re.findall(r"^    server .*:8500 .*", config(TRIXIE, {**keys, **others}), re.MULTILINE)
        assert servers
        return [" ssl alpn h2 verify required ca-file " in line for line in servers]

    assert encrypted() == [True]
    alone = dict.fromkeys(("gateway_tls_certificate", "gateway_tls_key", "gateway_tls_client_ca"), "")
    assert encrypted(**alone, gateway_tls_client_names=[]) == [False]


@pytest.mark.parametrize(("address", "listening"), [("", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_keepalived_is_told_of_a_haproxy_that_answers(tmp_path, address, listening):
    family = socket.AF_INET6 if ":" in listening else socket.AF_INET
    with socket.create_server((listening, 0), family=family) as server:
        port = server.getsockname()[1]
        plan = cases.planned(gateway_status_address=address, gateway_status_port=port)
        script = tmp_path / "gateway-health"
        template = (cases.TEMPLATES / "usr/local/lib/tfserving-fleet/gateway-health.j2").read_text()
        script.write_text(jinja2.Template(template).render(ansible_managed="x", __gateway_plan=plan))

        def answer(status: str) -> None:
            caller, _address = server.accept()
            with caller, caller.makefile("rb") as request:
                # What is unread at the end resets the connection.
                while request.readline().strip():
                    pass
                caller.sendall(f"HTTP/1.0 {status}\r\n\r\n".encode())

        for status, code in (("200 OK", 0), ("503 Service Unavailable", 1)):
            threading.Thread(target=answer, args=(status,), daemon=True).start()
            assert subprocess.run(["bash", str(script)], check=False).returncode == code


def test_lines_stay_within_haproxys_words():
    # MAX_LINE_ARGS of HAProxy.
    for keys in PLANS.values():
        assert max(len(line.split()) for line in config(TRIXIE, keys).splitlines()) <= 64


def test_what_loses_calls_is_nowhere():
    commands = config(TRIXIE, {})
    assert "on-marked-down" not in commands
    assert "close-spread-time" not in commands
    assert "    max-spread-checks 1ms\n" in commands
    assert "    retry-on conn-failure empty-response\n" in commands
    assert all("check-proto h1" in line for line in commands.splitlines() if line.startswith("    server "))
    assert "ungrpc" not in commands


def test_the_gate_is_the_first_step_of_every_check():
    text = config(TRIXIE, {})
    for part in re.findall(r"^backend (?:rest|grpc)_.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
        checks = re.findall(r"    http-check (.*)", part)
        assert checks[0] == "connect port 8490 proto h1"
        assert "/gate/" in checks[1]
        assert checks[2] == "expect status 200"


LONG = cases.instance("i" * 64, ["m" * 128])
ASKING = {
    **PLANS,
    "the longest names": {
        "hosts": {
            "a" * 200: cases.host(1, LONG),
            "b" * 200: cases.host(2, {**LONG, **cases.instance("i" * 64, ["m" * 128], labels={"l" * 128: 7})}),
        },
        "gateway": "g" * 200,
    },
    "as many models as are asked for one by one": {
        "hosts": cases.fleet(1, cases.instance(models=[f"m{number:03}" for number in range(200)]))
    },
}


@pytest.mark.parametrize("name", ASKING)
def test_the_companion_understands_and_keeps_whatever_a_gateway_asks(name):
    keys = ASKING[name]
    known, asked = {}, {}
    for part in re.findall(r"^backend (?:rest|grpc)_.*?(?=^\S|\Z)", config(TRIXIE, keys), re.MULTILINE | re.DOTALL):
        if ".old 10." in part:
            # Old servers have no companion.
            assert "gate" not in part
            continue
        backend, (uri,) = part.split()[1], re.findall("uri-lf '([^']*)'", part)
        for server, line in re.findall(r'    server (\S+) .* agent-send "([^"]*)\\n"', part):
            host, _dot, instance = server.rpartition(".")
            request = f"GET {uri.replace('%[srv_name,field(-1,.)]', instance)} HTTP/1.0"
            assert len(line) <= MOST_LINE
            for question in (line, request):
                known.setdefault(host, Pollers()).told(answers.parsed(question), "10.0.0.250", True, 1.0)
            asked.setdefault((host, instance), set()).add(f"{keys.get('gateway', 'edge-1')} {backend}/{server}")
    assert asked
    for (host, instance), words in asked.items():
        assert set(pollers.asking(known[host].page(1.0), instance)) == words


def test_files_that_nothing_uses_are_left_out_and_secrets_stay_in_their_own():
    of_cache = {path for path in cases.planned()["exclude"] if "cache" in path or "store" in path}
    assert set(cases.planned()["exclude"]) - of_cache == {
        f"etc/haproxy/tfserving/{name}"
        for name in (
            *("tls.pem", "client-ca.pem", "client-names.lst", "tokens.map", "jwt.pem", "server-ca.pem", "server.pem"),
        )
    }
    files = cases.files(cases.planned(**GUARDED), **GUARDED)
    holders = [path for path, text in files.items() if "b" * 32 in text or KEY.splitlines()[1] in text]
    assert sorted(holders) == ["etc/haproxy/tfserving/tls.pem", "etc/haproxy/tfserving/tokens.map"]
    assert "b" * 32 not in str(cases.planned(**GUARDED))
    assert KEY.splitlines()[1] not in str(cases.planned(**GUARDED))
