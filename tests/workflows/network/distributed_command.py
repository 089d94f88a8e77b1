"""Run a labelkit command whose processes print their ids, and which of them registers images.

They predict two crops at a time.

python distributed_command.py ARGUMENTS
"""

from __future__ import annotations

import os
import sys
from typing import Any

from labelkit.cli.app import main
from labelkit.workflows.loop import bootstrap
from labelkit.workflows.network import sharing

register, rank = bootstrap.register, os.environ["RANK"]


def register_aloud(*arguments: Any, **named: Any) -> bootstrap.Registered:
    print(f"process {rank} registers", file=sys.stderr, flush=True)
    return register(*arguments, **named)


if __name__ == "__main__":
    sharing.BATCH = 2
    bootstrap.register = register_aloud
    print(f"process {rank} is {os.getpid()}", file=sys.stderr, flush=True)
    main(sys.argv[1:])
