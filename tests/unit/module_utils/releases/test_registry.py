# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of registries and their mirrors, with skopeo as it is and a registry on loopback."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import registry as release_registry
from registry_double import NOWHERE, registry
from release_images import at_once, host, layout, refused, with_tools

__all__ = ["at_once", "host", "layout", "registry"]  # fixtures


@with_tools
def test_a_mirror_is_asked_first_and_the_registry_only_when_it_fails(host, layout, registry):
    image = f"{NOWHERE}/tensorflow/serving:2.19.1@{layout.digest}"
    dead = "http://127.0.0.1:2/hub"
    result = host.install(image=image, mirrors=[dead, f"http://{registry.place}/hub/"])
    assert result["release"]["source"] == f"{NOWHERE}/tensorflow/serving@{layout.digest}"
    assert f"/v2/hub/tensorflow/serving/manifests/{layout.digest}" in registry.requests
    assert len([command for command in host.commands if command[0] == "skopeo"]) == 2


def test_credentials_are_kept_from_an_unencrypted_mirror(tmp_path):
    image = release_registry.Image("docker://", "registry.example/a/serving", f"sha256:{'0' * 64}")
    options = [each.options for each in release_registry._registries(image, ["http://m", "n:5/p"], ("--authfile", "F"))]
    retries = ("--retry-times", "0")
    assert options == [
        (*retries, "--src-tls-verify=false", "--src-no-creds"),
        (*retries, "--authfile", "F"),
        (*retries, "--authfile", "F"),
    ]


@with_tools
def test_a_tampered_layer_of_a_registry_is_refused(host, layout, registry):
    layout.tamper(layout.layer)
    said = host.refusal(image=f"{NOWHERE}/serving@{layout.digest}", mirrors=[f"http://{registry.place}"])
    assert "Digest did not match" in said
    assert said.endswith("; check what changed there, or correct the digest")


@with_tools
def test_a_tampered_manifest_of_a_registry_is_refused(host, layout, registry):
    layout.blob(layout.digest).write_bytes(layout.blob(layout.digest).read_bytes() + b" ")
    said = host.refusal(image=f"{NOWHERE}/serving@{layout.digest}", mirrors=[f"http://{registry.place}"])
    assert "Manifest does not match" in said
    assert said.endswith("; check what changed there, or correct the digest")


@with_tools
def test_a_digest_that_a_registry_does_not_know_is_refused(host, registry):
    image = f"{NOWHERE}/serving@sha256:{'0' * 64}"
    said = host.refusal(image=image, mirrors=[f"http://{registry.place}"])
    assert "manifest unknown" in said
    assert said.endswith("; check the repository and the digest with `skopeo inspect`, or push the image there")


@with_tools
def test_a_registry_that_wants_credentials_is_told(host, layout, registry):
    registry.closed = True
    said = host.refusal(image=f"{NOWHERE}/serving@{layout.digest}", mirrors=[f"http://{registry.place}"])
    assert said.endswith("; name credentials in auth_file, as `skopeo login --authfile FILE` writes them")


@with_tools
def test_unreachable_registries_are_all_named(host, layout):
    said = host.refusal(image=f"{NOWHERE}/serving@{layout.digest}", mirrors=["127.0.0.1:2/hub"])
    assert said.startswith(refused("the image cannot be fetched from 127.0.0.1:2 ("))
    assert f", {NOWHERE} (" in said
    assert "connection refused" in said
    assert said.endswith("); check that this host reaches it, or name a mirror that it reaches")
    assert "\n" not in said


@with_tools
def test_a_file_of_credentials_that_others_can_read_is_refused(tmp_path, host, layout):
    file = tmp_path / "auth.json"
    file.write_text("{}")
    file.chmod(0o640)
    said = host.refusal(image=f"{NOWHERE}/serving@{layout.digest}", auth_file=str(file))
    assert said == f"auth_file: {file} can be read by others (mode 0640); set its mode to 0600"
    file.unlink()
    said = host.refusal(image=f"{NOWHERE}/serving@{layout.digest}", auth_file=str(file))
    assert said == f"auth_file: {file} cannot be read (No such file or directory); put it on this host"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('time="2024" level=fatal msg="reading \\"x\\": manifest unknown"', 'reading "x": manifest unknown'),
        ("first\n   plain words \n\n", "plain words"),
        ("", "it gave no reason"),
    ],
)
def test_the_last_line_of_a_program_is_quoted_without_its_logs_own_fields(line, words):
    assert release_registry.last_words(line) == words


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (
            ["Error loading trust policy: open /etc/containers/policy.json: no such file"],
            "repair /etc/containers/policy.json",
        ),
        (["dial tcp: i/o timeout", "Digest did not match, expected a, got b"], "check what changed there"),
        (["manifest unknown", "requested access to the resource is denied"], "name credentials in auth_file"),
        (["name unknown: no such repository", "connection refused"], "check the repository and the digest"),
        (["x509: certificate signed by unknown authority"], "put its authority's certificate below"),
        (["server gave HTTP response to HTTPS client"], "put its authority's certificate below"),
        (["lookup registry.example: no such host"], "check that this host reaches it"),
    ],
)
def test_the_remedy_is_that_of_the_most_telling_failure(words, remedy):
    assert release_registry._remedy(words).startswith(remedy)
