# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The load generator: a program of its own, which stands where callers stand and needs nothing else of the collection."""
