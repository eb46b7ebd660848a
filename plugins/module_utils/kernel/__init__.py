# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The running kernel brought in line with a plan: settings, CPU sets, affinity, interrupts."""
