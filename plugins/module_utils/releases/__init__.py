# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Releases of the server side by side on a host: fetched, checked, published and pruned."""
