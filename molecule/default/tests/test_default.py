# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A fleet that has been told no more than which model to serve."""

from __future__ import annotations

import json

import pytest


def test_one_instance_serves_all_models_and_starts_at_boot(host, main):
    unit = host.service(main.unit)
    assert unit.is_running
    assert host.check_output("systemctl is-enabled %s", main.unit) == "enabled"


def test_the_model_answers_as_it_was_trained_to(main, known):
    sample = known("digits")
    answer = main.predict("digits", sample["request"])["predictions"]
    for given, expected in zip(answer, sample["answers"]["1"]["predictions"], strict=True):
        assert given["class_id"] == expected["class_id"]
        assert given["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)


def test_the_server_runs_on_jemalloc(main):
    assert "libjemalloc.so" in main.process("maps")
    assert "background_thread:true" in main.environment()["MALLOC_CONF"]


def test_the_server_runs_as_an_account_that_is_its_own_and_ends_with_it(host, main):
    user, group = main.ids()
    assert user in range(61184, 65520)
    assert group == host.group("tfserving").gid
    assert main.show("User") == "tfserving-main"


def test_what_the_shared_account_of_0_1_0_had_kept_is_the_instances_own_now(host, main):
    kept = host.file("/var/cache/private/tfserving/main/kernel")
    assert kept.content_string == "compiled"
    assert kept.uid == main.ids()[0]
    uid = str(host.user("tfserving").uid)
    assert host.run("pgrep --uid %s", uid).rc == 1
    assert host.check_output("find /etc /run /srv /var /opt -xdev -uid %s", uid) == ""
    assert host.check_output("find /etc/tfserving -type f -group tfserving") == ""


def test_threads_are_set_by_the_plan(host, main):
    plan = json.loads(host.file("/etc/tfserving/plan.json").content_string)
    threads = plan["instances"][0]["threads"]
    assert f"--tensorflow_intra_op_parallelism={threads['intra_op']}" in main.command_line()
    assert f"--tensorflow_inter_op_parallelism={threads['inter_op']}" in main.command_line()


def test_the_profiler_is_off(main):
    assert "--enable_profiler=false" in main.command_line()


def test_the_metrics_are_where_prometheus_looks(main):
    assert ":tensorflow:serving:request_count" in main.ask("/monitoring/prometheus/metrics")


def test_the_kernel_is_told_who_may_talk_to_the_server(main):
    # systemd keeps addresses in a set, and lists them in another order each time.
    assert set(main.show("IPAddressDeny").split()) == {"::/0", "0.0.0.0/0"}
    assert set(main.show("IPAddressAllow").split()) == {"127.0.0.0/8", "::1/128"}


def test_the_server_runs_from_a_release_that_an_upgrade_of_the_package_does_not_touch(host, main):
    release = "/opt/tfserving/releases/tensorflow-model-server@2.19.1"
    assert f"{release}/rootfs/usr/bin/tensorflow_model_server" in main.command_of_unit()
    assert json.loads(host.file(f"{release}/release.json").content_string)["version"] == "2.19.1"


def test_the_health_unit_is_active_since_the_models_are_available(host):
    unit = "tfserving-health@main.service"
    assert host.service(unit).is_running
    assert "available" in host.check_output("systemctl show -p StatusText --value %s", unit)


def test_the_exact_version_is_installed_and_held(host):
    assert host.package("tensorflow-model-server").version.startswith("2.19.1")
    assert host.check_output("apt-mark showhold") == "tensorflow-model-server"


def test_apt_would_not_move_the_version_either(host):
    policy = host.check_output("apt-cache policy tensorflow-model-server")
    assert "Candidate: 2.19.1" in policy


def test_the_repository_is_trusted_by_its_own_key_alone(host):
    sources = host.file("/etc/apt/sources.list.d/tfserving.sources").content_string
    assert "Signed-By: /etc/apt/keyrings/tfserving.gpg" in sources
    assert host.run("ls /etc/apt/trusted.gpg.d | grep -i tensor").rc == 1


def test_the_server_can_read_its_model_and_cannot_change_it(host, main):
    version = "/var/lib/tfserving/models/digits/1"
    program = "import json, os, sys; print(json.dumps([os.access(sys.argv[1], how) for how in (os.R_OK, os.W_OK)]))"
    assert main.inside(program, f"{version}/saved_model.pb") == [True, False]
    assert main.inside(program, version) == [True, False]


def test_nothing_half_published_is_left(host):
    assert host.check_output("ls -A /var/lib/tfserving/models/digits").split() == [".published", "1"]


@pytest.mark.parametrize("path", ["/etc", "/usr", "/var", "/var/lib", "/etc/apt/sources.list.d", "/etc/systemd/system"])
def test_directories_of_the_system_keep_their_owner_and_mode(host, path):
    directory = host.file(path)
    assert (directory.user, directory.group, oct(directory.mode)) == ("root", "root", "0o755")
