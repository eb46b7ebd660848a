# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Monitoring itself: a part of it that is silent looks like a fleet that is well."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold

_FILE = 'job="node",file=~".*tfserving[.]prom"'
_PROMETHEUS = 'job="prometheus"'
_ALERTMANAGER = 'job="alertmanager"'

SIGNALS = (
    Signal(
        "tfserving:collector_age_seconds",
        "Age of the collector's figures",
        "s",
        "monitoring",
        f"time() - max by (host) (node_textfile_mtime_seconds{{{_FILE}}})",
        "Time since the collector of a host wrote its file.",
        ("host",),
    ),
)


def _increase(name: str, job: str, window: str = "15m") -> str:
    return f"sum by (host) (increase({name}{{{job}}}[{window}]))"


_TEXTFILE = (
    Alert(
        "CollectorStale",
        "tfserving:collector_age_seconds > 180",
        "1m",
        "ticket",
        "monitoring",
        Threshold("180 s, three periods", "one run may be late; the figures of three are old", sources.TEXTFILE),
        "The collector of {{ $labels.host }} wrote its figures {{ $value | humanizeDuration }} ago.",
        "Look at tfserving-collector.timer and its service.",
        ("tfserving:collector_age_seconds",),
    ),
    Alert(
        "CollectorMissing",
        'up{job="node",role="serving"} == 1 unless on (host) tfserving:collector_age_seconds',
        "5m",
        "ticket",
        "monitoring",
        Threshold(
            "no file for 5 min", "a file that is missing has no age, so nothing else would report it", sources.ABSENCE
        ),
        "The node exporter of {{ $labels.host }} shows nothing of the collector.",
        "Run playbooks/monitoring.yml; see whether tfserving-collector.service fails.",
        ("tfserving:collector_age_seconds",),
    ),
    Alert(
        "TextfileRefused",
        'node_textfile_scrape_error{job="node"} == 1',
        "2m",
        "ticket",
        "monitoring",
        Threshold("2 min", "the exporter leaves out the whole file for one line that it cannot read", sources.TEXTFILE),
        "The node exporter of {{ $labels.host }} could not read a text file.",
        "Its journal names the file and the line; timestamps behind a sample are not allowed.",
    ),
    Alert(
        "CollectorFailing",
        'max by (host, part) (tfserving_collector_success{job="node"}) == 0',
        "10m",
        "ticket",
        "monitoring",
        Threshold("10 min", "alerts on what this part reads have fallen silent", sources.ABSENCE),
        "The collector of {{ $labels.host }} cannot read all of {{ $labels.part }}.",
        "journalctl -u tfserving-collector says what it could not read.",
    ),
    Alert(
        "CollectorSlow",
        'max by (host) (tfserving_collector_duration_seconds{job="node"}) > 5',
        "15m",
        "ticket",
        "monitoring",
        Threshold("5 s for 15 min", "it takes half a second; what takes ten times as long hangs", sources.TEXTFILE),
        "The collector of {{ $labels.host }} takes {{ $value | humanizeDuration }}.",
        "nvidia-smi that hangs is the usual reason; look at the GPUs of the host and at its disk.",
    ),
)

