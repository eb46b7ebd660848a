# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a whole run would change anything on this host: the checks of the roles' modules, repeated in one call."""
