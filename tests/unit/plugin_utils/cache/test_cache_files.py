# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a gateway with a cache, read by the programs of Debian 12 and 13 themselves."""

from __future__ import annotations

import re
from pathlib import Path

import gateway_cases as cases
import haproxies
import nginxes
import pytest
import varnishes
from cache_hosts import cache_command
from certificates import self_signed
from gateway_cases import LIVE, remembering

TWO = {
    "gpu-1": cases.host(
        1,
        cases.instance(models=["ranker", "a.b-c_d"], versions=[6, 7], labels={"stable": 6}),
        models=[
            {"name": "ranker", "versions": [6, 7], "cache": {**LIVE, "max_body_kb": 4096}},
            {"name": "a.b-c_d", "versions": [7], "cache": {**LIVE, "ttl_s": 5, "max_answer_kb": 1}},
        ],
    )
}
SHADOWED = remembering(wish={"ttl_s": 30})


@pytest.mark.parametrize("hosts", [TWO, SHADOWED], ids=["two models", "shadow"])
@pytest.mark.parametrize("version", haproxies.PACKAGES)
def test_haproxy_takes_the_configuration(tmp_path, version, hosts):
    config = cases.laid_down(cases.planned(hosts, version), tmp_path)
    assert haproxies.complaints(version, config) == ""


@pytest.mark.parametrize("version", [varnishes.BOOKWORM, varnishes.TRIXIE])
def test_varnish_takes_the_configuration(tmp_path, version):
    cases.laid_down(cases.planned(TWO), tmp_path)
    found = varnishes.complaints(version, tmp_path / "etc/tfserving-cache/answers.vcl", tmp_path / "work")
    assert "Error" not in found.replace("Cannot stat", "")


@pytest.mark.parametrize("version", [nginxes.BOOKWORM, nginxes.TRIXIE])
def test_nginx_takes_the_configuration(tmp_path, version):
    store = {"address": "10.0.0.9:6379", "tls_name": "redis.example.com", "password": "correct-horse"}
    store["ca"] = self_signed("redis.example.com")[0].decode()
    keys = {"gateway_cache_engine": "nginx", "gateway_cache_store": store}
    cases.laid_down(cases.planned(TWO, **keys), tmp_path, nginxes.places(version, tmp_path), **keys)
    assert nginxes.complaints(version, tmp_path) == ""
    config = tmp_path / "etc/tfserving-cache/nginx.conf"
    config.write_text(config.read_text().replace("server_tokens off;", "server_tokens perhaps;"))
    assert "perhaps" in nginxes.complaints(version, tmp_path)


def test_varnish_reads_its_configuration_at_all(tmp_path):
    wrong = tmp_path / "wrong.vcl"
    wrong.write_text("vcl 4.1;\nsub vcl_recv { return (perhaps); }\n")
    assert "perhaps" in varnishes.complaints(varnishes.BOOKWORM, wrong, tmp_path / "work")


def test_everything_that_the_store_keeps_has_a_limit(tmp_path):
    words = cache_command(cases.planned(TWO, gateway_cache_memory_mb=100), tmp_path)
    stores = [words[at + 1] for at, word in enumerate(words) if word == "-s"]
    assert stores == ["answers=malloc,100m", "Transient=malloc,32m"]


def test_the_store_listens_on_its_socket_alone(tmp_path):
    words = cache_command(cases.planned(TWO), tmp_path)
    assert [words[at + 1] for at, word in enumerate(words) if word == "-a"] == [
        f"store={tmp_path}/store.sock,HTTP,mode=666"
    ]
    assert words[words.index("-T") + 1] == "none"


def test_a_call_reaches_the_cache_behind_the_checks_of_its_caller():
    config = cases.files(cases.planned(TWO, gateway_tokens={"alice": "a" * 20}))["etc/haproxy/haproxy.cfg"]
    (frontend,) = re.findall(r"^frontend in_rest .*?(?=^\S)", config, re.MULTILINE | re.DOTALL)
    assert 0 < frontend.index("a valid bearer token is needed") < frontend.index("use_backend cache_")


def test_grpc_is_never_remembered():
    config = cases.files(cases.planned(TWO))["etc/haproxy/haproxy.cfg"]
    for frontend in re.findall(r"^frontend in_grpc.*?(?=^\S)", config, re.MULTILINE | re.DOTALL):
        assert "cache_" not in frontend


def test_the_places_of_the_cache_are_left_out_together():
    plan = cases.planned(SHADOWED)
    some = [path.relative_to(cases.TEMPLATES) for path in Path(cases.TEMPLATES).rglob("*.j2")]
    templates = {str(path).removesuffix(".j2") for path in some if "tfserving-" in path.as_posix()}
    templates -= {path for path in templates if "tfserving-cache" not in path and "tfserving-store" not in path}
    assert templates == {path for path in plan["exclude"] if path in templates or "cache" in path}
