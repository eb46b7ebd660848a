# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle of everything that an inventory fetches: made on one machine, carried to hosts without network access."""
