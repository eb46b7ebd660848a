# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a kernel makes of its settings: set, kept, missing, refused, overruled, and given back to the last one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import settings as kernel_live
from machines import write

BOOT_FILE = "/etc/sysctl.d/90-tfserving-fleet.conf"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"


class FakeKernel(kernel_live.Kernel):
    """A tree of files of which ``stubborn`` ones take no value and ``rounding`` ones another one than given."""

    def __init__(self, root, stubborn=(), rounding=None, dry=False):
        super().__init__(str(root), dry)
        self.stubborn = stubborn
        self.rounding = rounding or {}
        self.writes = []

    def write(self, path, value):
        if path in self.stubborn:
            return f"the kernel refuses {value!r} (Invalid argument)"
        self.writes.append(path)
        return super().write(path, self.rounding.get(path, value))


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "proc/sys/net/core/somaxconn", "4096")
    write(tmp_path, "proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456")
    write(tmp_path, THP[1:], "[always] madvise never")
    for policy in (0, 1):
        write(tmp_path, f"sys/devices/system/cpu/cpufreq/policy{policy}/scaling_governor", "powersave")
    return tmp_path


@pytest.fixture
def record_path(tmp_path):
    return str(tmp_path / "var/lib/tfserving-fleet/kernel.json")


def wanted(sysfs=None, **sysctl):
    return {
        "sysctl": [{"name": name.replace("__", "."), "value": value} for name, value in sysctl.items()],
        "sysfs": [{"path": path, "value": value} for path, value in (sysfs or {}).items()],
    }


def apply(kernel, record_path, settings):
    return kernel_live.apply(kernel, kernel_live.Originals(record_path), settings, BOOT_FILE)


def statuses(outcomes):
    return {outcome.key: outcome.status for outcome in outcomes}


def test_a_value_is_set_and_the_next_run_keeps_it(root, record_path):
    settings = wanted(net__core__somaxconn="16384", net__ipv4__tcp_rmem="4096 131072 16777216")
    first = apply(FakeKernel(root), record_path, settings)
    again = FakeKernel(root)
    assert set(statuses(first).values()) == {"set"}
    assert set(statuses(apply(again, record_path, settings)).values()) == {"kept"}
    assert again.writes == []
    assert (root / "proc/sys/net/core/somaxconn").read_text() == "16384\n"


def test_blanks_between_numbers_are_no_difference(root, record_path):
    outcomes = apply(FakeKernel(root), record_path, wanted(net__ipv4__tcp_rmem="4096 131072 6291456"))
    assert statuses(outcomes) == {"net.ipv4.tcp_rmem": "kept"}


def test_a_choice_is_read_by_its_brackets(root, record_path):
    (outcome,) = apply(FakeKernel(root), record_path, wanted({THP: "always"}))
    assert (outcome.before, outcome.status) == ("always", "kept")


def test_a_setting_that_the_kernel_does_not_have_is_reported_and_nothing_else(root, record_path):
    (outcome,) = apply(FakeKernel(root), record_path, wanted(net__core__nonesuch="1"))
    assert (outcome.status, outcome.after) == ("missing", None)
    assert str(outcome) == "net.core.nonesuch: this kernel or machine has no such setting"


def test_wildcards_stand_for_all_that_is_there_and_are_missing_where_nothing_is(root, record_path):
    governor = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
    limit = "/sys/devices/system/cpu/cpu{0,1}/power/pm_qos_resume_latency_us"
    outcomes = statuses(apply(FakeKernel(root), record_path, wanted({governor: "performance", limit: "20"})))
    assert outcomes == {
        "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "set",
        "/sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "set",
        limit: "missing",
    }


def test_what_the_kernel_refuses_is_told_in_its_own_words(root, record_path):
    kernel = FakeKernel(root, stubborn=["/proc/sys/net/core/somaxconn"])
    (outcome,) = apply(kernel, record_path, wanted(net__core__somaxconn="x"))
    assert (outcome.status, outcome.after) == ("refused", "4096")
    assert str(outcome) == "net.core.somaxconn: the kernel refuses 'x' (Invalid argument)"


def test_a_value_that_the_kernel_changes_on_its_way_counts_as_refused(root, record_path):
    kernel = FakeKernel(root, rounding={"/proc/sys/net/core/somaxconn": "65535"})
    (outcome,) = apply(kernel, record_path, wanted(net__core__somaxconn="70000"))
    assert str(outcome) == "net.core.somaxconn: the kernel was given '70000' and has '65535'"
    assert outcome.status == "refused"


def test_a_read_only_kernel_is_no_less_truthful_in_check_mode(root, record_path, monkeypatch):
    monkeypatch.setattr(kernel_live.os, "access", lambda path, mode: False)
    for dry in (True, False):
        outcomes = apply(FakeKernel(root, dry=dry), record_path, wanted({THP: "madvise"}, net__core__somaxconn="1"))
        assert set(statuses(outcomes).values()) == {"refused"}
        assert kernel_live.told(outcomes) == [f"net.core.somaxconn, {THP}: is read-only here, as in a container"]
    assert not (root / "var/lib/tfserving-fleet/kernel.json").exists()


def test_a_refused_change_of_mind_does_not_forget_the_original(root, record_path):
    apply(FakeKernel(root), record_path, wanted(net__core__somaxconn="8192"))
    stubborn = FakeKernel(root, stubborn=["/proc/sys/net/core/somaxconn"])
    apply(stubborn, record_path, wanted(net__core__somaxconn="16384"))
    kernel_live.forget(FakeKernel(root), kernel_live.Originals(record_path))
    assert (root / "proc/sys/net/core/somaxconn").read_text() == "4096\n"


