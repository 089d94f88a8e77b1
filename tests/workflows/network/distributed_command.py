"""Run a labelkit command whose processes print their ids, and which of them registers and plans.

They predict two crops at a time.

python distributed_command.py ARGUMENTS
"""

from __future__ import annotations

import os
import sys
from typing import Any

from labelkit.cli.app import main
from labelkit.workflows.loop import bootstrap, retrain
from labelkit.workflows.network import sharing

register, number = bootstrap.register, retrain.next_round_number
rank = os.environ["RANK"]


def register_aloud(*arguments: Any, **named: Any) -> bootstrap.Registered:
    print(f"process {rank} registers", file=sys.stderr, flush=True)
    return register(*arguments, **named)


def number_aloud(*arguments: Any) -> int:
    print(f"process {rank} plans", file=sys.stderr, flush=True)
    return number(*arguments)


if __name__ == "__main__":
    sharing.BATCH = 2
    bootstrap.register = register_aloud
    retrain.next_round_number = number_aloud
    print(f"process {rank} is {os.getpid()}", file=sys.stderr, flush=True)
    main(sys.argv[1:])
