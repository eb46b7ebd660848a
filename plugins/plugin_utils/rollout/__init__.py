# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Roll-outs of model versions: who serves which traffic, what the calls show, what follows, and where it all stands."""