def test_check_mode_says_what_it_would_set_and_leaves_no_trace(root, record_path):
    (outcome,) = apply(FakeKernel(root, dry=True), record_path, wanted(net__core__somaxconn="16384"))
    assert (outcome.status, outcome.after) == ("set", "16384")
    assert (root / "proc/sys/net/core/somaxconn").read_text() == "4096\n"
    assert not (root / "var").exists()


def test_the_first_original_is_remembered_however_often_the_wish_changes(root, record_path):
    for value in ("8192", "16384"):
        apply(FakeKernel(root), record_path, wanted(net__core__somaxconn=value))
    kernel_live.forget(FakeKernel(root), kernel_live.Originals(record_path))
    assert (root / "proc/sys/net/core/somaxconn").read_text() == "4096\n"


def test_a_wish_that_is_dropped_gives_its_setting_back(root, record_path):
    apply(FakeKernel(root), record_path, wanted({THP: "madvise"}, net__core__somaxconn="16384"))
    outcomes = apply(FakeKernel(root), record_path, wanted(net__core__somaxconn="16384"))
    assert statuses(outcomes) == {THP: "set", "net.core.somaxconn": "kept"}
    assert set(json.loads(Path(record_path).read_text())["originals"]) == {"net.core.somaxconn"}


def test_giving_back_leaves_no_record_and_a_second_time_does_nothing(root, record_path, tmp_path):
    apply(FakeKernel(root), record_path, wanted({THP: "madvise"}, net__core__somaxconn="16384"))
    first = kernel_live.forget(FakeKernel(root), kernel_live.Originals(record_path))
    assert set(statuses(first).values()) == {"set"}
    assert kernel_live.forget(FakeKernel(root), kernel_live.Originals(record_path)) == []
    assert list((tmp_path / "var/lib/tfserving-fleet").iterdir()) == []


def test_what_was_so_before_is_not_given_back(root, record_path):
    apply(FakeKernel(root), record_path, wanted(net__core__somaxconn="4096"))
    assert kernel_live.forget(FakeKernel(root), kernel_live.Originals(record_path)) == []


def test_the_originals_are_on_disk_before_the_first_change(root, record_path):
    class PowerCutError(Exception):
        pass

    class Cut(FakeKernel):
        def write(self, path, value):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        apply(Cut(root), record_path, wanted(net__core__somaxconn="16384"))
    assert kernel_live.Originals(record_path).originals["net.core.somaxconn"]["value"] == "4096"


def test_a_record_that_cannot_be_read_is_never_overwritten(root, record_path):
    write(root, "var/lib/tfserving-fleet/kernel.json", "{")
    with pytest.raises(WishError) as refusal:
        kernel_live.Originals(record_path)
    remedy = "move it away and run again; what is set now then counts as original"
    assert str(refusal.value) == f"{record_path}: is damaged; {remedy}"


@pytest.mark.parametrize(
    ("file", "status"),
    [
        ("etc/sysctl.d/99-own.conf", "overruled"),
        ("usr/lib/sysctl.d/95-package.conf", "overruled"),
        ("etc/sysctl.d/10-own.conf", "set"),
    ],
)
def test_a_file_that_is_read_later_at_boot_overrules_and_an_earlier_one_does_not(root, record_path, file, status):
    write(root, file, "# a comment\nnet/core/somaxconn=128")
    (outcome,) = apply(FakeKernel(root), record_path, wanted(net__core__somaxconn="16384"))
    assert outcome.status == status
    if status == "overruled":
        assert outcome.after == "4096"
        assert str(outcome) == (
            f"net.core.somaxconn: /{file} sets it to 128 and is read later at boot;"
            " remove it there, or set it to null here"
        )


def test_a_later_file_that_agrees_is_no_obstacle(root, record_path):
    write(root, "etc/sysctl.d/99-own.conf", "net.core.somaxconn = 16384")
    (outcome,) = apply(FakeKernel(root), record_path, wanted(net__core__somaxconn="16384"))
    assert outcome.status == "set"


def test_a_masked_file_overrules_nothing(root, record_path):
    write(root, "usr/lib/sysctl.d/95-package.conf", "net.core.somaxconn = 128")
    write(root, "etc/sysctl.d/95-package.conf", "")
    (outcome,) = apply(FakeKernel(root), record_path, wanted(net__core__somaxconn="16384"))
    assert outcome.status == "set"


def test_a_failed_run_takes_back_what_it_had_set(root, record_path):
    settings = wanted({THP: "madvise"}, net__core__somaxconn="16384")
    kernel = FakeKernel(root, stubborn=[THP])
    outcomes = apply(kernel, record_path, settings)
    paths = {key: path for key, path, _value in kernel_live.wanted_values(kernel, settings)}
    kernel_live.take_back(kernel, outcomes, paths)
    assert (root / "proc/sys/net/core/somaxconn").read_text() == "4096\n"


def test_a_limit_that_is_too_low_is_said_with_its_remedy(root):
    write(root, "proc/sys/fs/nr_open", "1024")
    write(root, "proc/sys/fs/file-max", "9223372036854775807")
    least = {"least": [{"name": "fs.nr_open", "value": "65536"}, {"name": "fs.file-max", "value": "262144"}]}
    assert kernel_live.low(FakeKernel(root), least) == [
        "fs.nr_open: is 1024, serving needs 65536; set kernel_tuning_sysctl: {fs.nr_open: 65536}"
    ]


@pytest.mark.parametrize(
    ("wish", "own", "insists"),
    [("auto", True, True), ("auto", False, False), ("true", False, True), ("false", True, False)],
)
def test_a_refusal_is_an_error_as_wished_or_where_the_kernel_is_the_hosts_own(wish, own, insists):
    assert kernel_live.insists(wish, {"live": {"required": own}}) is insists
