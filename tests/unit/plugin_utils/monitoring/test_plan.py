# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a monitoring host asks, of whom, and what it needs."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import commands, objectives, settings, sizes
from monitoring_cases import BATCHING, GROUPS, HOSTS, instance, plan, planned, read, refusal, variables

WATCHED = {"address": "10.0.0.2", "cpus": 8, "gpus": 0}
KNOWN = {
    "gpu-2": {
        **WATCHED,
        "instances": [
            {
                "name": "ranker",
                "models": ["ranker"],
                "rest_port": 8601,
                "metrics_path": "/m",
                "objective_p99_ms": 50,
                "max_batch_size": None,
                "batch_timeout_us": None,
                "batch_threads": None,
            }
        ],
    }
}


def test_every_instance_is_a_target_under_the_name_that_haproxy_gives_it():
    assert planned()["targets"]["tfserving"][0] == {
        "targets": ["10.0.0.1:8501"],
        "labels": {
            "instance": "gpu-1.ranker",
            "host": "gpu-1",
            "serving_instance": "ranker",
            "__metrics_path__": "/monitoring/prometheus/metrics",
        },
    }


def test_every_host_is_watched_as_what_it_is_first():
    groups = {**GROUPS, "gateway": ["edge-1", "gpu-1"], "monitoring": ["mon-1", "edge-1"]}
    found = planned(read(groups)[0])["targets"]["node"]
    assert {each["labels"]["host"]: each["labels"]["role"] for each in found} == {
        "gpu-1": "serving",
        "gpu-2": "serving",
        "edge-1": "gateway",
        "mon-1": "monitoring",
    }


def test_a_gateway_is_asked_at_the_address_that_it_was_given_or_at_its_own():
    assert planned()["targets"]["haproxy"][0]["targets"] == ["10.0.0.5:8404"]
    hosts = {**HOSTS, "edge-1": variables(5, gateway_status_address="10.1.0.5", gateway_status_port=8405)}
    assert planned(read(hosts=hosts)[0])["targets"]["haproxy"][0]["targets"] == ["10.1.0.5:8405"]


def test_an_address_of_ipv6_stands_in_brackets():
    hosts = {**HOSTS, "gpu-1": variables(1, tfserving_plan=plan(), tfserving_address="fd00::1")}
    assert planned(read(hosts=hosts)[0])["targets"]["tfserving"][0]["targets"] == ["[fd00::1]:8501"]


def test_a_status_port_that_is_none_is_refused_in_a_sentence():
    with pytest.raises(WishError) as caught:
        read(hosts={**HOSTS, "edge-1": variables(5, gateway_status_port="x")})
    assert str(caught.value).startswith("gateway_status_port: is the string 'x'")


def test_only_hosts_with_a_certificate_are_asked_by_tls():
    hosts = {**HOSTS, "gpu-1": variables(1, tfserving_plan=plan(), monitoring_tls_certificate="x")}
    schemes = {
        each["labels"]["host"]: each["labels"].get("__scheme__")
        for each in planned(read(hosts=hosts)[0])["targets"]["node"]
    }
    assert schemes == {"gpu-1": "https", "gpu-2": None, "edge-1": None, "mon-1": None}


def test_the_exporter_of_nvidia_is_asked_only_where_its_port_is_set():
    assert "dcgm" not in planned()["targets"]
    hosts = {**HOSTS, "gpu-1": variables(1, tfserving_plan=plan(), monitoring_dcgm_port=9400)}
    found = planned(read(hosts=hosts)[0])
    assert found["targets"]["dcgm"] == [
        {"targets": ["10.0.0.1:9400"], "labels": {"instance": "gpu-1", "host": "gpu-1"}}
    ]
    assert "dcgm" in [each["job_name"] for each in found["prometheus"]["scrape_configs"]]


def test_a_host_outside_the_run_is_watched_by_its_record_or_by_what_was_known_of_it():
    hosts = {**HOSTS, "gpu-2": variables(2)}
    by_record, none = read(hosts=hosts, records={"gpu-2": plan(instance(ports={"rest": 8701}))})
    assert by_record.serving["gpu-2"]["instances"][0]["rest_port"] == 8701
    assert none == []
    by_memory, warnings = read(hosts=hosts, known=KNOWN)
    assert by_memory.serving["gpu-2"]["instances"][0]["rest_port"] == 8601
    assert warnings == ["gpu-2 cannot be reached, so this monitoring host keeps what it knew of it"]


