# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Amtool of Debian 12 and 13 reaches Alertmanager by the files that a monitoring host gets."""

from __future__ import annotations

import base64
import re
import ssl
import subprocess

import amtools
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.action.monitoring_plan import hashed
from ansible_collections.tfserving.fleet.plugins.module_utils.monitoring import state
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import contents, settings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring.configuration import FOLDER
from certificates import self_signed
from http_double import Server
from monitoring_cases import HOSTS, planned, read
from repository import REPOSITORY

PASSWORD = "a-password-of-machines"
TEMPLATES = REPOSITORY / "roles/monitoring/templates/host/etc/prometheus"
SILENCES = (200, {"Content-Type": "application/json"}, b"[]")


def files(**given):
    """Return amtool.yml, and the file of accounts and authorities, of a host whose address is 10.0.0.9."""
    fleet = read(hosts={name: {**known, **given} for name, known in HOSTS.items()})[0]
    found = contents.files(fleet, settings.complete(given), planned(fleet, **given), "mon-1", FOLDER, hashed)
    return found["amtool"], found["amtool_http"]


class Closed:
    """An Alertmanager that takes nothing but TLS, under the certificate of 10.0.0.9, and the fleet's account."""

    def __init__(self, server, folder):
        self.certificate, self.key = (each.decode() for each in self_signed("10.0.0.9"))
        (folder / "tls.crt").write_text(self.certificate)
        (folder / "tls.key").write_text(self.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        server.answers["/api/v2/silences"] = self.answer

    def answer(self, request):
        token = base64.b64encode(f"tfserving:{PASSWORD}".encode()).decode()
        known = request.headers["Authorization"] == f"Basic {token}"
        request.send_response(200 if known else 401)
        request.send_header("Content-Type", "application/json")
        request.end_headers()
        request.wfile.write(b"[]")


def asked(version, folder, texts):
    """Return how amtool ends that finds these files, in its home, which has the same form as /etc/prometheus."""
    home = folder / "home/.config/prometheus"
    home.mkdir(parents=True)
    (home / "amtool.yml").write_text(texts[0].replace(FOLDER, str(folder)))
    (folder / "amtool-http.yml").write_text(texts[1].replace(FOLDER, str(folder)))
    command = [amtools.program(version), "--no-version-check", "silence", "query", "--output=json"]
    return subprocess.run(
        command,
        env={"HOME": str(folder / "home"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", amtools.PACKAGES)
def test_amtool_reaches_an_alertmanager_with_tls_accounts_and_another_port(version, tmp_path):
    with Server() as server:
        closed = Closed(server, tmp_path)
        texts = files(
            monitoring_alertmanager_port=server.port,
            monitoring_password=PASSWORD,
            monitoring_tls_certificate=closed.certificate,
            monitoring_tls_key=closed.key,
            monitoring_tls_ca=closed.certificate,
        )
        (tmp_path / "ca.pem").write_text(closed.certificate)
        (tmp_path / "password").write_text(PASSWORD)
        done = asked(version, tmp_path, texts)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("version", amtools.PACKAGES)
def test_amtool_reaches_an_open_alertmanager_on_another_port(version, tmp_path):
    with Server() as server:
        server.answers["/api/v2/silences"] = SILENCES
        done = asked(version, tmp_path, files(monitoring_alertmanager_port=server.port))
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("version", amtools.PACKAGES)
def test_amtool_looks_where_the_role_writes(version):
    told = subprocess.run([amtools.program(version), "--help"], capture_output=True, text=True, check=True).stdout
    assert re.search("^/etc/prometheus/amtool.yml$", told, re.MULTILINE)
    assert (TEMPLATES / "amtool.yml.j2").exists()


def test_a_host_without_tls_and_accounts_needs_one_file():
    assert yaml.safe_load(files()[0]) == {"alertmanager.url": "http://127.0.0.1:9093/"}
    assert yaml.safe_load(files()[1]) == {}


def test_no_file_of_amtool_holds_a_secret():
    assert PASSWORD not in "".join(files(monitoring_password=PASSWORD))


def test_what_the_role_lays_down_is_its_own_and_what_others_do_is_not(tmp_path):
    own, other = tmp_path / "own.yml", tmp_path / "other.yml"
    own.write_text((TEMPLATES / "amtool.yml.j2").read_text())
    other.write_text("alertmanager.url: http://elsewhere/\n")
    assert state.foreign([str(own), str(other), str(tmp_path / "none.yml")]) == [str(other)]
