# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starting nvidia-smi: within bounds, and with a sentence where it fails. A shell script stands in for the program."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi as nvidia_smi

LIST = ("-L",)
QUERY = ("--query-gpu=index,uuid,pci.bus_id,name", "--format=csv,noheader,nounits")
T4 = "2, GPU-0f1c8f2e-9a38-6c39-a2a5-5a1b64b0d1ce, 00000000:AF:00.0, Tesla T4"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a shell script in the place of nvidia-smi."""

    def install(script):
        file = tmp_path / "nvidia-smi"
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return install


def test_it_returns_what_was_printed(program):
    program('echo "asked $*"')
    assert nvidia_smi.run(LIST, timeout=10) == "asked -L\n"


def test_a_host_without_it_has_no_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_smi.run(LIST, timeout=10) is None


@pytest.mark.parametrize("mode", [0o644, None])
def test_a_program_that_cannot_be_started_is_told_apart_from_none(program, tmp_path, mode):
    file = tmp_path / "nvidia-smi"
    if mode is None:
        file.mkdir()
    else:
        program("exit 0")
        file.chmod(mode)
    with pytest.raises(nvidia_smi.NvidiaSmiError, match=r"^nvidia-smi could not be started: ") as failure:
        nvidia_smi.run(LIST, timeout=10)
    assert failure.value.code in nvidia_smi.UNASKED


def test_a_program_that_crashes_is_told_with_its_signal(program):
    program("kill -SEGV $$")
    with pytest.raises(nvidia_smi.NvidiaSmiError, match=r"^nvidia-smi -L was ended by signal 11: without a message$"):
        nvidia_smi.run(LIST, timeout=10)


def test_the_setting_that_failed_is_told_and_not_the_gpu(program):
    program("echo 'Insufficient Permissions'; exit 4")
    with pytest.raises(nvidia_smi.NvidiaSmiError, match=r"^nvidia-smi --power-limit failed with code 4: Insufficient"):
        nvidia_smi.run(("--id=GPU-1", "--power-limit=300"), timeout=10)


@pytest.mark.parametrize("row", [T4, "GPU-0f1c8f2e-9a38-6c39-a2a5-5a1b64b0d1ce, 0, 0, No, No", "1, [GPU is lost], 0"])
def test_the_cause_is_told_and_not_the_rows_and_warnings_before_it(program, row):
    said = "Unable to determine the device handle for GPU 0000:81:00.0: GPU is lost."
    warning = "Warning: persistence mode is disabled on device 00000000:AF:00.0. See the manual."
    program(f"for each in 1 2 3 4 5 6 7 8; do echo '{row}'; echo '{warning}'; done; echo '{said}'; exit 15")
    with pytest.raises(nvidia_smi.NvidiaSmiError) as failure:
        nvidia_smi.run(QUERY, timeout=10)
    assert str(failure.value) == f"nvidia-smi --query-gpu failed with code 15: {said}"


def test_its_complaint_is_told_on_one_line(program):
    program("echo 'NVIDIA-SMI has failed because'; echo 'it could not reach the driver.' >&2; exit 9")
    with pytest.raises(nvidia_smi.NvidiaSmiError) as failure:
        nvidia_smi.run(LIST, timeout=10)
    said = "NVIDIA-SMI has failed because it could not reach the driver."
    assert str(failure.value) == f"nvidia-smi -L failed with code 9: {said}"


def test_a_damaged_info_rom_does_not_spoil_the_answer(program):
    program(f"echo '{T4}'; exit 14")
    assert nvidia_smi.run(QUERY, timeout=10) == f"{T4}\ninfoROM is corrupted (code 14)\n"


def test_a_driver_that_never_answers_is_given_up(program):
    program("exec sleep 3600")
    with pytest.raises(nvidia_smi.NvidiaSmiError, match=r"nvidia-smi -L did not answer within 0\.2 seconds"):
        nvidia_smi.run(LIST, timeout=0.2)


def test_a_driver_that_hangs_with_both_streams_closed_is_given_up(program):
    program("exec >&- 2>&-; exec sleep 3600")
    with pytest.raises(nvidia_smi.NvidiaSmiError, match="did not answer"):
        nvidia_smi.run(LIST, timeout=0.2)


def test_a_child_that_keeps_the_stream_open_is_given_up(program):
    program("sleep 60 & exit 0")
    with pytest.raises(nvidia_smi.NvidiaSmiError, match="did not answer"):
        nvidia_smi.run(LIST, timeout=0.2)


def test_a_program_that_prints_without_end_is_given_up(program):
    program("exec yes")
    with pytest.raises(nvidia_smi.NvidiaSmiError, match=r"nvidia-smi -L printed more than 4 MiB"):
        nvidia_smi.run(LIST, timeout=60)


def test_remarks_on_standard_error_come_after_the_rows_however_they_were_mixed(program):
    program(f"printf 'Warning: persistence' >&2; printf '{T4}'; echo ' mode is disabled' >&2")
    assert nvidia_smi.run(QUERY, timeout=10) == f"{T4}\nWarning: persistence mode is disabled\n"


def test_the_cause_comes_first_and_the_fields_do_not_come(program):
    program("echo 'Field \"compute_cap\" is not a valid field to query.'; echo; exit 2")
    with pytest.raises(nvidia_smi.NvidiaSmiError) as failure:
        nvidia_smi.run(QUERY, timeout=10)
    assert str(failure.value) == (
        'nvidia-smi --query-gpu failed with code 2: Field "compute_cap" is not a valid field to query.'
    )
    assert (failure.value.unknown_field, failure.value.unknown_option) == ("compute_cap", False)


def test_a_question_that_the_branch_does_not_know_is_recognised(program):
    program("echo \"ERROR: Option --version is not recognized. Please run 'nvidia-smi -h'.\"; exit 255")
    with pytest.raises(nvidia_smi.NvidiaSmiError) as failure:
        nvidia_smi.run(("--version",), timeout=10)
    assert (failure.value.unknown_field, failure.value.unknown_option) == (None, True)


def test_numbers_are_asked_for_with_a_point(program, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    program('echo "$LC_ALL"')
    assert nvidia_smi.run(LIST, timeout=10) == "C\n"


def test_what_it_says_as_it_fails_is_one_line_of_bounded_length(program):
    program("head --bytes=100000 /dev/zero | tr '\\0' '\\033'; exit 1")
    with pytest.raises(nvidia_smi.NvidiaSmiError) as failure:
        nvidia_smi.run(LIST, timeout=10)
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) <= 400