def test_of_a_host_of_which_nothing_is_known_the_exporter_is_watched_all_the_same():
    found, warnings = read(hosts={**HOSTS, "gpu-2": variables(2)})
    assert warnings == ["gpu-2 cannot be reached and nothing is known of it, so only its exporter is watched"]
    assert "gpu-2" in [each["labels"]["host"] for each in planned(found)["targets"]["node"]]


def test_a_damaged_record_is_refused_in_a_sentence():
    broken = {"gpu-2": {**WATCHED, "instances": [{"name": "ranker"}]}}
    with pytest.raises(WishError) as caught:
        read(hosts={**HOSTS, "gpu-2": variables(2)}, known=broken)
    assert str(caught.value).startswith("record of gpu-2.instances[0].")


@pytest.mark.parametrize(
    ("address", "shown"),
    [("10.0.0.2\n", "a string"), ("gpu-2", "the string 'gpu-2'"), ("", "the string ''"), (7, "the number 7")],
)
def test_a_damaged_address_of_a_record_is_refused_in_a_sentence(address, shown):
    broken = {"gpu-2": {**KNOWN["gpu-2"], "address": address}}
    with pytest.raises(WishError) as caught:
        read(hosts={**HOSTS, "gpu-2": variables(2)}, known=broken)
    assert str(caught.value) == (
        f"record of gpu-2.address: is {shown}, which is no IP address; run site.yml on this host again"
    )


def test_series_of_models_that_no_plan_has_are_dropped_and_those_without_a_model_stay():
    hosts = {**HOSTS, "gpu-1": variables(1, tfserving_plan=plan(instance(models=["a.b", "wide-ranker"])))}
    found = planned(read(hosts=hosts)[0])
    (job,) = [each for each in found["prometheus"]["scrape_configs"] if each["job_name"] == "tfserving"]
    (rule,) = job["metric_relabel_configs"]
    keeps = re.compile(rule["regex"])
    assert rule["action"] == "keep"
    assert all(keeps.fullmatch(name) for name in ("", "a.b", "wide-ranker", "ranker"))
    assert not any(keeps.fullmatch(name) for name in ("axb", "other", "ranker2"))


def test_an_instance_goes_by_its_strictest_host():
    hosts = {**HOSTS, "gpu-2": variables(2, tfserving_plan=plan(instance(objective_p99_ms=20, batching=None)))}
    found, sentences = objectives.objectives(read(hosts=hosts)[0].serving, 0.99)
    assert [(each.serving_instance, each.p99_ms, each.availability, each.max_batch_size) for each in found] == [
        ("ranker", 20, 0.99, 32)
    ]
    assert sentences == [
        "the objective of ranker is 20 ms on gpu-2 and 100 ms on gpu-1; alerts go by the strictest, as callers do not"
        " choose the host"
    ]


def test_the_largest_batch_is_not_the_largest_request_where_that_is_cut():
    cut = {**BATCHING, "max_batch_size": 700, "enable_large_batch_splitting": True, "max_execution_batch_size": 8}
    hosts = {**HOSTS, "gpu-2": variables(2, tfserving_plan=plan(instance(batching=cut)))}
    found, _ = objectives.objectives(read(hosts=hosts)[0].serving, 0.99)
    assert [each.max_batch_size for each in found] == [8]


def test_sizes_are_those_of_the_formula():
    found = sizes.sizes(15_000, "by hand", 10, 0)
    # 1,000 samples a second: 86.4 million a day of two bytes, 164.8 MiB; ten days take 1650, 512 x 1.25^6 is 1953.1.
    assert (found["samples_per_second"], found["disk_mb_a_day"], found["retention_mb"]) == (1000, 165, 1954)
    # 10,800 s of 8 bytes a sample are 82.4 MiB of log; (1954 + 83) / 0.85.
    assert found["disk_mb"] == 2397
    # 15,000 series of 8 KiB are 117.2 MiB.
    assert found["memory_mb"] == 300 + 118


def test_a_gateway_has_a_backend_for_each_model_and_a_server_for_each_model_of_each_host():
    first, second = (
        {"gpu-1": {**WATCHED, "instances": [{"name": "ranker", "models": names}]}} for names in ("a", "ab")
    )
    # Two backends of 80 and two servers of 100, for REST and gRPC, come with a model; the gateway itself has 250.
    for hosts, models in ((first, 1), (second, 2), ({**second, "gpu-2": second["gpu-1"]}, 2)):
        alone, told = sizes.series(hosts, 0, 0, 0)[0], sizes.series(hosts, 0, 1, 0)
        assert told[0] - alone == 250 + models * 2 * 80 + len(hosts) * models * 2 * 100
        assert f"{2 * models} backends of gateways x 80" in told[1]


