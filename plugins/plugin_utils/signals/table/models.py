# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Models: which versions serve where, whether they load, and how many names callers have invented."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold
from .requests import HELD_ON_PURPOSE

_VERSION = "(host, serving_instance, model, version)"
_LOADS = ':tensorflow:cc:saved_model:load_attempt_count{job="tfserving"'


def _grown(series: str, window: str) -> str:
    """Return what a counter has grown by, also where its first sample lies within the window.

    ``increase`` takes a series that begins with 1 for one that has not grown. Series of an instance that has only just
    appeared are left out: what they count may be old.
    """
    seen = f'and on (host, serving_instance) (up{{job="tfserving"}} offset {window} == 1)'
    return f"(increase({series}[{window}]) > 0 or ({series} unless {series} offset {window}) {seen})"


_FAILED = _grown(f'{_LOADS},status="fail"}}', "10m")

SIGNALS = (
    Signal(
        "tfserving:model_available",
        "Versions that serve",
        "bool",
        "instance",
        f'max by {_VERSION} (tfserving_model_state{{job="node",state="AVAILABLE"}})',
        "1 for a version that is available, by the server's own word.",
        ("host", "serving_instance", "model", "version"),
    ),
    Signal(
        "tfserving:model_missing",
        "Versions that are missing",
        "bool",
        "instance",
        f'max by {_VERSION} (tfserving_model_wanted{{job="node"}} == 1)'
        f" unless on {_VERSION} (tfserving:model_available == 1)",
        "1 for a version that the plan serves and the server does not.",
        ("host", "serving_instance", "model", "version"),
    ),
    Signal(
        "tfserving:version_hosts",
        "Hosts of a version",
        "short",
        "rollout",
        "count by (serving_instance, model, version) (tfserving:model_available == 1)",
        "Hosts on which a version is available.",
        ("serving_instance", "model", "version"),
    ),
    Signal(
        "tfserving:version_skew",
        "Hosts without a version",
        "short",
        "rollout",
        "max by (serving_instance, model) (count by (serving_instance, model)"
        " (count by (host, serving_instance, model) (tfserving:model_available == 1))"
        " - on (serving_instance, model) group_right tfserving:version_hosts)",
        "Hosts that serve a model without a version of it that others serve; 0 where all serve the same.",
        ("serving_instance", "model"),
    ),
    Signal(
        "tfserving:load_failures:increase10m",
        "Failed loads",
        "short",
        "instance",
        f"sum by (host, serving_instance, model_path) ({_FAILED})",
        "Loads of a version that failed within ten minutes.",
        ("host", "serving_instance", "model_path"),
    ),
    Signal(
        "tfserving:loads:increase10m",
        "Loads",
        "short",
        "instance",
        f"sum by (host, serving_instance, model_path) (increase({_LOADS}}}[10m]))",
        "Attempts to load a version within ten minutes, failed ones included.",
        ("host", "serving_instance", "model_path"),
    ),
    Signal(
        "tfserving:series",
        "Series of an instance",
        "short",
        "instance",
        'max by (host, serving_instance) (scrape_samples_scraped{job="tfserving"})',
        "Samples on the page of an instance before unknown models are dropped: one model adds over 70.",
        ("host", "serving_instance"),
    ),
)

_MODEL = {"model": "{{ $labels.model }}"}

ALERTS = (
    Alert(
        "ModelNotAvailable",
        "tfserving:model_missing == 1 unless on (model) tfserving_rollout_info"
        f" unless on (host, serving_instance) tfserving:gate_held{{{HELD_ON_PURPOSE}}}",
        "5m",
        "page",
        "instance",
        Threshold(
            "5 min, outside roll-outs, with a gate that nobody has closed",
            "a load that takes longer than five minutes is rarer than one that has failed",
            "the server retries a load five times, a minute apart (max_num_load_retries)",
        ),
        "{{ $labels.serving_instance }} on {{ $labels.host }} does not serve version {{ $labels.version }} of"
        " {{ $labels.model }}.",
        "playbooks/status.yml shows the server's own words; missing files, too little memory and unknown operations are"
        " the usual reasons. playbooks/serve.yml puts the files in place.",
        ("tfserving:model_missing",),
        _MODEL,
    ),
    Alert(
        "ModelLoadFailed",
        "tfserving:load_failures:increase10m > 0",
        "0s",
        "ticket",
        "instance",
        Threshold("one failed load", "a version that was published is meant to load", "tensorflow/serving#2214, #1401"),
        "{{ $labels.serving_instance }} on {{ $labels.host }} could not load {{ $labels.model_path }}.",
        "Read the message in the server's journal; if another host loads it, compare releases, memory and files.",
        ("tfserving:load_failures:increase10m",),
    ),
    Alert(
        "ModelLoadLoop",
        "tfserving:loads:increase10m > 3",
        "0s",
        "ticket",
        "instance",
        Threshold(
            "over 3 loads of one version in 10 min",
            "a version is loaded once; one that is loaded again and again takes CPU time and memory from calls",
            "tensorflow/serving#1786",
        ),
        "{{ $labels.serving_instance }} on {{ $labels.host }} loads {{ $labels.model_path }} again and again:"
        ' {{ printf "%.0f" $value }} times within ten minutes.',
        "Look for what changes its files or its configuration, stop polling, and publish versions whole.",
        ("tfserving:loads:increase10m",),
    ),
    Alert(
        "VersionSkew",
        "tfserving:version_skew > 0 unless on (model) tfserving_rollout_info",
        "15m",
        "ticket",
        "rollout",
        Threshold(
            "15 min outside a roll-out",
            "equal calls get different answers; a host that has just restarted is given its time to load",
            sources.OWN,
        ),
        "{{ $value }} hosts serve {{ $labels.model }} ({{ $labels.serving_instance }}) without a version that others"
        " serve, and no roll-out is under way.",
        "playbooks/status.yml lists versions by host; finish the roll-out (playbooks/rollout.yml) or go back"
        " (playbooks/rollback.yml).",
        ("tfserving:version_skew", "tfserving:version_hosts"),
        _MODEL,
    ),
    Alert(
        "SeriesGrow",
        "tfserving:series - tfserving:series offset 1d > 1000",
        "15m",
        "ticket",
        "instance",
        Threshold(
            "1,000 samples more than a day before",
            "the server keeps series of every name that a caller puts into a URL, without limit; one makes over 70",
            "servables/tensorflow/util.cc: model_name is taken from the request",
        ),
        "The page of {{ $labels.serving_instance }} on {{ $labels.host }} has grown by {{ $value }} samples in a day.",
        "Find who asks for models that do not exist (the gateway's log names callers) and stop them; a restart empties"
        " the page.",
        ("tfserving:series",),
    ),
)
