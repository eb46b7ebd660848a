# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Inventories at random, and what has to hold for each: planned, rendered and read back, or refused in one sentence.

They begin as the example inventory with every documented variable in it, and are then bent: values of other types,
deletions, nesting, sizes, letters and secrets in any place. The tests run a few hundred of them, and
tools/fuzz_inventories.py runs many.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import packages as driver_packages
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import groups, page
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import text as report_text
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import checks as wish_fields
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import logins as registry_logins
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as policies
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles as role_wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import secrets as plan_secrets
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import tls as tls_pair
from hypothesis import strategies as st
from inventory_files import SECRET_FILES, Host, ViolationError, files
from planner_cases import KEY, box
from repository import REPOSITORY
from tls_pairs import pair

# No name, version or choice has such a sign, so that wherever this turns up, something was repeated that may be secret.
CANARY = "S3cr3t!Canary"
DIGEST = "3f" * 32
HOST = {"distribution": "Debian", "release": "12", "architecture": "x86_64", "kernel": "6.1.0-32-amd64"}

PEM = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"


@cache
def _options() -> dict[str, Any]:
    """Return every option of every role that is for users, by its name."""
    found: dict[str, Any] = {}
    for path in sorted(REPOSITORY.glob("roles/*/meta/argument_specs.yml")):
        found |= yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    handed_on = ("tfserving_plan_secrets", "tfserving_previous_plan")
    return {name: spec for name, spec in found.items() if not spec.get("required") and name not in handed_on}


@cache
def _documented() -> dict[str, Any]:
    """Return every variable with its default, or with something of its type."""
    samples = {"list": [], "dict": {}, "str": "", "bool": False, "int": 1, "path": "/srv/x", "float": 1.0}
    return {name: spec.get("default", samples.get(spec.get("type", "str"))) for name, spec in _options().items()}


RICH_MODEL = {
    "name": "rich",
    "source": {
        "type": "http",
        "uri": f"https://{CANARY}@models.example.com/r/{{version}}.tar?sig={CANARY}",
        "sha256": {3: DIGEST, 4: DIGEST},
        "headers": {"Authorization": f"Bearer {CANARY}"},
    },
    "versions": [3, 4],
    "serve": {"versions": [3, 4], "labels": {"stable": 3}},
    "keep": 3,
    "probe": {"instances": [[1.0, 2.0]], "signature_name": "serving_default", "expect": [[1.0]]},
    "memory_mb": 200,
}
PATH_MODEL = {
    "name": "plain",
    "source": {"type": "path", "uri": "/srv/models/plain", "remote": True},
    "version": "2",
    "serve": {"latest": 1},
}
REGISTRY_MODEL = {
    "name": "registered",
    "source": {
        "type": "mlflow",
        "uri": "https://mlflow.example.com",
        "model": "ranker",
        "alias": "champion",
        "credentials": {"token": CANARY},
    },
    "version": 8,
}
BUCKET_MODEL = {
    "name": "bucket",
    "source": {
        "type": "s3",
        "uri": "s3://models/ranker/{version}/",
        "endpoint": "https://minio.example.com:9000",
        "region": "eu-1",
        "path_style": True,
        "credentials": {"access_key": CANARY, "secret_key": {"environment": "SECRET"}},
    },
    "versions": [1, 2],
}
RICH_INSTANCE = {
    "name": "rich",
    "models": ["rich", "plain", "registered", "bucket"],
    "profile": "balanced",
    "slo_p99_ms": 80,
    "gpus": 0,
    "cpus": 4,
    "weight": 2,
    "ports": {"grpc": 8520, "rest": "8521"},
    "batching": {"max_batch_size": 16, "batch_timeout_micros": 500, "allowed_batch_sizes": [8, 16]},
    "flags": {"rest_api_timeout_in_ms": 20000, "grpc_channel_arguments": "grpc.max_concurrent_streams=64"},
    "environment": {"DB_URL": f"postgres://u:{CANARY}@db/x", "TOKEN": CANARY, "LEVEL": 2, "MALLOC_CONF": "narenas:2"},
}


