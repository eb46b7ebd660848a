# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Roll-outs: where they stand, and those that nobody ends."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold

SIGNALS = (
    Signal(
        "tfserving:rollout_hosts",
        "Hosts of a roll-out",
        "short",
        "rollout",
        "count by (model, state, old, new) (count by (host, model, state, old, new) (tfserving_rollout_info))",
        "Hosts that know of a roll-out, by model and state.",
        ("model", "state", "old", "new"),
    ),
    Signal(
        "tfserving:rollout_share_ratio",
        "Share of the new version",
        "percentunit",
        "rollout",
        "max by (model) (tfserving_rollout_share_ratio)",
        "Share of the calls that the new version of a model gets.",
        ("model",),
    ),
)

_MODEL = {"model": "{{ $labels.model }}"}

ALERTS = (
    Alert(
        "RolloutUnfinished",
        "max by (model) (tfserving:rollout_hosts) > 0",
        "1d",
        "ticket",
        "rollout",
        Threshold(
            "1 d",
            "while it lasts, alerts on missing versions and on version skew of the model are muted",
            sources.OWN,
        ),
        "The roll-out of {{ $labels.model }} has been under way for a day.",
        "Go on with playbooks/rollout.yml, or go back with playbooks/rollback.yml.",
        ("tfserving:rollout_hosts", "tfserving:rollout_share_ratio"),
        _MODEL,
    ),
    Alert(
        "RolloutRevertStuck",
        'max by (model) (tfserving:rollout_hosts{state="reverting"}) > 0',
        "15m",
        "page",
        "rollout",
        Threshold(
            "15 min", "the way back takes seconds; some hosts still answer with the bad version", "docs/rollout.md"
        ),
        "The way back from the new version of {{ $labels.model }} has not ended for a quarter of an hour.",
        "Run playbooks/rollback.yml again: it names the hosts that have not gone back.",
        ("tfserving:rollout_hosts",),
        _MODEL,
    ),
)
