# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A fleet whose inventory sets every option, and none to its default."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize(("label", "version"), [("stable", "1"), ("canary", "2")])
def test_each_label_answers_from_its_version(ranker, known, label, version):
    sample = known("ranker")
    answer = ranker.predict("ranker", sample["request"], f"/labels/{label}")["predictions"]
    assert answer == pytest.approx(sample["answers"][version]["predictions"], abs=1e-3)


def test_the_versions_answer_differently(known):
    answers = known("ranker")["answers"]
    assert answers["1"]["predictions"] != pytest.approx(answers["2"]["predictions"], abs=1e-3)


def test_a_directory_of_the_controller_is_served(digits, known):
    sample = known("digits")
    answer = digits.predict("digits", sample["request"])["predictions"]
    assert [row["class_id"] for row in answer] == [row["class_id"] for row in sample["answers"]["1"]["predictions"]]


def test_an_archive_on_the_host_is_served(digits, known):
    sample = known("digits")
    answer = digits.predict("digits-from-store", sample["request"])["predictions"]
    assert [row["class_id"] for row in answer] == [row["class_id"] for row in sample["answers"]["2"]["predictions"]]


def test_both_instances_run_side_by_side(ranker, digits):
    assert ranker.pid != digits.pid
    assert ranker.show("NRestarts") == digits.show("NRestarts") == "0"


def test_no_cpu_belongs_to_two_instances(ranker, digits):
    assert ranker.show("CPUAffinity") != digits.show("CPUAffinity")
    for instance in (ranker, digits):
        allowed = {
            line.split(":")[1].strip()
            for line in instance.of_all_threads("status").splitlines()
            if line.startswith("Cpus_allowed_list")
        }
        assert allowed == {instance.show("CPUAffinity")}


def test_batching_follows_the_inventory_where_it_speaks_and_the_plan_elsewhere(host, ranker):
    parameters = host.file("/etc/tfserving/ranker/batching.config").content_string
    assert "max_batch_size { value: 16 }" in parameters
    assert "batch_timeout_micros { value: 2000 }" in parameters
    assert "num_batch_threads" in parameters
    assert "--enable_batching=true" in ranker.command_line()


def test_a_tuned_setting_is_served(digits):
    assert "--grpc_max_threads=97" in digits.command_line()


def test_batching_is_off_for_the_latency_profile(digits):
    assert not [argument for argument in digits.command_line() if "batching" in argument]


def test_the_inventory_overrides_flags_and_the_plan_marks_them(host, ranker):
    assert "--rest_api_timeout_in_ms=20000" in ranker.command_line()
    assert "--grpc_channel_arguments=grpc.max_concurrent_streams=64" in ranker.command_line()
    assert "flags.rest_api_timeout_in_ms" in host.file("/etc/tfserving/plan.json").content_string


def test_the_environment_reaches_the_process(ranker):
    assert ranker.environment()["TF_CPP_MIN_LOG_LEVEL"] == "1"


def test_the_allocator_preset_and_its_override_reach_the_process(ranker):
    conf = ranker.environment()["MALLOC_CONF"].split(",")
    assert "narenas:2" in conf
    assert "dirty_decay_ms:5000" in conf


def test_the_group_is_the_one_that_was_named(host, ranker, digits):
    gid = host.group("model-servers").gid
    assert ranker.ids()[1] == digits.ids()[1] == gid
    assert not host.group("tfserving").exists


def test_models_lie_where_the_inventory_wants_them(host):
    assert host.file("/srv/models/ranker/2/saved_model.pb").exists
    assert not host.file("/var/lib/tfserving/models").exists


def test_releases_lie_where_the_inventory_wants_them(host, ranker):
    assert "/srv/releases/" in ranker.command_of_unit()
    assert not host.file("/opt/tfserving").exists


def test_the_plan_follows_the_policy(ranker):
    assert "--model_config_file_poll_wait_seconds=5" in ranker.command_line()
    assert ":tensorflow:serving:request_count" in ranker.ask("/metrics")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("/etc/tmpfiles.d/90-tfserving-fleet.conf", "w /sys/kernel/mm/transparent_hugepage/enabled - - - - always"),
        ("/etc/tmpfiles.d/90-tfserving-fleet.conf", "scaling_governor - - - - schedutil"),
        ("/etc/tmpfiles.d/90-tfserving-fleet.conf", "energy_performance_preference - - - - balance_performance"),
        ("/etc/tmpfiles.d/90-tfserving-fleet.conf", "pm_qos_resume_latency_us - - - - 50"),
        ("/etc/modules-load.d/90-tfserving-fleet.conf", "tcp_bbr"),
        ("/etc/sysctl.d/90-tfserving-fleet.conf", "net.ipv4.tcp_congestion_control = bbr"),
    ],
)
def test_settings_of_the_host_are_written_down_as_wished(host, file, line):
    assert line in host.file(file).content_string


def test_the_environment_file_is_for_root_alone(host):
    assert oct(host.file("/etc/tfserving/ranker/environment").mode) == "0o600"


def test_only_those_who_are_named_may_talk_to_the_servers(host, ranker):
    address = host.check_output("hostname -I").split()[0]
    assert ranker.states("ranker")
    # This machine is among those who may use REST, and not among those who may use gRPC.
    socket.create_connection((address, 9501), timeout=10).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 9500), timeout=10)


def test_the_rules_go_when_nobody_needs_them(host, ranker, digits):
    assert "reject with tcp reset" in host.check_output("nft list table inet tfserving")
    # The gates are asked for over a port of their own.
    host.check_output("systemctl stop %s %s tfserving-gate", ranker.unit, digits.unit)
    try:
        host.check_output(
            "timeout 120 sh -c 'while nft list table inet tfserving > /dev/null 2>&1; do sleep 0.1; done'"
        )
    finally:
        # The health units are started once the models are available.
        host.check_output(
            "systemctl start %s %s tfserving-health@ranker tfserving-health@digits", ranker.unit, digits.unit
        )
    assert "reject with tcp reset" in host.check_output("nft list table inet tfserving")


@pytest.mark.parametrize("name", ["ranker", "digits"])
def test_a_balancer_of_ones_own_is_answered(host, name):
    # What was started by hand is admitted by the unit that watches it, a moment later.
    asked = f"curl --silent --fail http://127.0.0.1:8491/gate/{name}"
    host.check_output(f"timeout 120 sh -c 'until {asked}; do sleep 0.2; done'")


def test_open_files_are_limited_as_wished(ranker):
    assert ranker.show("LimitNOFILE") == "8192"
