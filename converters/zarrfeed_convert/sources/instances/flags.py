"""Which options of the command do all formats with instances have?"""

from __future__ import annotations

# Arguments of formats -> options of the command.
INSTANCE_FLAGS = {"instances": "--instances"}
