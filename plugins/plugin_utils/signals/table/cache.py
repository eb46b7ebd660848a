# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cache of answers on gateways: what it answers, what it saves, and whether calls reach it."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold

_NODE = 'job="node"'
_HITS = f"sum by (host) (rate(tfserving_cache_hits_total{{{_NODE}}}[5m]))"
_MISSES = f"sum by (host) (rate(tfserving_cache_misses_total{{{_NODE}}}[5m]))"
_USED = f"sum by (host) (tfserving_cache_used_bytes{{{_NODE}}})"
_ASKED = 'haproxy_backend_http_responses_total{job="haproxy",proxy=~"cache_.+"}'
_SERVERS = 'haproxy_backend_response_time_average_seconds{job="haproxy",proxy=~"rest_.+"}'

SIGNALS = (
    Signal(
        "tfserving:cache_up",
        "Cache of answers in use",
        "bool",
        "gateway",
        'min by (host) (haproxy_server_status{job="haproxy",proxy="answers",state="UP"}'
        f" or tfserving_cache_store_up{{{_NODE}}})",
        "1 while the gateway sends calls to its cache, and its Redis answers where it has one; 0 while all pass it.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_hits:rate5m",
        "Calls answered by the cache",
        "reqps",
        "gateway",
        _HITS,
        "Calls a second that no server had to answer.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_misses:rate5m",
        "Calls that the cache passed on",
        "reqps",
        "gateway",
        _MISSES,
        "Calls a second for which the cache asked a server.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_hit_ratio",
        "Hits of the cache",
        "percentunit",
        "gateway",
        "tfserving:cache_hits:rate5m / (tfserving:cache_hits:rate5m + tfserving:cache_misses:rate5m > 0)",
        "Share of the calls to the cache that it answered.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_saved_seconds:rate5m",
        "Servers' time saved by the cache",
        "short",
        "gateway",
        f"sum by (host, proxy) (rate({_ASKED}[5m])) * on (host) group_left () tfserving:cache_hit_ratio"
        " * on (host, proxy) group_left () label_replace("
        f'max by (host, proxy) ({_SERVERS}), "proxy", "cache_$1", "proxy", "rest_(.+)")',
        "Seconds of servers' time a second that hits have saved: hits, each as long as a call of a server.",
        ("host", "proxy"),
    ),
    Signal(
        "tfserving:cache_passed:rate5m",
        "Calls that passed the cache",
        "reqps",
        "gateway",
        "clamp_min(sum by (host) ("
        'rate(haproxy_backend_http_responses_total{job="haproxy",proxy=~"rest_.+"}[5m]) and on (host, proxy) '
        'label_replace(haproxy_backend_status{job="haproxy",proxy=~"cache_.+",state="UP"},'
        ' "proxy", "rest_$1", "proxy", "cache_(.+)")) - on (host) tfserving:cache_misses:rate5m, 0)',
        "REST calls a second of models with a cache that went to servers without it: of versions in change, too large,"
        " without a length, or while the cache is away.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_age_seconds",
        "Age of the cache's answers",
        "s",
        "gateway",
        f"sum by (host) (rate(tfserving_cache_age_seconds_total{{{_NODE}}}[5m])) / (tfserving:cache_hits:rate5m > 0)",
        "Mean age of the answers given, as nginx counts; Varnish does not: see tfserving:cache_stay_seconds, and"
        " playbooks/cache_report.yml.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_stay_seconds",
        "Stay of answers in the cache",
        "s",
        "gateway",
        f"sum by (host) (tfserving_cache_answers{{{_NODE}}}) / (tfserving:cache_misses:rate5m"
        f" - on (host) sum by (host) (rate(tfserving_cache_not_kept_total{{{_NODE}}}[5m])) > 0)",
        "Mean time that an answer stays in Varnish: those held, by those that came a second (Little's law)."
        " Far below ttl_s means that they make room too early.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_coalesced:rate5m",
        "Calls that waited for an equal one",
        "reqps",
        "gateway",
        f"sum by (host) (rate(tfserving_cache_coalesced_total{{{_NODE}}}[5m]))",
        "Calls a second that shared the answer to a call that was under way.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_errors:rate5m",
        "Calls that the cache gave back",
        "reqps",
        "gateway",
        f"sum by (host) (rate(tfserving_cache_errors_total{{{_NODE}}}[5m]))",
        "Calls a second that the cache could not carry out; the gateway sent them to servers.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_evicted:rate5m",
        "Answers that made room",
        "reqps",
        "gateway",
        f"sum by (host) (rate(tfserving_cache_evicted_total{{{_NODE}}}[5m]))",
        "Answers a second that left before their time: more than none means gateway_cache_memory_mb is small.",
        ("host",),
    ),
    Signal(
        "tfserving:cache_used_ratio",
        "Use of the cache's memory",
        "percentunit",
        "gateway",
        f"{_USED} / ({_USED} + sum by (host) (tfserving_cache_free_bytes{{{_NODE}}}) > 0)",
        "Share of gateway_cache_memory_mb that answers take.",
        ("host",),
    ),
)

ALERTS = (
    Alert(
        "AnswerCacheAway",
        "tfserving:cache_up == 0",
        "5m",
        "ticket",
        "gateway",
        Threshold("away for 5 min", "servers carry all calls meanwhile, which they may not be sized for", sources.OWN),
        "Calls pass the cache of answers on the gateway {{ $labels.host }}.",
        "Look at tfserving-cache.service and tfserving-store.service on the gateway, at the Redis of"
        " gateway_cache_store, and at the gateway's CPUs: a busy one takes its cache for one that hangs.",
        ("tfserving:cache_up", "tfserving:cache_passed:rate5m"),
    ),
)
