# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A refusal never repeats what may be secret."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import ids as release_ids
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bounds as wish_bounds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import logins as registry_logins
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles as role_wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import tls as tls_pair
from planner_cases import box, instance, model
from wish_cases import DIGEST, HTTP, problems

SECRET = "Tr0ub4dor"


AT_MODEL = [
    {"source": {**HTTP, "uri": f"htps://me:{SECRET}@h/x"}},
    {"source": {**HTTP, "uri": f"https://me:{SECRET}@h/x"}},
    {"source": {**HTTP, "uri": f"https://{SECRET}@[::1/x"}},
    {"source": {**HTTP, "uri": f"https://h/x?sig={SECRET}\n"}},
    {"source": {**HTTP, "uri": f"https://h/{{{SECRET}}}"}},
    {"source": {**HTTP, "uri": {"x": SECRET}}},
    {"source": {"type": "path", "uri": f"{SECRET}://x"}},
    {"source": {"type": "path", "uri": f"https:/me:{SECRET}@h/x"}},
    {"source": {"type": "path", "uri": f"https//{SECRET}@h/x"}},
    {"source": {"type": "path", "uri": f"me:{SECRET}@h:/x/{{version}}"}},
    {"source": {"type": "path", "uri": f"//me:{SECRET}@h/x"}},
    {"source": {**HTTP, "sha256": f"sha256:{SECRET}"}},
    {"source": f"https://{SECRET}@h/x"},
    {"source": {**HTTP, "headers": f"Authorization: Bearer {SECRET}"}},
    {"source": {**HTTP, "headers": [f"Authorization: Bearer {SECRET}"]}},
    {"source": {**HTTP, "headers": {"Authorization": f"Bearer {SECRET}\n"}}},
    {"source": {**HTTP, "headers": {"Authorization": [SECRET]}}},
    {"source": {**HTTP, "headers": {f"Authorization Bearer {SECRET}": None}}},
    {"source": {**HTTP, "header": {"Authorization": SECRET}}},
    {"source": {**HTTP, f"https://{SECRET}@h/x": None}},
    {"source": {"type": "mlflow", "uri": f"https://me:{SECRET}@h", "model": "x"}},
    {"source": {"type": "mlflow", "uri": f"https://h/?token={SECRET}", "model": "x"}},
    {"source": {"type": "mlflow", "uri": "https://h", "model": "x", "credentials": SECRET}},
    {"source": {"type": "mlflow", "uri": "https://h", "model": "x", "credentials": {"token": [SECRET]}}},
    {"source": {"type": "mlflow", "uri": "https://h", "model": "x", "credentials": {"token": f"{SECRET}\n"}}},
    {"source": {"type": "mlflow", "uri": "https://h", "model": "x", "credentials": {f"x={SECRET}": "y"}}},
    {
        "source": {
            "type": "mlflow",
            "uri": "https://h",
            "model": "x",
            "credentials": {"token": {"environment": f"${SECRET}"}},
        }
    },
    {"source": {"type": "mlflow", "uri": "https://h", "model": "x", "credentials": {"token": {SECRET: 1}}}},
    {"source": {"type": "s3", "uri": f"s3://key:{SECRET}@models/x/"}},
    {"source": {"type": "s3", "uri": "s3://models/x/", "endpoint": f"https://key:{SECRET}@h"}},
    {"source": {"type": "s3", "uri": "s3://models/x/", "credentials": {"secret_key": SECRET}}},
    {f"{SECRET}=1": 1},
    {"version": f"https://{SECRET}@h"},
    {"name": f"{SECRET}: x"},
    {"serve": {"labels": {f"{SECRET}!": 1}, "versions": [7]}},
    {"probe": f"Bearer {SECRET}"},
]
AT_INSTANCE = [
    {"environment": f"TOKEN={SECRET}"},
    {"environment": [f"TOKEN={SECRET}"]},
    {"environment": {f"TOKEN={SECRET}": None}},
    {"environment": {"TOKEN": {"a": SECRET}}},
    {"environment": {"TOKEN": f"{SECRET}\n"}},
    {"environment": {"TOKEN": f"{SECRET}\x1b"}},
    {"environment": {"TF_FORCE_GPU_ALLOW_GROWTH": SECRET}},
    {"environment": {"CUDA_VISIBLE_DEVICES": SECRET}},
    {"enviroment": {"TOKEN": SECRET}},
    {"flags": f"--x={SECRET}!"},
    {"flags": {f"--x={SECRET}": 1}},
    {"batching": {f"x={SECRET}": 1}},
]


