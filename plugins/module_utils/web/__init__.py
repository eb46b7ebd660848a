# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files fetched over HTTP from servers that nobody vouches for."""
