# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The load generator: a program of its own, which runs where callers stand and imports nothing but its own files."""