@pytest.mark.parametrize("keys", AT_MODEL, ids=str)
def test_a_refused_model_never_repeats_what_may_be_secret(keys):
    found = problems([], [model(**keys)])
    assert found
    assert SECRET not in "\n".join(found)


@pytest.mark.parametrize("keys", AT_INSTANCE, ids=str)
def test_a_refused_instance_never_repeats_what_may_be_secret(keys):
    with pytest.raises(WishError) as refused:
        host_plan(box(0), [instance(**keys)], [model()], {"jemalloc": {"enabled": False}})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "entry"),
    [
        ("image", f"me:{SECRET}@registry.example/X:y@sha256:{DIGEST}"),
        ("image", f"me:{SECRET}@registry.example/x"),
        ("image", f"https://h/x?token={SECRET}@sha256:{DIGEST}"),
        ("image", f"x@{SECRET}:y"),
        ("image", {"a": SECRET}),
        ("archive", f"https://{SECRET}@h/x"),
        ("archive", {"uri": f"htps://{SECRET}@h/x", "sha256": DIGEST}),
        ("archive", {"uri": f"https://{SECRET}@[::1/x", "sha256": DIGEST}),
        ("archive", {"uri": "/x", "sha256": DIGEST, "binary": {"a": SECRET}}),
        ("archive", {"uri": "/x", "sha256": {"a": SECRET}}),
        ("archive", {f"https://{SECRET}@h/x": None}),
        ("archive", {"uri": f"https:/me:{SECRET}@h/x", "sha256": DIGEST}),
        ("archive", {"uri": f"https//{SECRET}@h/x", "sha256": DIGEST}),
        ("archive", {"uri": f"me:{SECRET}@h:/x", "sha256": DIGEST}),
        ("archive", 5),
        ("archive", {"uri": 5, "sha256": DIGEST}),
    ],
    ids=str,
)
def test_a_refused_release_never_repeats_what_may_be_secret(method, entry):
    with pytest.raises(WishError) as refused:
        release_ids.release("2.19.1", method, {"2.19.1": entry}, {"2.19.1": entry})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "credentials",
    [
        SECRET,
        [SECRET],
        {"h": SECRET},
        {"h": {"username": "a", "password": {"x": SECRET}}},
        {"h": {"username": f"{SECRET}:x", "password": "x"}},
        {"h": {"username": "a", "password": f"{SECRET}\n"}},
        {f"me:{SECRET}@h": {"username": "a", "password": "b"}},
        {5: {"username": "a", "password": "b"}},
    ],
    ids=str,
)
def test_refused_credentials_are_never_repeated(credentials):
    with pytest.raises(WishError) as refused:
        registry_logins.auths(credentials)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("key", [[SECRET], {"a": SECRET}, 5, f"{SECRET}", f"-----BEGIN {SECRET}", "\ud800", None])
def test_a_refused_key_is_never_repeated(key):
    with pytest.raises(WishError) as refused:
        tls_pair.check("x", key, "")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tfserving_apt_repository_uri", f"https://{SECRET}@mirror.example/apt"),
        ("tfserving_apt_key_url", f"https://mirror.example/key?token={SECRET}"),
        ("nvidia_driver_repository_uri", f"https://me:{SECRET}@mirror.example/apt"),
        ("tfserving_registry_mirrors", [f"me:{SECRET}@mirror.example"]),
        ("tfserving_apt_suite", f"stable\nSigned-By: {SECRET}!"),
        ("tfserving_release_root", f"/opt/{SECRET} x"),
    ],
)
def test_what_many_can_read_may_hold_no_secret(name, value):
    with pytest.raises(WishError) as refused:
        role_wishes.check({name: value})
    assert str(refused.value).startswith(name)
    assert SECRET not in str(refused.value)


def test_bounds_name_the_place_and_never_the_value():
    with pytest.raises(WishError) as refused:
        wish_bounds.check("x", {"a": [{f"{SECRET}=1": float("nan")}]})
    assert str(refused.value) == "x.a[0].(a key): is not a finite number; write a number that JSON knows"
