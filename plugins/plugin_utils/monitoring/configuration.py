# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of Prometheus; no field that 2.31 does not know."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from .sizes import INSTANCE, MODEL, SCRAPE_S

FOLDER = "/etc/prometheus/tfserving"
TARGETS = f"{FOLDER}/targets"
RULES = f"{FOLDER}/rules"
CONSOLES = f"{FOLDER}/consoles"
PASSWORD_FILE = f"{FOLDER}/password"
CA_FILE = f"{FOLDER}/ca.pem"
# The jobs whose targets are files.
JOBS = ("tfserving", "node", "haproxy", "prometheus", "alertmanager", "dcgm")
# Jobs of which the role itself makes TLS and accounts.
GUARDED = ("node", "prometheus", "alertmanager")

REASONS = {
    "sample_limit.tfserving": "four times what the models of the largest instance take: an endless growth ends as"
    " an alert, not as a full disk",
    "sample_limit.node": "twice a host of 1024 CPUs",
    "body_size_limit": "a page of the largest instance has 1 MB; a server that has gone mad must not fill the memory",
    "scrape_timeout": "a page takes milliseconds; what takes 10 s hangs, and the next question comes after 15 s",
    "metric_relabel.tfserving": "the server takes the label model_name from the caller's URL, so anybody can make"
    " series; those of no plan are dropped and not folded into one, which would give duplicates",
}


def configuration(
    settings: Mapping[str, Any], jobs: Collection[str], models: Collection[str], largest: int, alerting: bool = True
) -> dict[str, Any]:
    """Return prometheus.yml as data.

    :param settings: as settings.complete() returns them.
    :param jobs: the jobs that have targets.
    :param models: the names of all models.
    :param largest: the number of models of the instance that has most.
    """
    known = guard(settings)
    alertmanagers = {"file_sd_configs": _files("alertmanager"), **known}
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_S}s",
            "scrape_timeout": "10s",
            "evaluation_interval": f"{SCRAPE_S}s",
            "external_labels": {"fleet": settings["monitoring_fleet"]},
        },
        "rule_files": [f"{RULES}/*.yml"],
        **({"alerting": {"alertmanagers": [alertmanagers]}} if alerting else {}),
        "scrape_configs": [_job(job, known if job in GUARDED else {}, models, largest) for job in JOBS if job in jobs],
    }


def guard(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return how Prometheus proves itself to what the role has set up, and knows it. A scheme is each target's own."""
    found: dict[str, Any] = {}
    if settings["monitoring_password"]:
        found["basic_auth"] = {"username": "tfserving", "password_file": PASSWORD_FILE}
    if settings["monitoring_tls_ca"]:
        found["tls_config"] = {"ca_file": CA_FILE}
    return found


def _files(job: str) -> list[dict[str, Any]]:
    return [{"files": [f"{TARGETS}/{job}.json"]}]


def _job(job: str, known: Mapping[str, Any], models: Collection[str], largest: int) -> dict[str, Any]:
    return {
        "job_name": job,
        "file_sd_configs": _files(job),
        **known,
        **_LIMITS.get(job, {}),
        **(_of_server(models, largest) if job == "tfserving" else {}),
    }


_LIMITS: dict[str, dict[str, Any]] = {
    "node": {"sample_limit": 60_000, "body_size_limit": "20MB"},
    # A gateway's page grows with the fleet; 200 hosts of four models have 160,000 lines.
    "haproxy": {"sample_limit": 500_000, "body_size_limit": "100MB"},
    "dcgm": {"sample_limit": 20_000, "body_size_limit": "10MB"},
    "prometheus": {"sample_limit": 20_000, "body_size_limit": "10MB"},
    "alertmanager": {"sample_limit": 20_000, "body_size_limit": "10MB"},
}


def _of_server(models: Collection[str], largest: int) -> dict[str, Any]:
    known = "|".join(re.escape(name).replace("\\-", "-") for name in sorted(models))
    return {
        "sample_limit": 4 * (INSTANCE + MODEL * max(1, largest)),
        "body_size_limit": "20MB",
        "metric_relabel_configs": [
            # Series that name no model have an empty label.
            {"source_labels": ["model_name"], "regex": f"(|{known})", "action": "keep"}
        ],
    }
