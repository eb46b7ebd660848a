# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which environment a server's release needs on a builder, and what is said where there is none."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.builder.environments import MINORS, environment
from fleet_lab import locking
from repository import REPOSITORY

FILES = REPOSITORY / "roles" / "model_builder" / "files"
DIGEST = "sha256:" + "0" * 64
HERE = "3.11 x86_64"


@pytest.mark.parametrize(("version", "minor"), [("2.12.0", "2.12"), ("2.19.1", "2.19"), ("2.20", "2.20")])
def test_a_release_gets_the_environment_of_its_minor(version, minor):
    assert environment(version, HERE) == {
        "kind": "environment",
        "minor": minor,
        "requirements": f"requirements-{minor}.txt",
    }


def test_an_image_is_taken_for_any_release_and_any_python():
    found = environment("2.8.0", "", f"docker.io/tensorflow/tensorflow@{DIGEST}")
    assert found == {"kind": "image", "minor": "2.8", "requirements": ""}


@pytest.mark.parametrize(
    ("version", "found", "image", "sentence"),
    [
        (
            "",
            HERE,
            "",
            "model_builder_server_version: is empty; "
            "give the release of the servers that are to run the model, such as "
            "2.19.1",
        ),
        (
            "latest",
            HERE,
            "",
            "model_builder_server_version: is the string 'latest'; "
            "give the release of the servers that are to run the model, such "
            "as 2.19.1",
        ),
        (
            "2.11.1",
            HERE,
            "",
            "model_builder_server_version: is 2.11, and "
            "there are locked wheels of TensorFlow for 2.12 to 2.20; name an "
            "image with TensorFlow 2.11 by its digest in model_builder_image",
        ),
        (
            "2.21.0",
            HERE,
            "",
            "model_builder_server_version: is 2.21, and "
            "there are locked wheels of TensorFlow for 2.12 to 2.20; name an "
            "image with TensorFlow 2.21 by its digest in model_builder_image",
        ),
        (
            "2.19.1",
            "",
            "",
            "model_builder_python: does not run on the builder; name a Python 3.11 of it, or name an image with "
            "TensorFlow 2.19 by its digest in model_builder_image",
        ),
        (
            "2.19.1",
            "3.13 x86_64",
            "",
            "model_builder_python: is Python 3.13, and "
            "the wheels are locked for 3.11; name a Python 3.11 of the builder, "
            "or name an image with TensorFlow 2.19 by its digest in model_builder_image",
        ),
        (
            "2.19.1",
            "3.11 aarch64",
            "",
            "model_builder_python: runs on aarch64, not on x86_64; name an image with TensorFlow 2.19 by its digest in "
            "model_builder_image",
        ),
        (
            "2.8.0",
            HERE,
            "tensorflow/tensorflow:2.8.0",
            "model_builder_image: is not pinned by a digest; write it as NAME@sha256:HEX",
        ),
    ],
)
def test_what_has_no_environment_is_refused_with_what_to_do(version, found, image, sentence):
    with pytest.raises(WishError) as refused:
        environment(version, found, image)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("minor", [f"2.{number}" for number in MINORS])
def test_every_minor_is_locked_with_a_digest_for_each_package(minor):
    text = (FILES / f"requirements-{minor}.txt").read_text(encoding="utf-8")
    packages = re.findall(r"^([a-z][a-z0-9.-]*)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(packages) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    assert dict(packages)["tensorflow-cpu"].startswith(f"{minor}.")
    wanted = (REPOSITORY / "requirements" / f"optimizer-{minor}.in").read_text(encoding="utf-8")
    assert f"tensorflow-cpu=={dict(packages)['tensorflow-cpu']}\n" in wanted
    assert locking.TARGETS[f"optimizer-{minor}"] == f"roles/model_builder/files/requirements-{minor}.txt"