_SERVERS = (
    Alert(
        "PrometheusGone",
        f"up{{{_PROMETHEUS}}} == 0",
        "1m",
        "page",
        "monitoring",
        Threshold(
            "1 min", "what another Prometheus sees of a lost one; a lone one cannot report itself", sources.ABSENCE
        ),
        "Prometheus on {{ $labels.host }} does not answer.",
        "Look at prometheus.service, its disk and its memory.",
    ),
    Alert(
        "AlertmanagerGone",
        f"up{{{_ALERTMANAGER}}} == 0",
        "1m",
        "page",
        "monitoring",
        Threshold("1 min", "another one sends this, or nobody does; the page of alerts shows it", sources.ABSENCE),
        "Alertmanager on {{ $labels.host }} does not answer.",
        "Look at prometheus-alertmanager.service.",
    ),
    Alert(
        "PrometheusConfigRefused",
        f"max by (host) (prometheus_config_last_reload_successful{{{_PROMETHEUS}}}) == 0",
        "2m",
        "ticket",
        "monitoring",
        Threshold(
            "2 min", "it goes on with the configuration before, and shows new hosts and rules nowhere", sources.DOCS
        ),
        "Prometheus on {{ $labels.host }} did not accept its configuration.",
        "promtool check config names the line; playbooks/monitoring.yml writes it anew.",
    ),
    Alert(
        "AlertmanagerConfigRefused",
        f"max by (host) (alertmanager_config_last_reload_successful{{{_ALERTMANAGER}}}) == 0",
        "2m",
        "ticket",
        "monitoring",
        Threshold("2 min", "alerts go to the receivers before", sources.DOCS),
        "Alertmanager on {{ $labels.host }} did not accept its configuration.",
        "amtool check-config names the line; playbooks/monitoring.yml writes it anew.",
    ),
    Alert(
        "RulesFailing",
        f"{_increase('prometheus_rule_evaluation_failures_total', _PROMETHEUS)} > 0.5",
        "0s",
        "ticket",
        "monitoring",
        Threshold("one within 15 min", "a rule that fails never fires", sources.DOCS),
        'Rules on {{ $labels.host }} could not be evaluated {{ printf "%.0f" $value }} times.',
        "/rules of Prometheus shows which, and why: mostly two series where one was expected.",
    ),
    Alert(
        "RulesLate",
        f"{_increase('prometheus_rule_group_iterations_missed_total', _PROMETHEUS)} > 3",
        "0s",
        "ticket",
        "monitoring",
        Threshold("3 rounds missed within 15 min", "alerts come later than promised", sources.DOCS),
        'Prometheus on {{ $labels.host }} left out {{ printf "%.0f" $value }} rounds of its rules.',
        "Give it more CPUs; see the duration of groups at /rules.",
    ),
    Alert(
        "ScrapeLimitExceeded",
        f"{_increase('prometheus_target_scrapes_exceeded_sample_limit_total', _PROMETHEUS)} > 0.5",
        "0s",
        "ticket",
        "monitoring",
        Threshold("one within 15 min", "the whole scrape is thrown away, and the target looks gone", sources.DOCS),
        "A target of Prometheus on {{ $labels.host }} shows more series than allowed.",
        "/targets names it; mostly callers have asked a server for models that do not exist.",
    ),
    Alert(
        "NotificationsDropped",
        f"{_increase('prometheus_notifications_dropped_total', _PROMETHEUS)} > 0.5",
        "0s",
        "page",
        "monitoring",
        Threshold("one within 15 min", "an alert has reached nobody", sources.DOCS),
        'Prometheus on {{ $labels.host }} could not hand {{ printf "%.0f" $value }} alerts to Alertmanager.',
        "See whether Alertmanager runs and answers at the address in prometheus.yml.",
    ),
    Alert(
        "NotificationsFail",
        f"sum by (host, integration) (increase(alertmanager_notifications_failed_total{{{_ALERTMANAGER}}}[15m])) > 0.5",
        "0s",
        "page",
        "monitoring",
        Threshold("one within 15 min", "a notification has reached nobody by this way", sources.DOCS),
        'Alertmanager on {{ $labels.host }} could not send {{ printf "%.0f" $value }} notifications by'
        " {{ $labels.integration }}.",
        "Its journal has the other side's answer: address, credentials, TLS.",
    ),
    Alert(
        "StorageFailing",
        f"{_increase('prometheus_tsdb_compactions_failed_total', _PROMETHEUS, '3h')} > 0.5",
        "0s",
        "ticket",
        "monitoring",
        Threshold("one within 3 h", "what is not compacted fills disk and memory", sources.DOCS),
        "Prometheus on {{ $labels.host }} could not compact its data.",
        "Look at its journal: disk full, or a damaged block.",
    ),
)

ALERTS = (*_TEXTFILE, *_SERVERS)
