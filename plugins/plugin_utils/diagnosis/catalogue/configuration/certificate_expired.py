# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A certificate has expired, or soon will."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ....signals.thresholds import CERTIFICATE_DAYS_PAGE
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...proxy import proxy_of
from ...reading import listed, mapping, number, text
from ...verdicts import cleared, proof, unknown
from . import clock_skew


def judge(case: Case) -> list[Judged]:
    """Judge each certificate of the host."""
    rows = case.fact("certificates")
    if rows is None:
        return [unknown("the certificates could not be read")]
    if not rows and _has_tls(case):
        return [
            unknown("callers come with TLS, and no certificate was named: diagnosis_certificates names their files")
        ]
    return [_judged(case, mapping(row)) for row in listed(rows)]


def _has_tls(case: Case) -> bool:
    """Tell whether a server or the gateway of the host answers callers with TLS."""
    proxy = proxy_of(case)
    shakes = proxy.latest("info", "CumSslConns") if proxy else None
    return bool(shakes) or any(each.flags.get("ssl_config_file") for each in case.instances)


def _judged(case: Case, row: Any) -> Judged:
    path, end, now = told(text(row.get("path")), 200), number(row.get("not_after")), case.latest("at")
    if end is None or now is None:
        return unknown(f"the end of {path} could not be read")
    left = end - now
    evidence = proof(path, f"{left / 86_400:.1f} days left", f"more than {CERTIFICATE_DAYS_PAGE.value:g} days")
    if left > CERTIFICATE_DAYS_PAGE.value * 86_400:
        return cleared("It is valid for more than a week.", evidence)
    offset = number(case.fact("clock", "offset_ms"))
    return Judged(
        "cause" if left <= 0 else "suspect",
        0.95 if left <= 0 and abs(offset or 0.0) < clock_skew.WRONG_MS else 0.6,
        (evidence, proof("the host's clock", f"{offset or 0:.3g} ms off", "right")),
        "Only callers with TLS fail; a wrong clock of the host would make valid certificates look expired.",
        impact=0.9 if left <= 0 else 0.2,
    )


FAULT = Fault(
    id="tls.certificate",
    title="A certificate has expired",
    layer="configuration",
    observable="callers with TLS are refused, others are not",
    remedy=Remedy(
        "Renew it, and let the role bring it to the host.",
        "tfserving_tls_certificate: PATH, tfserving_tls_key: PATH; ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/blob/master/tensorflow_serving/config/ssl_config.proto",),
    judge=judge,
)
