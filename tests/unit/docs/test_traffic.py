# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""docs/traffic.md says what the gateway answers, where it listens and which releases of HAProxy it trusts."""

from __future__ import annotations

import ipaddress
import re

import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import answers, frontends, settings, version, vrrp
from repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "traffic.md").read_text(encoding="utf-8")
CONFIGURATION = (REPOSITORY / "roles/gateway/templates/host/etc/haproxy/haproxy.cfg.j2").read_text(encoding="utf-8")

# grpc/status.h of gRPC.
NAMES = {
    4: "DEADLINE_EXCEEDED",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
ROWS = {
    int(code): (name, int(status), meaning)
    for code, name, status, meaning in re.findall(r"^\| (\d{3}) \| ([A-Z_]+) \((\d+)\) \| (.*) \|$", PAGE, re.MULTILINE)
}


def test_the_table_has_each_error_that_the_gateway_makes_and_401_of_tokens():
    made = {each["code"]: each["status"] for each in answers.errors()}
    assert {code: status for code, (_name, status, _meaning) in ROWS.items()} == {**made, 401: 16}
    assert all(NAMES[status] == name for name, status, _meaning in ROWS.values())


def test_words_in_the_table_are_those_that_callers_get():
    said = CONFIGURATION + "\n".join(each["text"] for each in answers.errors())
    for _name, _status, meaning in ROWS.values():
        for words in re.findall(r"`([^`]+)`", meaning):
            assert words in said or words.startswith("gateway_"), words


def test_ports_and_limits_are_the_defaults():
    assert settings.DEFAULTS["gateway_rest_port"] == 8080
    assert "8080 for REST (`gateway_rest_port`)" in PAGE
    assert f"so {8500 + frontends.DISTANCE} for 8500" in PAGE
    assert f"On 127.0.0.1:{settings.DEFAULTS['gateway_status_port']} there are" in PAGE
    assert f"`gateway_retries` ({settings.DEFAULTS['gateway_retries']})" in PAGE
    assert f"`gateway_max_connections` ({settings.DEFAULTS['gateway_max_connections']:,})" in PAGE
    assert f"`gateway_slowstart_s` ({settings.DEFAULTS['gateway_slowstart_s']})" in PAGE


def test_open_methods_are_named():
    for method in answers.METHODS:
        assert method.rpartition("/")[2] in PAGE


def test_releases_of_haproxy_are_those_that_the_plan_trusts():
    fixed = re.search(r"fixed in ([0-9., ]+) and 3\.0\)", PAGE)
    assert fixed
    told = {tuple(map(int, each.split("."))) for each in fixed[1].split(", ")}
    assert told == {(*branch, patch) for branch, patch in version._FIXED_IN.items()}
    assert not any(version.carries_grpc(one) for one in ((2, 4, 14), (2, 6, 12), (2, 8, 5)))
    assert version.carries_grpc((3, 0, 11))


def test_examples_of_access_are_taken():
    """Lookups and secrets stand for what an inventory would put there."""
    block = next(each for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "gateway_tokens" in each)
    pem = "-----BEGIN CERTIFICATE-----"
    text = re.sub(r"\"\{\{ lookup.*?\}\}\"|\"\{\{ vault_edge_key \}\}\"", f'"{pem}"', block)
    number = iter(range(10))
    given = yaml.safe_load(re.sub(r"\{\{ vault_\w+ \}\}", lambda _found: f"a-token-of-sixteen-{next(number)}", text))
    complete = settings.complete(given)
    assert {name: complete[name] for name in ("gateway_tls_client_names", "gateway_body_limit_mb")} == {
        "gateway_tls_client_names": ["web", "batch"],
        "gateway_body_limit_mb": 16,
    }
    assert complete["gateway_rate_limit"]["by"] == "caller"


def test_gateways_of_the_example_inventory_are_accepted():
    example = REPOSITORY / "inventories/example"
    given = yaml.safe_load((example / "group_vars/tfserving_gateways.yml").read_text(encoding="utf-8"))
    hosts = yaml.safe_load((example / "hosts.yml").read_text(encoding="utf-8"))
    gateways = {name: each["ansible_host"] for name, each in hosts["tfserving_gateways"]["hosts"].items()}
    first, second = (vrrp.instances(given["gateway_vips"], name, gateways) for name in gateways)
    assert [each["priority"] > 100 for each in first] == [True, False]
    assert [each["priority"] > 100 for each in second] == [False, True]
    assert settings.complete({name: value for name, value in given.items() if name != "gateway_vips"})
    serving = [each for rack in hosts["tfserving"]["children"].values() for each in rack["hosts"].values()]
    assert len({str(ipaddress.ip_address(each["ansible_host"])) for each in serving}) == 8


def test_fields_of_the_log_line_are_those_that_are_written():
    line = next(each for each in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if each.startswith("tfserving "))
    written = re.search(r"log_format = '([^']+)'", CONFIGURATION)
    assert written
    assert re.findall(r"(\w+)=", line) == ["protocol", *re.findall(r"(?:^| )(\w+)=", written[1])]
