# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sources that several thresholds name."""

from __future__ import annotations

WORKBOOK = "Site Reliability Workbook, chapter 5, table 5-8"
SLOTH = "slok/sloth, internal/alert/windows/google-30d.yaml"
OWN = "this collection's choice, to be changed where a fleet shows otherwise"
ABSENCE = "Prometheus documentation, absent(): what is gone raises no threshold"
PLAN = "the plan in force"
MAIL = "design: mail within 2 minutes; scrape and evaluation take 15 s each"
XID = "NVIDIA, Xid catalogue, column Immediate Action"
MEMORY = "NVIDIA, GPU memory error management"
TEXTFILE = "node exporter, textfile collector; the collector runs once a minute"
DOCS = "Prometheus and Alertmanager, their own metrics"
RENEWAL = "Let's Encrypt: renew when a third of the lifetime is left"
