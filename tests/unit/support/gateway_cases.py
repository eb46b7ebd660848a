# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fleets to plan gateways for, and the files that the role lays down for a plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.plan import gateway_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.settings import DEFAULTS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.templates.destinations import expansions, sources
from haproxies import TRIXIE
from repository import REPOSITORY

TEMPLATES = REPOSITORY / "roles/gateway/templates/host"
ETC = "/etc/haproxy/tfserving"
# The wish of a model whose answers are kept.
LIVE = {"ttl_s": 30, "shadow": False}


def instance(name: str = "ranker", models: Any = ("ranker",), **keys: Any) -> dict[str, Any]:
    """Return an instance's plan, as far as a gateway reads it; ``versions`` are those of all its models."""
    versions, labels = keys.pop("versions", [7]), keys.pop("labels", {})
    policy = {"specific": {"versions": list(versions)}}
    config = [
        {"name": model, "model_version_policy": policy, **({"version_labels": labels} if labels else {})}
        for model in models
    ]
    return {
        "name": name,
        "models": list(models),
        "ports": {"grpc": 8500, "rest": 8501},
        "threads": {"grpc": 33, "rest": 33},
        "batching": {"max_batch_size": 32, "num_batch_threads": 4},
        "objective_p99_ms": 100.0,
        "model_config": {"model_config_list": {"config": config}},
        "flags": {},
        **keys,
    }


def host(number: int, *instances: Any, **keys: Any) -> dict[str, Any]:
    """Return a serving host; with one usual instance unless others are given."""
    some = list(instances) or [instance()]
    models = [{"name": model, "versions": [6, 7]} for each in some for model in each["models"]]
    usual = {"address": f"10.0.0.{number}", "gate_port": 8490, "longest_call_s": 30}
    return {**usual, "instances": some, "models": models, **keys}


def fleet(count: int = 2, *instances: Any, **keys: Any) -> dict[str, Any]:
    """Return ``count`` equal hosts, ``gpu-1`` and so on."""
    return {f"gpu-{number}": host(number, *instances, **keys) for number in range(1, count + 1)}


def remembering(*instances: Any, wish: Any = LIVE, **keys: Any) -> dict[str, Any]:
    """Return a fleet with a host for each instance, whose model ranker has a wish for a cache."""
    return {
        f"gpu-{number}": host(number, each, models=[{"name": "ranker", "versions": [6, 7], "cache": wish}], **keys)
        for number, each in enumerate(instances or [instance(), instance()], start=1)
    }


def planned(hosts: Any = None, package: str = TRIXIE, **keys: Any) -> dict[str, Any]:
    """Return a gateway's plan; names with ``gateway_`` are settings."""
    settings = {name: keys.pop(name) for name in list(keys) if name in DEFAULTS or name == "gateway_unknown"}
    return gateway_plan(fleet() if hosts is None else hosts, settings, package, **{"gateway": "edge-1", **keys})


def refusal(hosts: Any = None, package: str = TRIXIE, **keys: Any) -> str:
    """Return the sentence that refuses a plan."""
    with pytest.raises(WishError) as caught:
        planned(hosts, package, **keys)
    return str(caught.value)


def backend(plan: Any, name: str) -> dict[str, Any]:
    """Return a backend of a plan."""
    (found,) = [each for each in plan["backends"] if each["name"] == name]
    return found


def files(plan: Any, **variables: Any) -> dict[str, str]:
    """Return the files of a plan by their path on the host."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    # Ansible's own filter; what it is used for here is a model's name.
    environment.filters["regex_escape"] = re.escape
    values = {**DEFAULTS, "ansible_managed": "x", "__gateway_plan": plan, **variables}
    result = {}
    for source in sources(str(TEMPLATES)):
        if not source.startswith(("etc/haproxy/", "etc/tfserving-cache/")):
            continue
        template = environment.from_string((TEMPLATES / source).read_text())
        for path, entries in expansions(source, {"error": plan["errors"]}):
            if path not in plan["exclude"]:
                result[path] = template.render(**values, **entries)
    return result


def laid_down(plan: Any, place: Path, replace: Any = (), **variables: Any) -> Path:
    """Write the files of a plan into a folder, for a process of this account, and return its configuration.

    ``replace`` are further pairs of texts.
    """
    config = place / "etc/haproxy/haproxy.cfg"
    for path, text in files(plan, **variables).items():
        for old, new in [
            (ETC, f"{place}{ETC}"),
            ("    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n", ""),
            ("/run/haproxy/admin.sock", f"{place}/admin.sock"),
            ("/var/lib/haproxy/tfserving-cache/", f"{place}/"),
            ("unix@/tfserving-cache/", f"unix@{place}/"),
            *replace,
        ]:
            text = text.replace(old, new)
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, newline="")
    return config
