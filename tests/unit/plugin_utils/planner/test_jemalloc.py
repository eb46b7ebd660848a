# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The environment that puts jemalloc under a server, and the verdict on a trial load."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.jemalloc import (
    LIBRARIES,
    OPTIONS,
    PRESETS,
    complaints,
    environment,
)

LIBRARY = os.environ.get("TFSERVING_TEST_JEMALLOC", LIBRARIES["x86_64"])
needs_library = pytest.mark.skipif(not os.path.exists(LIBRARY), reason=f"{LIBRARY} is not installed here")

# One value for each option, as a user could write it.
SAMPLES = {
    "dss": "disabled",
    "metadata_thp": "always",
    "narenas": 2,
    "narenas_ratio": 0.5,
    "percpu_arena": "disabled",
    "tcache_gc_incr_bytes": 65536,
    "thp": "never",
    "zero_realloc": "free",
}


def sample(option):
    if option in SAMPLES:
        return SAMPLES[option]
    return next(value for value in (True, 1) if not OPTIONS[option](value))


def load(conf, library=LIBRARY):
    """Run a process under the library and return what it printed."""
    env = {"LD_PRELOAD": library, "MALLOC_CONF": f"confirm_conf:true,{conf}"}
    return subprocess.run(["/bin/true"], env=env, capture_output=True, text=True, check=False).stderr


def test_a_preset_becomes_the_two_variables():
    assert environment("balanced", {}, "x86_64") == {
        "LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
        "MALLOC_CONF": "background_thread:true,metadata_thp:auto,dirty_decay_ms:10000,muzzy_decay_ms:0",
    }


def test_an_override_takes_the_presets_place_and_new_options_follow():
    conf = environment("low_memory", {"dirty_decay_ms": 1000, "retain": False}, "x86_64")["MALLOC_CONF"]
    assert conf.split(",")[1] == "dirty_decay_ms:1000"
    assert conf.endswith(",retain:false")


def test_null_leaves_an_option_at_the_librarys_default():
    assert "metadata_thp" not in environment("balanced", {"metadata_thp": None}, "x86_64")["MALLOC_CONF"]


@pytest.mark.parametrize("name", ["aarch64", "arm64"])
def test_the_library_stands_in_the_multiarch_directory(name):
    assert environment("balanced", {}, name)["LD_PRELOAD"] == "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2"


@pytest.mark.parametrize(
    ("preset", "overrides", "architecture", "message"),
    [
        ("balansed", {}, "x86_64", "tfserving_allocator_preset: 'balansed' is not a preset; did you mean 'balanced'?"),
        ("fast", {}, "x86_64", "choose one of balanced, low_latency, low_memory, custom"),
        ("custom", {}, "x86_64", "tfserving_allocator_conf: holds no option for the preset custom; give at least one"),
        ("custom", {"tcache": None}, "x86_64", "tfserving_allocator_conf: holds no option"),
        (
            "balanced",
            {"dirty_decay": 1},
            "x86_64",
            "is not a tuning option of jemalloc 5.3; did you mean 'dirty_decay_ms'?",
        ),
        ("balanced", {"qqq": 1}, "x86_64", "see https://jemalloc.net/jemalloc.3.html#tuning"),
        (
            "balanced",
            {"retain": "yes"},
            "x86_64",
            "tfserving_allocator_conf.retain: must be true or false; 'yes' was given",
        ),
        ("balanced", {"dirty_decay_ms": -2}, "x86_64", "must be a whole number of at least -1; -2 was given"),
        ("balanced", {"dirty_decay_ms": True}, "x86_64", "must be a whole number"),
        ("balanced", {"tcache_max": 2**24}, "x86_64", "must be a whole number of at least 0 and at most 8388608"),
        ("balanced", {"narenas": 0}, "x86_64", "must be a whole number of at least 1 and at most 4094; 0 was given"),
        ("balanced", {"narenas_ratio": 0}, "x86_64", "must be a number above 0; 0 was given"),
        ("balanced", {"thp": "auto"}, "x86_64", "tfserving_allocator_conf.thp: must be one of default, always, never"),
        ("balanced", {"percpu_arena": "percpu"}, "x86_64", "cannot be used by a server that is pinned"),
        ("balanced", {}, "riscv64", "no place of the library is known for the architecture 'riscv64'; set it to glibc"),
    ],
)
def test_what_the_library_would_ignore_is_refused(preset, overrides, architecture, message):
    with pytest.raises(WishError) as caught:
        environment(preset, overrides, architecture)
    assert message in str(caught.value)


def test_a_confirmed_configuration_has_no_complaints():
    printed = '<jemalloc>: malloc_conf #1 (string): ""\n<jemalloc>: -- Set conf value: thp:never\n'
    assert complaints(printed, "thp:never") == []


def test_silence_is_a_complaint():
    assert complaints("", "thp:never") == ["thp:never was not confirmed by the library"]


@needs_library
@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_the_library_knows_each_option(option):
    conf = environment("custom", {option: sample(option)}, "x86_64")["MALLOC_CONF"]
    assert complaints(load(conf), conf) == []


@needs_library
@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"custom"}))
def test_the_library_takes_each_preset(preset):
    conf = environment(preset, {}, "x86_64")["MALLOC_CONF"]
    assert complaints(load(conf), conf) == []


@needs_library
def test_a_refusal_by_the_library_is_reported_in_its_words():
    assert complaints(load("narenas:0,thp:never"), "narenas:0,thp:never") == [
        "<jemalloc>: Out-of-range conf value: narenas:0"
    ]


def test_a_library_that_cannot_be_loaded_is_reported_in_the_linkers_words():
    (line,) = complaints(load("thp:never", "/nonexistent/libjemalloc.so.2"), "thp:never")
    assert "cannot be preloaded" in line
