# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where nginx keeps answers: the wish, the plan, and what of it no plan holds."""

from __future__ import annotations

import json

import gateway_cases as cases
import pytest
from gateway_cases import remembering

PASSWORD = "correct-horse-battery"
PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
SHARED = {"address": "10.0.0.9:6379", "tls_name": "redis.example.com", "password": PASSWORD, "ca": PEM}
COMMON = {"etc/tmpfiles.d/tfserving-cache.conf", "etc/systemd/system/tfserving-cache.service"}
NGINX = {"etc/tfserving-cache/nginx.conf", "etc/tfserving-cache/answers.lua"}
LOCAL = {"etc/tfserving-cache/redis.conf", "etc/systemd/system/tfserving-store.service"}
SECRETS = {"etc/tfserving-cache/store.secret", "etc/tfserving-cache/store-ca.pem"}
VARNISH = {"etc/tfserving-cache/answers.vcl"}


def planned(store=None, engine="nginx", hosts=None):
    return cases.planned(hosts or remembering(), gateway_cache_engine=engine, gateway_cache_store=store or {})


def refusal(store, engine="nginx", **keys):
    return cases.refusal(remembering(), gateway_cache_engine=engine, gateway_cache_store=store, **keys)


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({"engine": "varnish"}, COMMON | VARNISH),
        ({}, COMMON | NGINX | LOCAL),
        ({"store": {"address": "unix:/run/redis.sock"}}, COMMON | NGINX),
        ({"store": SHARED}, COMMON | NGINX | SECRETS),
        ({"hosts": remembering(wish={"ttl_s": 5})}, set()),
    ],
)
def test_each_engine_gets_its_own_files(keys, needed):
    everything = COMMON | NGINX | LOCAL | SECRETS | VARNISH
    assert everything - set(planned(**keys)["exclude"]) == needed


def test_no_plan_holds_the_password():
    plan = planned(SHARED)
    assert PASSWORD not in json.dumps(plan)
    assert plan["cache"]["store"]["has_password"]


def test_the_password_is_in_its_own_file_alone():
    files = cases.files(planned(SHARED), gateway_cache_store=SHARED)
    assert [path for path, text in files.items() if PASSWORD in text] == ["etc/tfserving-cache/store.secret"]


def test_another_store_is_another_configuration():
    plans = [planned(), planned(SHARED), planned(engine="varnish"), planned({**SHARED, "prefix": "other"})]
    assert len({plan["cache"]["generation"] for plan in plans}) == 4


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("unix:/run/redis/redis.sock", ("unix:/run/redis/redis.sock", 0)),
        ("127.0.0.1:6379", ("127.0.0.1", 6379)),
        ("[::1]:1", ("[::1]", 1)),
    ],
)
def test_addresses_are_taken_apart(address, found):
    store = planned({"address": address})["cache"]["store"]
    assert (store["address"], store["port"]) == found


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ({"prefix": "a"}, "gateway_cache_store.address: is missing; give unix:/PATH, or IP:PORT"),
        (
            {"address": "redis.example.com:6379"},
            "gateway_cache_store.address: is a string that is no address of a store",
        ),
        ({"address": "10.0.0.9"}, "gateway_cache_store.address: is a string that is no address of a store"),
        ({"address": "::1:6379"}, "gateway_cache_store.address: is a string that is no address of a store"),
        ({"address": "10.0.0.9:66000"}, "gateway_cache_store.address: is a string that is no address of a store"),
        ({"address": "10.0.0.9:6379", "password": "x"}, "gateway_cache_store.tls_name: is missing, and answers in"),
        ({"address": "10.0.0.9:6379", "tls_name": "x"}, "gateway_cache_store.password: is missing, and answers in"),
        ({**SHARED, "tls_name": None}, "gateway_cache_store.tls_name: is missing, and ca is set"),
        ({"address": "unix:/x", "user": "a"}, "gateway_cache_store.password: is missing, and user is set"),
        ({"address": "unix:/x", "password": f"{PASSWORD}\n"}, "gateway_cache_store.password: is a string; give up to"),
        ({"address": "unix:/x", "adress": "y"}, "gateway_cache_store.adress: is not a key of the store"),
        ({"address": "unix:/x", "prefix": '"'}, "gateway_cache_store.prefix: is a string"),
    ],
)
def test_stores_that_cannot_be_are_refused(store, message):
    said = refusal(store)
    assert said.startswith(message)
    assert PASSWORD not in said


def test_a_store_for_varnish_is_refused():
    assert refusal(SHARED, "varnish") == (
        "gateway_cache_store: is set, and varnish keeps answers in its own memory;"
        " set gateway_cache_engine to nginx, or leave it out"
    )


def test_a_redis_of_the_gateways_own_has_a_limit():
    assert (
        "maxmemory 100mb\nmaxmemory-policy allkeys-lru\n"
        in cases.files(cases.planned(remembering(), gateway_cache_engine="nginx", gateway_cache_memory_mb=100))[
            "etc/tfserving-cache/redis.conf"
        ]
    )
    assert refusal({}, gateway_cache_memory_mb=0).startswith(
        "gateway_cache_memory_mb: is 0, and a store without a limit"
    )
