# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One table of signals, from which rules, alerts, dashboards, pages and texts are made."""