@cache
def base() -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name in ("tfserving", "rack_b"):
        variables |= yaml.safe_load((REPOSITORY / f"inventories/example/group_vars/{name}.yml").read_text())
    variables.pop("fleet_serial")
    base = {**copy.deepcopy(_documented()), **variables}
    base["tfserving_models"] = [*base["tfserving_models"], RICH_MODEL, PATH_MODEL, REGISTRY_MODEL, BUCKET_MODEL]
    base["tfserving_instances"] = [*base["tfserving_instances"], RICH_INSTANCE]
    base["tfserving_archives"] = {"2.19.1": {"uri": f"https://{CANARY}@h/s.tar.gz?t={CANARY}", "sha256": DIGEST}}
    base["tfserving_registry_credentials"] = {"docker.io": {"username": "me", "password": CANARY}}
    base["kernel_tuning_sysctl"] = {"net.core.somaxconn": 4096, "vm.swappiness": None}
    base["host_plan_policy"] = {"poll_seconds": 5, "metrics_path": "/metrics", "memory": {"process_mb": 300}}
    base["tfserving_gate"] = "always"
    base["tfserving_tuned"] = {
        "rich": {
            "batching": {"num_batch_threads": 1},
            "flags": {"grpc_max_threads": 600},
            "measured": "2026-11-26: 812/s against 640/s",
        }
    }
    base["model_repository_headers"] = {"X-Token": CANARY}
    base["tfserving_tls_certificate"], base["tfserving_tls_key"] = pair()
    base["tfserving_tls_client_ca"] = base["tfserving_tls_certificate"]
    base["tfserving_allow_to"] = ["198.51.100.0/24", "2001:db8::/32"]
    base["kernel_tuning_modules"] = ["tcp_bbr"]
    base["kernel_tuning_cpu_latency_us"] = 50
    base["cpu_partition_extra_slices"] = ["kubepods.slice"]
    base["cpu_partition_boot"] = ["managed_irq", "nohz_full"]
    base["nvidia_driver_gpu_settings"] = [{"gpus": "all", "power_limit_w": 400, "graphics_clock_mhz": [600, 1500]}]
    base["nvidia_driver_mig"] = {
        "name": "halves",
        "devices": [{"devices": [0, 1], "mig-enabled": True, "mig-devices": {"3g.40gb": 2}}],
    }
    return base


# Mutations ------------------------------------------------------------------------------------------------------------


def _deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def _recursive() -> Any:
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 65535, 65536, 99999, 2**31, 2**62, 2**63, 10**400, -(10**50), 1e306, 5e-324,
    -0.0, 0.5, float("nan"), float("inf"), "", " ", "0", "1", "010", "1e3", "+1", " 1 ", "1_000", "\u0661", "abc",
    "true", "True", "yes", "auto", "keep", "a b", "a/b", "a:b", "../x", "/", "//", "/a/../b", "/a b", "/50%",
    "/a:b", "/a\\", "$HOME", "%n", "a\nb", "a\rb", "\x1b[2J", "a\0b", "\ud800", "\u2028", "\u202e", "na\u00efve",
    "\u6a21\u578b", "9" * 5000, "580.", "a: b", "- a", "#", "*", "=x", "\x85", "</title><script>", "localhost", "any",
    "x" * 300, "x" * 5000, "x" * 70_000, "/" + "a/" * 600, "https://[::1/x", "https://h:abc/x", "http://",
    "ftp://h/x", "file:///etc/passwd", "{version}", "{x}", "a\nExecStartPre=+/bin/touch /pwned", "';\"`", "{{ x }}",
    "10.0.0.0/8", "fe80::1%eth0", "10.0.0.0/255.0.0.0", "::ffff:1.2.3.4", [], {}, [[]], [{}], [None], [1, 1],
    ["a", "a"], {"a": 1}, {1: 2}, {"": ""}, {"a b": 1}, {"a\nb": 1}, _deep(40), _deep(3000), _recursive(),
    list(range(1500)), {str(number): number for number in range(1500)}, 10**5000,
]  # fmt: skip

