# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings the running kernel in line with a plan: settings, CPU sets, affinity, interrupts."""
