# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The last runs on a host, and what is left of the collection when docs/install.md has uninstalled it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/install.md"
EXAMPLE = re.compile(r"^## Example\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ON_THE_HOST = re.compile(r"^Then, as root on the host:\n\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_roles_run_and_change_nothing_more(site, tmp_path):
    pages = [page for page in sorted(ROOT.glob("roles/*/README.md")) if page.parent.name != "offline_bundle"]
    playbook = tmp_path / "examples.yml"
    playbook.write_text("".join(EXAMPLE.findall(page.read_text())[0] for page in pages))
    run = site(playbook=str(playbook))
    assert run.status == 0, run.output
    assert not run.changed, run.output
    assert run.output.count("PLAY [") == len(pages) == 12


def test_a_run_that_gives_back_what_was_tuned_ends_with_the_status_table(site):
    run = site(kernel_tuning_state="absent", cpu_partition_state="absent")
    assert run.status == 0
    table = run.output.rpartition("\nhost ")[2]
    assert re.search(
        r"^molecule-default  main +2\.19\.1\S* +digits +1 .* jemalloc +\d+ MiB .* ms$", table, re.MULTILINE
    )
    assert "Problems:" not in table
    assert table.index("Next:") < table.index("PLAY RECAP")


def test_nothing_is_left_of_a_host_that_the_page_has_uninstalled(host):
    (commands,) = ON_THE_HOST.findall(PAGE.read_text())
    done = host.run("bash -euxc %s", commands)
    assert done.rc == 0, done.stderr
    assert host.check_output("find / -xdev -path /tmp -prune -o -name '*tfserving*' -print") == ""
    assert host.check_output("systemctl list-units --all --plain --no-legend 'tfserving*'") == ""
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
    assert not host.package("tensorflow-model-server").is_installed
    assert host.check_output("apt-mark showhold") == ""
    assert host.run("getent passwd tfserving || getent group tfserving").rc == 2
    assert host.run("apt-get update").stderr == ""
