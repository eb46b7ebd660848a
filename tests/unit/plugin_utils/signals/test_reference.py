# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages on signals and alerts say all that the table says."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import reference, runbook
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Alert, Signal, Threshold
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import ALERTS

ALERT = Alert(
    "InstanceSlow",
    "tfserving:x > 0.05",
    "5m",
    "page",
    "instance",
    Threshold("5 % for 5 min", "above it callers | notice", "a book"),
    '{{ $labels.serving_instance }} is {{ printf "%.1f" $value }} times too slow.',
    "Look at {{ $labels.host }}",
    ("tfserving:x",),
)
SIGNAL = Signal("tfserving:x", "X", "percentunit", "instance", "a / b", "Share of | calls.", ("host",))


def test_a_runbook_says_what_it_means_from_where_on_why_what_to_do_and_how_to_silence_it():
    page = reference.alerts_page([ALERT], [SIGNAL])
    assert page.endswith(
        """
## <a id="InstanceSlow"></a>InstanceSlow

**Pages.** SERVING_INSTANCE is N times too slow.

**Threshold:** 5 % for 5 min. Above it callers | notice (a book).

**Do this:** Look at HOST.

**Looks at** `tfserving:x`: Share of | calls.

```promql
tfserving:x > 0.05
```

To silence it:

```
amtool silence add alertname=InstanceSlow --duration=2h --comment="why, and who"
```
"""
    )


def test_a_signal_stands_below_its_scope_with_unit_labels_and_expression():
    page = reference.signals_page([SIGNAL])
    assert "\n## An instance on a host\n" in page
    assert "\n| `tfserving:x` | X: Share of \\| calls. | 0 to 1 | `host` |\n" in page
    assert "\n```promql\ntfserving:x = a / b\n```\n" in page


def test_every_alert_of_the_table_has_a_runbook():
    page = reference.alerts_page()
    for alert in runbook.every(ALERTS):
        assert f'\n## <a id="{alert.name}"></a>{alert.name}\n' in page


def test_alerts_that_page_come_first():
    names = [each.severity for each in runbook.by_weight(runbook.every(ALERTS))]
    assert names == sorted(names)
