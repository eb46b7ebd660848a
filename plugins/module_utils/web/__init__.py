# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files fetched over HTTP from untrusted servers."""
