# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host's /proc and /sys, its processes, packages and accounts, and this collection's records on it."""