SECRETS: list[Any] = [
    CANARY,
    f"Bearer {CANARY}",
    f"Bearer {CANARY}\n",
    f"https://{CANARY}@h/x",
    f"htps://me:{CANARY}@h/x",
    f"https://me:{CANARY}@[::1/x",
    f"https://h/x?token={CANARY}",
    PEM,
    [CANARY],
    [f"TOKEN={CANARY}"],
    {"TOKEN": CANARY},
    {f"TOKEN={CANARY}": None},
    {CANARY: CANARY},
    {"a": {"b": [CANARY]}},
    f"me:{CANARY}@registry.example/X@sha256:{DIGEST}",
]
KEYS = [
    "verion",
    "enviroment",
    "x",
    "a b",
    "",
    "TOKEN",
    f"TOKEN={CANARY}",
    f"https://{CANARY}@h/x",
    5,
    None,
    True,
    "a\nb",
]
OPERATIONS = (
    "odd", "odd", "odd", "odd", "secret", "secret", "delete", "key", "wrap", "copy", "text", "fit", "fit", "fit", "fit",
)  # fmt: skip

Place = tuple[Any, ...]


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield where anything stands."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*place, key)
        yield from _places(entry, (*place, key))


@cache
def _base_places() -> list[Place]:
    found = list(_places(base()))
    wishes = [place for place in found if place[0] in ("tfserving_models", "tfserving_instances")]
    # The wishes are where most can go wrong.
    return [*found, *wishes, *wishes]


def _at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def _bend(draw: st.DrawFn, variables: dict[str, Any]) -> None:
    place = draw(st.sampled_from(_base_places()))
    try:
        parent, value = _at(variables, place[:-1]), _at(variables, place)
    except (KeyError, IndexError, TypeError):
        return
    if not isinstance(parent, (dict, list)):
        return
    operation = draw(st.sampled_from(OPERATIONS))
    if operation == "delete":
        del parent[place[-1]]
    elif operation == "key" and isinstance(value, dict):
        value[draw(st.sampled_from(KEYS))] = _own(draw(st.sampled_from(ODD + SECRETS)))
    elif operation == "wrap":
        parent[place[-1]] = draw(st.sampled_from([[value], {"a": value}, [value, value], (value,)]))
    elif operation == "copy":
        parent[place[-1]] = _own(_at(base(), draw(st.sampled_from(_base_places()))))
    elif operation == "fit":
        parent[place[-1]] = draw(st.sampled_from(_fitting(place, value)))
    elif operation == "text":
        parent[place[-1]] = draw(st.text(max_size=20)) if draw(st.booleans()) else _as_text(value)
    else:
        parent[place[-1]] = _own(draw(st.sampled_from(SECRETS if operation == "secret" else ODD)))


def _fitting(place: Place, value: Any) -> list[Any]:
    """Return what could stand there as well: most of it is planned."""
    choices = _options().get(place[0], {}).get("choices") if len(place) < 3 else None
    if choices:
        return [*choices] if len(place) > 1 or not isinstance(value, list) else [[each] for each in choices]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, max(value - 1, 1), value * 2, 1, _as_text(value)]
    if isinstance(value, str):
        return [f"{value}x", value[:-1], value.upper(), value.replace(".", "-"), f"{value}/{{version}}"]
    if isinstance(value, list) and value:
        return [value[:1], value[1:], value[::-1], [*value, *_own(value)]]
    if isinstance(value, dict) and value:
        return [{key: each for key, each in value.items() if key != left_out} for left_out in value]
    return [value]


def _own(value: Any) -> Any:
    """Return a value that may be bent on without bending what it was drawn from."""
    try:
        return copy.deepcopy(value)
    except RecursionError:
        return value


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except (RecursionError, ValueError):  # nested without end; more digits than Python writes
        return "1"


