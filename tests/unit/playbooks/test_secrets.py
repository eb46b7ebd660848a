# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole run at full verbosity, with a secret in every wish that can hold one: it is where it is meant to be."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY
from running import run_playbook
from tls_pairs import pair

ROLE = REPOSITORY / "roles" / "tfserving"
CANARY = "Tr0ub4dorCanary"
PLAY = """
- hosts: all
  gather_facts: false
  vars_files: [{role}/vars/main.yml]
  vars: {{role_path: {role}}}
  roles: [tfserving.fleet.host_plan]
  tasks:
    - tfserving.fleet.model_repository:
        root: "{{{{ place }}}}/models"
        models: "{{{{ tfserving_plan.models }}}}"
        sources: "{{{{ tfserving_plan_secrets.sources | to_json }}}}"
        headers: "{{{{ model_repository_headers }}}}"
        instances: "{{{{ tfserving_plan.instances }}}}"
        owner: "{uid}"
        group: "{gid}"
        min_free_mb: 0
      failed_when: false
    - tfserving.fleet.template_tree:
        name: tfserving
        src: {role}/templates/host
        dest: "{{{{ place }}}}/out"
        state_path: "{{{{ place }}}}/state"
        expand: {{instance: "{{{{ tfserving_plan.instances }}}}"}}
        attributes: "{{{{ __tfserving_attributes }}}}"
      vars: {{tfserving_allow_to: []}}
    - tfserving.fleet.plan_record:
        path: "{{{{ place }}}}/plan.json"
        plan: "{{{{ tfserving_plan }}}}"
    - tfserving.fleet.plan_record:
        path: "{{{{ place }}}}/plan.json"
"""


def wishes(certificate: str, key: str) -> dict:
    source = {
        "type": "http",
        "uri": f"http://{CANARY}@127.0.0.1:9/r/{{version}}.tar?sig={CANARY}#{CANARY}",
        "sha256": "ab" * 32,
        "headers": {"Authorization": f"Bearer {CANARY}"},
    }
    environment = {"DB_URL": f"db://u:{CANARY}@h/x", "PLAIN": CANARY, "MALLOC_CONF": f"narenas:1,prof_prefix:{CANARY}"}
    return {
        "tfserving_models": [{"name": "ranker", "version": 1, "source": source}],
        "tfserving_instances": [{"name": "one", "models": ["ranker"], "environment": environment}],
        "tfserving_allocator": "glibc",
        "tfserving_registry_credentials": {"docker.io": {"username": "me", "password": CANARY}},
        "tfserving_archives": {"2.19.1": {"uri": f"https://{CANARY}@h/s.tar?t={CANARY}", "sha256": "cd" * 32}},
        "tfserving_install_method": "archive",
        "tfserving_gate": "always",
        "model_repository_headers": {"X-Token": CANARY},
        "tfserving_tls_certificate": certificate,
        "tfserving_tls_key": key,
    }


class Place:
    """A controller that is its own host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.key = pair()
        (folder / "play.yml").write_text(PLAY.format(role=ROLE, uid=os.geteuid(), gid=os.getegid()))

    def run(self, playbook: str, *arguments: str, hosts: dict | None = None) -> str:
        """Run a playbook on one host, or on several with variables of their own; return all that it printed."""
        defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
        given = {**defaults, "place": str(self.folder), **wishes(self.certificate, self.key)}
        local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
        inventory = {"tfserving": {"hosts": hosts or {"h1": {}}, "vars": {**given, **local}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        # This machine may be a container that something else than systemd runs.
        given = ("-vvv", "--diff", "-e", "__host_plan_service_manager=systemd")
        done = run_playbook(self.folder, "-i", "hosts.yml", playbook, *given, *arguments)
        return done.stdout + done.stderr

    def secrets(self) -> tuple[str, ...]:
        """Return what must turn up nowhere: the canary, and a line out of the middle of the key."""
        return CANARY, self.key.splitlines()[2]

    def showing(self, *meant: str) -> list[str]:
        """Return the files that hold a secret, but for those that are meant to."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_file() and name != "hosts.yml" and not name.startswith(("state/", ".ansible/controller-tmp/")):
                text = path.read_bytes().decode(errors="replace")
                found += [name] if name not in meant and any(secret in text for secret in self.secrets()) else []
        return found


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def test_a_run_leaves_secrets_in_the_files_meant_for_them_and_nowhere_else(place):
    for options in ((), ("--check",)):
        output = place.run("play.yml", *options)
        assert options or "http://127.0.0.1:9/r/1.tar cannot be fetched" in output, output
        assert "failed=0" in output, output
        assert "unreachable=0" in output
        assert [secret for secret in place.secrets() if secret in output] == []
    assert place.showing("out/etc/tfserving/one/environment", "out/etc/tfserving/one/ssl.config") == []
    environment = place.folder / "out/etc/tfserving/one/environment"
    assert environment.read_text().count(CANARY) == 3
    assert (environment.stat().st_mode & 0o777, (place.folder / "plan.json").stat().st_mode & 0o777) == (0o600, 0o600)
    assert (place.folder / "out/etc/tfserving/plan.key").stat().st_mode & 0o777 == 0o600
    # What -vvv shows of a call is what the module writes to the system's log.
    # From ansible-core 2.21 on, -vvv shows no calls any more.
    assert '"sources": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"' in output or '"module_args"' not in output


def test_the_report_of_a_plan_shows_no_secret(place):
    output = place.run("tfserving.fleet.plan")
    assert "failed=0" in output, output
    assert [secret for secret in place.secrets() if secret in output] == []
    assert place.showing() == []


# What is wrong with the wishes of a host, host by host.
WRONG = [
    ("tfserving_models", f"https://{CANARY}@h/x"),
    ("tfserving_models", [f"Bearer {CANARY}"]),
    ("tfserving_models", [{"name": "x", "version": 1, "source": {"type": "http", "uri": f"htps://u:{CANARY}@h/x"}}]),
    ("tfserving_instances", [{"name": "x", "models": ["ranker"], "environment": [f"TOKEN={CANARY}"]}]),
    ("tfserving_instances", {"environment": {"TOKEN": CANARY}}),
    ("tfserving_registry_credentials", [CANARY]),
    ("tfserving_registry_credentials", {"h": {"username": "u", "password": [CANARY]}}),
    ("tfserving_tls_key", [CANARY]),
    ("tfserving_tls_key", f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"),
    ("tfserving_archives", f"https://{CANARY}@h/x"),
    ("tfserving_images", [f"me:{CANARY}@h/x"]),
    ("tfserving_open_files", f"{CANARY}"),
    ("tfserving_apt_key_url", {"token": CANARY}),
    ("model_repository_headers", f"Bearer {CANARY}"),
    ("host_plan_policy", f"Bearer {CANARY}"),
]


def test_a_refused_run_repeats_no_secret_be_it_ours_or_ansibles(place):
    hosts = {f"wrong{number:02}": {variable: value} for number, (variable, value) in enumerate(WRONG)}
    output = place.run("tfserving.fleet.plan", hosts=hosts)
    refused = dict(re.findall(r"^fatal: \[(wrong\d\d)\]: FAILED! => (.*?)^\S", output, re.MULTILINE | re.DOTALL))
    assert [name for name, (variable,) in hosts.items() if variable not in refused.get(name, "")] == []
    assert CANARY not in output
    assert place.showing() == []