def test_hosts_that_serve_nothing_count_with_the_cpus_that_no_plan_tells():
    assert sizes.series({}, 2, 0, 0) == (2 * 750 + 2 * 32 * 30, "2 hosts x 750 + 64 CPUs x 30")


def test_a_few_more_hosts_do_not_change_the_size_for_which_prometheus_would_restart():
    assert (
        sizes.sizes(15_000, "by hand", 10, 0)["retention_mb"] == sizes.sizes(16_500, "by hand", 10, 0)["retention_mb"]
    )
    assert sizes.sizes(15_000, "by hand", 10, 1700)["retention_mb"] == 1700


def test_a_fleet_that_does_not_fit_on_the_disk_is_refused_with_what_would_fit():
    found = planned()
    assert refusal(disk_mb=found["sizes"]["disk_mb"] - 1, monitoring_retention_days=3650) != ""
    small = sizes.sizes(1_500_000, "by hand", 30, 0)
    with pytest.raises(WishError) as caught:
        sizes.check(small, 30, 200_000, 0, "/var/lib/prometheus")
    assert str(caught.value) == (
        "monitoring_retention_days: 30 days of 1,500,000 series take 617,916 MB, and /var/lib/prometheus has 200,000"
        " MB; set monitoring_retention_days to 8 or less"
    )


def test_a_wished_size_that_does_not_fit_is_refused_under_its_own_name():
    sentence = refusal(disk_mb=1000, monitoring_disk_mb=2000)
    assert sentence.startswith("monitoring_disk_mb: is 2,000 and needs 2,")
    assert "and /var/lib/prometheus has 1,000 MB; set it to " in sentence


def test_a_fleet_that_does_not_fit_into_memory_is_refused():
    sentence = refusal(memory_mb=200)
    assert re.fullmatch(
        r"groups\['tfserving_monitoring'\]: [0-9,]+ series take [0-9,]+ MB of memory, and this host has 200 MB;"
        r" choose a host with more",
        sentence,
    )


def test_alertmanagers_know_each_other_only_where_there_are_several():
    alone = planned()["flags"]["alertmanager"]
    assert alone[-1] == "--cluster.listen-address="
    groups, hosts = {**GROUPS, "monitoring": ["mon-1", "mon-2"]}, {**HOSTS, "mon-2": variables(10)}
    several = planned(read(groups, hosts)[0])["flags"]["alertmanager"]
    assert several[-2:] == ["--cluster.listen-address=10.0.0.9:9094", "--cluster.peer=10.0.0.10:9094"]


def test_prometheus_answers_at_its_root_whatever_the_path_at_which_people_reach_it():
    flags = planned(monitoring_url="https://watch.example.com/prometheus")["flags"]["prometheus"]
    assert "--web.external-url=https://watch.example.com/prometheus" in flags
    assert "--web.route-prefix=/" in flags


def test_retention_is_bounded_by_time_and_by_size():
    flags = planned(monitoring_retention_days=7, monitoring_disk_mb=4096)["flags"]["prometheus"]
    assert "--storage.tsdb.retention.time=7d" in flags
    assert "--storage.tsdb.retention.size=4096MB" in flags


@pytest.mark.parametrize(
    ("package", "flag"),
    [
        ("1.3.1-1ubuntu0.22.04.3", "--web.config"),
        ("1.5.0-1+b6", "--web.config.file"),
        ("1.9.0-1+b4", "--web.config.file"),
        ("", "--web.config.file"),
    ],
)
def test_the_node_exporter_gets_the_flag_of_its_version(package, flag):
    words = commands.node_exporter(settings.complete({}), package)
    assert f"{flag}=/etc/prometheus/tfserving-exporter/web.yml" in words


def test_passwords_that_differ_are_refused_and_not_shown():
    hosts = {**HOSTS, "gpu-2": variables(2, monitoring_password="s" * 16)}
    with pytest.raises(WishError) as caught:
        read(hosts=hosts)
    assert str(caught.value) == (
        "monitoring_password: is another on gpu-2 than on edge-1; set one for all hosts, as in group_vars/all.yml"
    )


def test_a_host_that_is_known_by_a_name_is_refused():
    with pytest.raises(WishError) as caught:
        read(hosts={**HOSTS, "gpu-2": variables(2, tfserving_address="gpu-2.example.com")})
    assert str(caught.value) == (
        "tfserving_address: is 'gpu-2.example.com' for the host gpu-2, which is no IP address; set it, for that host,"
        " to the address at which monitoring hosts reach it"
    )