@cache
def _pickled() -> bytes:
    # Several times as quick as a deep copy.
    return pickle.dumps(base())


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the variables of a host, bent in up to four places, mostly in one: it is planned more often then."""
    variables = pickle.loads(_pickled())
    variables["tfserving_install_method"] = draw(st.sampled_from(["image", "image", "archive", "apt"]))
    variables["tfserving_address_rules"] = draw(st.sampled_from(["systemd", "nftables"]))
    if variables["tfserving_install_method"] == "apt":
        del variables["tfserving_instances"][0]["gpus"]
    for _each in range(draw(st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 4]))):
        _bend(draw, variables)
    return variables


MACHINES = [box(), box(2), box(2, cores=4, nodes_per_socket=2)]


# What has to hold -----------------------------------------------------------------------------------------------------


def outcome(variables: dict[str, Any], topology: dict[str, Any], page_too: bool = False) -> tuple[str, dict[str, str]]:
    """Return ``planned`` with the files of the host, or ``refused`` with nothing. Anything else raises.

    ``page_too`` has the plan's page drawn and read as well, which takes longer than all the rest.
    """
    try:
        host = _planned(variables, topology)
    except WishError as refusal:
        _check_refusal(refusal)
        return "refused", {}
    secrets = [CANARY, *_key_lines(host.value("tfserving_tls_key"))]
    secret = [each for each in secrets if not _is_shown(each, variables)]
    _check_plan(host.plan, topology, secret, page_too)
    laid_down = files(host)
    for name, text in laid_down.items():
        _refuse_secrets(name, "" if name.endswith(SECRET_FILES) else text, secret)
    return "planned", laid_down


def _key_lines(key: str) -> list[str]:
    """Return the lines of a private key, of which none may turn up anywhere."""
    return [line for line in key.splitlines() if line and "-----" not in line]


def _refuse_secrets(name: str, text: str, secret: list[str]) -> None:
    for each in secret:
        if each in text:
            raise ViolationError(f"{name} shows a secret: {text[max(0, text.index(each) - 200) :][:300]}")


def _check_refusal(refusal: WishError) -> None:
    for each in getattr(refusal, "errors", [refusal]):
        sentence = WishError.__str__(each)
        if any(secret in sentence for secret in (CANARY, *_key_lines(base()["tfserving_tls_key"]))):
            raise ViolationError(f"a refusal repeats a secret: {sentence}")
        if not each.path or not each.problem or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", sentence):
            raise ViolationError(f"no single line with a path: {sentence!r}")
        if len(sentence) > 1000:
            raise ViolationError(f"a sentence of {len(sentence)} characters")


def _planned(variables: dict[str, Any], topology: dict[str, Any]) -> Host:
    def value(name: str) -> Any:
        found = variables.get(name)
        return wish_fields.plain(_documented().get(name) if found is None else found)

    # As validate.yml and plan.yml of host_plan do, in their order.
    role_wishes.check({name: each for name, each in variables.items() if name in _documented()}, _options())
    address_rules.check(
        value("tfserving_allow_from"),
        value("tfserving_rest_allow_from"),
        value("tfserving_address_rules"),
        value("tfserving_allow_to"),
    )
    certificate, key = value("tfserving_tls_certificate"), value("tfserving_tls_key")
    tls_pair.check(certificate, key, value("tfserving_tls_client_ca"))
    registry_logins.auths(value("tfserving_registry_credentials"))
    policy = _policy(value, topology)
    instances, models = value("tfserving_instances"), value("tfserving_models")
    plan = host_plan(topology, instances, models, policy, KEY)
    settings = policies.complete(policy)
    known = plan_secrets.secrets(read.read(instances, models, settings), KEY, settings)
    # As nvidia_driver does when its turn comes.
    wish = {
        key: value(f"nvidia_driver_{key}")
        for key in driver_packages.DEFAULTS
        if f"nvidia_driver_{key}" in _documented()
    }
    wish["fabric_manager"] = str(wish["fabric_manager"]).lower() == "true"
    driver = driver_packages.resolve(wish, HOST, [])
    gpus = [{**gpu, "index": str(number), "name": "NVIDIA H100"} for number, gpu in enumerate(topology["gpus"])]
    gpu_setting_wishes.wishes(value("nvidia_driver_gpu_settings"), gpus)
    return Host(plan, known, driver, gpus, value)


def _policy(value: Any, topology: dict[str, Any]) -> dict[str, Any]:
    kernel = {
        name.removeprefix("kernel_tuning_"): value(name)
        for name in _documented()
        if name.startswith("kernel_tuning_") and name not in ("kernel_tuning_state", "kernel_tuning_require_live")
    }
    allocator = {
        "enabled": value("tfserving_allocator") == "jemalloc",
        "preset": value("tfserving_allocator_preset"),
        "conf": value("tfserving_allocator_conf"),
    }
    return {
        "version": value("tfserving_version"),
        "install_method": value("tfserving_install_method"),
        "releases": {
            "root": value("tfserving_release_root"),
            "images": value("tfserving_images"),
            "archives": value("tfserving_archives"),
            "package": value("tfserving_apt_package"),
        },
        "tls": bool(value("tfserving_tls_certificate")),
        "address_rules": value("tfserving_address_rules"),
        "architecture": topology["architecture"],
        "paths": {"models": value("tfserving_model_root")},
        "kernel": kernel,
        "extra_slices": value("cpu_partition_extra_slices"),
        "tuned": value("tfserving_tuned"),
        "jemalloc": allocator,
        "gate": {"when": value("tfserving_gate"), "port": value("tfserving_gate_port")},
        "overrides": value("host_plan_policy"),
    }


# Shown on purpose: what requests, command lines and configuration hold is nobody's secret (docs/plan-schema.md).
_SHOWN = re.compile(r"\.(flags|probe|contract|batching)\b")
_SECRET = re.compile(r"\.(environment|headers|password|tfserving_tls_key)\b|model_repository_headers")


def _is_shown(secret: str, value: Any, place: str = "") -> bool:
    """Tell whether a secret stands where the plan shows things on purpose, and so is none."""
    if isinstance(value, dict):
        return any(_is_shown(secret, each, f"{place}.{key}") or secret in str(key) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return any(_is_shown(secret, each, place) for each in value)
    if not isinstance(value, str) or secret not in value:
        return False
    if _SHOWN.search(place):
        return True
    if _SECRET.search(place):
        return False
    address = re.match(rf"https?://({re.escape(secret)}@)?[^/]*/[^?]*(\?|$)", value) if "uri" in place else None
    return not (address and secret not in re.sub(r"\?.*|//[^/]*@", "", value))


def _check_plan(plan: dict[str, Any], topology: dict[str, Any], secret: list[str], page_too: bool) -> None:
    text = json.dumps(plan, allow_nan=False)
    if json.loads(text) != plan:
        raise ViolationError("the plan does not survive JSON")
    report = groups.read({"h": {"topology": topology, "plan": plan, "previous": plan}})
    shown = report_text.text(report)
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown):
        raise ViolationError("the plan's text acts on a terminal")
    _refuse_secrets("the plan", text, secret)
    _refuse_secrets("the plan's text", shown, secret)
    if page_too:
        drawn = page.page(groups.read({"h": {"topology": topology, "plan": plan, "previous": {}}}))
        _refuse_secrets("the plan's page", drawn, secret)
        _Page().feed(drawn)


class _Page(HTMLParser):
    """Reads a page as a browser does, and objects to what the template does not have."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if f"<{tag.lower()}" not in _page_template() or any(name.startswith("on") for name, _value in attrs):
            raise ViolationError(f"the plan's page has a tag that nobody wrote: {tag} {attrs}")


@cache
def _page_template() -> str:
    return (REPOSITORY / "templates/plan.html.j2").read_text().lower()
