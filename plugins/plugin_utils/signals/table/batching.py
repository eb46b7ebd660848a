# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches of the server: how full they are, how long calls wait for them, and what saturates.

The queue's histogram knows no model, so all of it is by instance. Rows are those of executed batches less their
padding: ``input_batch_size`` counts every input of a request anew.
"""

from __future__ import annotations

from ..model import Alert, Signal
from ..thresholds import BATCH_FILL, BATCH_QUEUE, BATCH_WAITS, BUSY, PADDING
from .latency import any_of, labelled, mean

_BY = "host, serving_instance"
_BATCH = ":tensorflow:serving:batching_session"
_OF_PLAN = "on (serving_instance) group_left tfserving:objective"
_QUEUE = "tfserving:queue_seconds"
_QUEUE_OF_TIMEOUT = f"({_QUEUE} / on (serving_instance) group_left () (tfserving:objective:batch_timeout_seconds > 0))"
# Without a time-out any wait is one for a batch thread, and as long as a batch takes.
_QUEUE_OF_TURN = f"({_QUEUE_OF_TIMEOUT} or {_QUEUE} / (tfserving:execution_seconds > 0))"


def _rate(name: str) -> str:
    return f'sum by ({_BY}) (rate({_BATCH}:{name}{{job="tfserving"}}[5m]))'


def _saturation() -> str:
    fill, queue, waits = "tfserving:batch_fill_ratio", _QUEUE_OF_TURN, _QUEUE_OF_TIMEOUT
    least, most = BATCH_WAITS
    kinds = {
        "capacity": f"({fill} > bool 0.8) * ({queue} > bool {BATCH_QUEUE.value:g})",
        "timeout": f"({fill} < bool {BATCH_FILL.value:g}) * ({waits} >= bool {least:g}) * ({waits} <= bool {most:g})",
        "callers": f"(tfserving:batch_rows < bool 1.5) * ({queue} < bool {least:g})"
        " * (tfserving:batch_threads_used_ratio > bool 0.5)",
    }
    return any_of([labelled(f"({expr})", "kind", kind) for kind, expr in kinds.items()])


SIGNALS = (
    Signal(
        "tfserving:queue_length",
        "Calls in the queue",
        "short",
        "instance",
        f"{_rate('queuing_latency_sum')} / 1e6",
        "Calls that wait for a batch at the same time, by Little's law.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:queue_seconds",
        "Mean wait for a batch",
        "s",
        "instance",
        mean("batching_session:queuing_latency", _BY, 'job="tfserving"'),
        "Mean time that a call waits in the server's queue before its batch is executed.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:execution_seconds",
        "Mean time of execution",
        "s",
        "instance",
        "clamp_min(tfserving:runtime_seconds - (tfserving:queue_seconds or tfserving:runtime_seconds * 0), 0)",
        "Mean time in TensorFlow without the wait for a batch.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:batch_rows",
        "Rows of a batch",
        "short",
        "instance",
        f"({_rate('processed_batch_size_sum')} - ({_rate('padding_size_sum')}"
        f" or {_rate('processed_batch_size_sum')} * 0))"
        f" / ({_rate('processed_batch_size_count')} > 0)",
        "Mean rows of a batch, padding left out. Servers before 2.10 do not tell.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:batch_fill_ratio",
        "Fill of batches",
        "percentunit",
        "instance",
        f"tfserving:batch_rows / {_OF_PLAN}:max_batch_size",
        "Mean rows of a batch, of those that it may have.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:batch_threads_used_ratio",
        "Use of batch threads",
        "percentunit",
        "instance",
        f"{_rate('wrapped_run_count')} * tfserving:execution_seconds / {_OF_PLAN}:batch_threads",
        "Share of time in which a batch thread executes one: batches a second, times their time, over the threads."
        " Servers before 2.11 do not tell.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:padding_ratio",
        "Padding",
        "percentunit",
        "instance",
        f"{_rate('padding_size_sum')} / ({_rate('processed_batch_size_sum')} > 0)",
        "Share of executed rows that only fill a batch up to an allowed size.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:saturation",
        "Kind of saturation",
        "bool",
        "instance",
        _saturation(),
        "1 for what holds calls up: capacity (full batches, a long queue), timeout (half-empty batches that wait as"
        " long as they may) or callers (batches of one row, and busy threads).",
        ("host", "serving_instance", "kind"),
    ),
)

ALERTS = (
    Alert(
        "BatchQueueSaturated",
        'tfserving:saturation{kind="capacity"} == 1',
        "10m",
        "ticket",
        "instance",
        BATCH_QUEUE.threshold(
            f"fill over 80 %, wait over {BATCH_QUEUE.value:g} times the time-out (or a batch's time), 10 min"
        ),
        "Calls reach {{ $labels.serving_instance }} on {{ $labels.host }} faster than it executes full batches.",
        "Add hosts or send less; a bounded queue (max_enqueued_batches) sheds what cannot be served in time.",
        ("tfserving:saturation", "tfserving:batch_fill_ratio", "tfserving:queue_seconds"),
    ),
    Alert(
        "BatchTimeoutTooLong",
        'tfserving:saturation{kind="timeout"} == 1',
        "1h",
        "ticket",
        "instance",
        BATCH_FILL.threshold(
            f"fill under {BATCH_FILL.percent}, wait of {BATCH_WAITS[0]:g} to {BATCH_WAITS[1]:g} times the time-out, 1 h"
        ),
        "Batches of {{ $labels.serving_instance }} on {{ $labels.host }} wait for calls that do not come.",
        "Lower batch_timeout_micros, down to 0; playbooks/tune.yml measures what fits the load.",
        ("tfserving:saturation", "tfserving:batch_fill_ratio", "tfserving:queue_seconds"),
    ),
    Alert(
        "BatchThreadsBusy",
        f"tfserving:batch_threads_used_ratio > {BUSY.value:g}",
        "15m",
        "ticket",
        "instance",
        BUSY.threshold(f"{BUSY.percent} for 15 min"),
        "The batch threads of {{ $labels.serving_instance }} on {{ $labels.host }} are busy"
        " {{ $value | humanizePercentage }} of the time.",
        "Add hosts, or let playbooks/tune.yml look for larger batches or more threads within the objective.",
        ("tfserving:batch_threads_used_ratio",),
    ),
    Alert(
        "BatchPaddingWaste",
        f"tfserving:padding_ratio > {PADDING.value:g}",
        "1h",
        "ticket",
        "instance",
        PADDING.threshold(f"{PADDING.percent} of all rows for 1 h"),
        "{{ $value | humanizePercentage }} of the rows that {{ $labels.serving_instance }} on {{ $labels.host }}"
        " executes are padding.",
        "Set allowed_batch_sizes closer to the sizes that batches have (playbooks/tune.yml proposes them).",
        ("tfserving:padding_ratio",),
    ),
)
