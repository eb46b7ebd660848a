# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Server releases side by side on a host: fetched, checked, published and pruned."""
