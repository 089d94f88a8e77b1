"""Predictions in parts: machines with one folder share them, and a kill loses few."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from labelkit.domain.instance import Instance
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import UsageError
from labelkit.project.predictions import iter_predictions, write_predictions

#: Objects a part. It is a multiple of a batch: batches are the same however many machines share.
OBJECTS = 512


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several machines that predict the same objects.

    Attributes:
        number: 1 ... count.
        count: of machines.
    """

    number: int
    count: int


def parse_shard(text: str) -> Shard:
    """The shard of a text such as "2/4".

    Raises:
        UsageError: if it is not two numbers, the first from 1 up to the second.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(
            f"{text!r} is not a shard.", "Type 1/4 on the first of four machines, ..., 4/4."
        )
    return Shard(int(number), int(count))


class Parts:
    """The files with the predictions of some objects by one network.

    They are found again by what is predicted with what: with another network, other pictures or
    other boxes the files are others.

    Args:
        output: file for which they are made; they lie in a folder beside it.
        model: file of the network.
        instances: the objects by id, in the same order on every machine.
        skeleton: of the predictions.

    Attributes:
        folder: with the files.
    """

    def __init__(
        self, output: Path, model: Path, instances: Mapping[str, Instance], skeleton: Skeleton
    ) -> None:
        with model.open("rb") as stream:
            of_all = hashlib.file_digest(stream, "sha256")
        for id_, instance in instances.items():
            of_all.update(f"{id_} {tuple(instance.box)}\n".encode())
        self.folder = output.with_name(f"{output.name}.parts-{of_all.hexdigest()[:12]}")
        self._skeleton = skeleton
        objects, self._parts = iter(instances.items()), dict[Path, Mapping[str, Instance]]()
        while part := dict(islice(objects, OBJECTS)):
            self._parts[self.folder / f"{len(self._parts):06d}.parquet"] = part

    def predict(
        self, shard: Shard, predict: Callable[[Mapping[str, Instance]], Iterable[Prediction]]
    ) -> int:
        """Predict the parts of a shard that are not there yet; return how many objects those had.

        Args:
            shard: whose parts they are.
            predict: predicts objects, given by id.
        """
        done = 0
        for number, (path, part) in enumerate(self._parts.items()):
            if number % shard.count == shard.number - 1 and not path.is_file():
                done += write_predictions(path, predict(part), self._skeleton)
        return done

    @property
    def missing(self) -> int:
        """How many objects are in parts that no machine has predicted yet."""
        return sum(len(part) for path, part in self._parts.items() if not path.is_file())

    def __iter__(self) -> Iterator[Prediction]:
        """The predictions of all parts, in the order of the objects."""
        for path in self._parts:
            yield from iter_predictions(path, self._skeleton)
