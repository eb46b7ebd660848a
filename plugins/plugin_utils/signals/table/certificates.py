# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What expires: certificates of servers and gateways, and keys of package repositories."""

from __future__ import annotations

from ..model import Alert, Severity, Signal, Threshold
from ..thresholds import CERTIFICATE_DAYS, CERTIFICATE_DAYS_PAGE, Limit

SIGNALS = (
    Signal(
        "tfserving:certificate_seconds",
        "Certificates",
        "s",
        "host",
        'min by (host, path) (tfserving_certificate_expiry_timestamp_seconds{job="node"}) - time()',
        "Time until a certificate expires; negative afterwards.",
        ("host", "path"),
    ),
    Signal(
        "tfserving:apt_key_seconds",
        "Keys of package repositories",
        "s",
        "host",
        'min by (host, path, fingerprint) (tfserving_apt_key_expiry_timestamp_seconds{job="node"}) - time()',
        "Time until a key of a package repository expires; negative afterwards.",
        ("host", "path", "fingerprint"),
    ),
)


def _certificate(name: str, severity: Severity, days: Limit) -> Alert:
    return Alert(
        name,
        f"tfserving:certificate_seconds < {days.value:g} * 86400",
        "1m",
        severity,
        "host",
        days.threshold(f"{days.value:g} days"),
        "The certificate {{ $labels.path }} of {{ $labels.host }} expires in {{ $value | humanizeDuration }}.",
        "Make a new one (playbooks/certificates.yml) and run playbooks/serve.yml.",
        ("tfserving:certificate_seconds",),
    )


ALERTS = (
    _certificate("CertificateExpires", "ticket", CERTIFICATE_DAYS),
    _certificate("CertificateExpiresSoon", "page", CERTIFICATE_DAYS_PAGE),
    Alert(
        "AptKeyExpires",
        "tfserving:apt_key_seconds < 30 * 86400",
        "1m",
        "ticket",
        "host",
        Threshold(
            "30 days", "from then on no host of the fleet can install or update anything", "tensorflow/serving#4150"
        ),
        "The key {{ $labels.fingerprint }} in {{ $labels.path }} of {{ $labels.host }} expires in"
        " {{ $value | humanizeDuration }}.",
        "Fetch the repository's new key, and check its fingerprint before it goes into the inventory.",
        ("tfserving:apt_key_seconds",),
    ),
)
