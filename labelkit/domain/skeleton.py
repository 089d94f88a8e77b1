"""The keypoints of one kind of object: names, links, left/right pairs, OKS sigmas, layout."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from labelkit.domain.sides import find_sides
from labelkit.domain.text import named
from labelkit.errors import SkeletonError, UsageError

BUILTIN = ("coco17", "crowdpose14", "mpii16", "lsp14")

#: What a skeleton's TOML table may hold.
KEYS = ("name", "keypoints", "links", "pairs", "sigmas", "layout", "renamed", "descriptions")

#: OKS falloff where a skeleton gives none: between COCO's shoulder (.079) and hip (.107).
DEFAULT_SIGMA = 0.08

#: An array of two items as tomli-w writes it, an item a line.
_TWO_ITEMS = re.compile(r"\[\n +([^\[\]\n]+),\n +([^\[\]\n]+),\n +\]")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Which keypoints an object has, and how they relate.

    Attributes:
        name: short name; it is written to files and projects.
        keypoints: K unique names, in the order of every array in labelkit.
        links: pairs of 0-based indices, each joined by a line.
        pairs: (left, right) index pairs that a mirror image swaps.
        sigmas: K OKS sigmas (per-keypoint standard deviation relative to object scale).
        layout: K (x, y) in the unit box, a pose prior that needs no labels; y points down.
        renamed: (former, present) names: labels, networks and files keep the former ones.
        descriptions: (keypoint, text) for annotators, of those that have one.

    Raises:
        SkeletonError: on duplicate or empty names, indices out of range, a keypoint in two
            pairs, sigmas or layout of the wrong length or out of range, a former name that is in
            use, or a description of an unknown keypoint.
    """

    name: str
    keypoints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    layout: tuple[tuple[float, float], ...]
    renamed: tuple[tuple[str, str], ...] = ()
    descriptions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if count == 0:
            raise SkeletonError(f"Skeleton {self.name!r} has no keypoints.", "Name at least one.")
        if len(self.sigmas) != count or not all(0 < s < 10 for s in self.sigmas):
            raise SkeletonError(
                f"Skeleton {self.name!r} has {count} keypoints but sigmas {list(self.sigmas)}.",
                "Give one number above 0 for each keypoint, or leave sigmas out.",
            )
        if len(self.layout) != count or not all(0 <= c <= 1 for p in self.layout for c in p):
            raise SkeletonError(
                f"Skeleton {self.name!r}: layout must be {count} points with x and y in 0..1.",
                "Correct it, or leave layout out.",
            )
        seen: set[str] = set()
        for keypoint in self.keypoints:
            if not keypoint.strip():
                raise SkeletonError(
                    f"Skeleton {self.name!r} has a keypoint without a name.",
                    "Give every keypoint a name.",
                )
            if keypoint in seen:
                raise SkeletonError(
                    f"Skeleton {self.name!r} names the keypoint {keypoint!r} twice.",
                    "Give every keypoint its own name.",
                )
            seen.add(keypoint)
        for kind, table in (("link", self.links), ("left/right pair", self.pairs)):
            for a, b in table:
                if not (0 <= a < count and 0 <= b < count) or a == b:
                    raise SkeletonError(
                        f"Skeleton {self.name!r}: {kind} ({a}, {b}) does not join two of its "
                        f"{count} keypoints.",
                        "Correct or remove it.",
                    )
        paired = [index for pair in self.pairs for index in pair]
        for index in paired:
            if paired.count(index) > 1:
                raise SkeletonError(
                    f"Skeleton {self.name!r}: {self.keypoints[index]!r} is in two left/right "
                    "pairs.",
                    "Remove it from one of them.",
                )
        former = [name for name, _ in self.renamed]
        for name in former:
            if name in self.keypoints or former.count(name) > 1:
                raise SkeletonError(
                    f"Skeleton {self.name!r}: {name!r} is the former name of another keypoint.",
                    "Labels that name it would be ambiguous. Choose another name.",
                )
        for name, _ in self.descriptions:
            self.index(name)

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def flip_indices(self) -> tuple[int, ...]:
        """K indices: entry i is the keypoint that i becomes in a mirror image."""
        flip = list(range(len(self)))
        for left, right in self.pairs:
            flip[left], flip[right] = right, left
        return tuple(flip)

    @property
    def unpaired_sides(self) -> tuple[int, ...]:
        """Keypoints whose names say left or right, but that are in no pair.

        A mirror image shows them on the other side under the same name.
        """
        found = find_sides(self.keypoints)
        sided = {*found.unpaired, *(index for pair in found.pairs for index in pair)}
        return tuple(sorted(sided.difference(index for pair in self.pairs for index in pair)))

    @property
    def has_layout(self) -> bool:
        """Whether the layout tells keypoints apart; the one that stands in for none does not."""
        return len(set(self.layout)) > 1

    def index(self, keypoint: str) -> int:
        """Position of a keypoint by name.

        Raises:
            SkeletonError: if the skeleton has no such keypoint.
        """
        try:
            return self.keypoints.index(keypoint)
        except ValueError:
            raise SkeletonError(
                f"Skeleton {self.name!r} has no keypoint {keypoint!r}.",
                f"It has: {', '.join(self.keypoints)}.",
            ) from None

    def present_name(self, keypoint: str) -> str:
        """What a keypoint is called now, by its present or a former name."""
        return dict(self.renamed).get(keypoint, keypoint)

    def columns_in(self, names: Iterable[str]) -> tuple[int, ...]:
        """K places of the keypoints among names of any time; -1 for one that is not there."""
        now = dict(self.renamed)
        places = {now.get(name, name): place for place, name in enumerate(names)}
        return tuple(places.get(keypoint, -1) for keypoint in self.keypoints)

    def subset(self, keypoints: Sequence[int]) -> Skeleton:
        """The skeleton of some keypoints, by their indices and in that order."""
        place = {index: new for new, index in enumerate(keypoints)}

        def kept(table: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
            return tuple((place[a], place[b]) for a, b in table if a in place and b in place)

        names = tuple(self.keypoints[index] for index in keypoints)
        return Skeleton(
            self.name,
            names,
            kept(self.links),
            kept(self.pairs),
            tuple(self.sigmas[index] for index in keypoints),
            tuple(self.layout[index] for index in keypoints),
            self.renamed,
            tuple(item for item in self.descriptions if item[0] in names),
        )

    def to_table(self) -> dict[str, Any]:
        """The skeleton as JSON values, which `skeleton_from_table` reads back unchanged."""

        def names(table: Sequence[tuple[int, int]]) -> list[list[str]]:
            return [[self.keypoints[a], self.keypoints[b]] for a, b in table]

        table: dict[str, Any] = {
            "name": self.name,
            "keypoints": list(self.keypoints),
            "links": names(self.links),
            "pairs": names(self.pairs),
            "sigmas": list(self.sigmas),
            "layout": [list(point) for point in self.layout],
        }
        if self.renamed:
            table["renamed"] = [list(names) for names in self.renamed]
        if self.descriptions:
            table["descriptions"] = dict(self.descriptions)
        return table

    def to_toml(self) -> str:
        """The skeleton as a TOML document that `load_skeleton` reads back unchanged."""
        import tomli_w

        table = self.to_table()
        # As dotted keys, which stay inside whatever table the document is put into.
        described = tomli_w.dumps(table.pop("descriptions", {})).split("\n")
        body = _TWO_ITEMS.sub(r"[\1, \2]", tomli_w.dumps(table))  # one pair, or point, a line
        return body + "".join(f"descriptions.{line}\n" for line in described if line)


def make_skeleton(
    name: str,
    keypoints: Sequence[str],
    links: Sequence[tuple[int, int]] = (),
    pairs: Sequence[tuple[int, int]] | None = None,
    sigmas: Sequence[float] | None = None,
    layout: Sequence[tuple[float, float]] | None = None,
    renamed: Sequence[tuple[str, str]] = (),
    descriptions: Mapping[str, str] | None = None,
) -> Skeleton:
    """Build a skeleton, filling in what is not given.

    Pairs follow from names (see `find_sides`), sigmas are .08, links form a chain, and the layout
    puts every keypoint in the middle of the box.

    Raises:
        SkeletonError: see `Skeleton`.
    """
    keypoints = tuple(keypoints)
    if pairs is None:
        pairs = find_sides(keypoints).pairs
    return Skeleton(
        name=name,
        keypoints=keypoints,
        links=tuple((int(a), int(b)) for a, b in links) or tuple(pairwise(range(len(keypoints)))),
        pairs=tuple((int(a), int(b)) for a, b in pairs),
        sigmas=tuple(map(float, sigmas)) if sigmas else (DEFAULT_SIGMA,) * len(keypoints),
        layout=tuple((float(x), float(y)) for x, y in layout)
        if layout
        else ((0.5, 0.5),) * len(keypoints),
        renamed=tuple((str(former), str(present)) for former, present in renamed),
        descriptions=tuple((descriptions or {}).items()),
    )


def with_pairs(skeleton: Skeleton, text: str) -> Skeleton:
    """The skeleton with other left/right pairs.

    Args:
        skeleton: whose pairs are replaced.
        text: "wingL:wingR,antL:antR", left first, or "none".

    Raises:
        UsageError: if the text is not written like that.
        SkeletonError: if it names an unknown keypoint, or one of them twice.
    """
    rows = [] if text.strip() == "none" else [part.split(":") for part in text.split(",")]
    if any(len(row) != 2 for row in rows):
        raise UsageError(
            f"--pairs {text!r} is not a list of pairs.",
            "Type for example: --pairs wingL:wingR,antL:antR, or: --pairs none",
        )
    pairs = tuple((skeleton.index(a.strip()), skeleton.index(b.strip())) for a, b in rows)
    return replace(skeleton, pairs=pairs)


def pairs_in_words(skeleton: Skeleton) -> str:
    """Which keypoints a mirror image swaps, and which have a side but no partner."""
    names = skeleton.keypoints
    pairs = ", ".join(f"{names[left]}/{names[right]}" for left, right in skeleton.pairs)
    text = f"Left/right pairs: {pairs or 'none'}."
    if alone := [names[index] for index in skeleton.unpaired_sides]:
        text += f" Without a partner: {named(alone)}."
    return text


def load_skeleton(name_or_path: str | Path) -> Skeleton:
    """A built-in skeleton by name, or one from a TOML file.

    Raises:
        SkeletonError: if it is neither, or the content of the file is wrong.
    """
    text = str(name_or_path)
    if text in BUILTIN:
        source = files("labelkit").joinpath("skeletons", f"{text}.toml")
        return skeleton_from_table(tomllib.loads(source.read_text(encoding="utf-8")), text)
    path = Path(text)
    if not path.is_file():
        raise SkeletonError(
            f"{text} is neither a built-in skeleton nor a file.",
            f"Built in: {', '.join(BUILTIN)}. Choose one, or give a TOML file with keypoints.",
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SkeletonError(
            f"{path} is not a TOML file ({error}).",
            'A skeleton file holds for example: keypoints = ["nose", "tail"]',
        ) from error
    return skeleton_from_table(table, str(path))


def skeleton_from_table(table: Mapping[str, Any], origin: str) -> Skeleton:
    """A skeleton from a parsed TOML table; links and pairs are written as keypoint names.

    Raises:
        SkeletonError: on unknown keys, unknown keypoint names, or wrong types.
    """
    unknown = set(table).difference(KEYS)
    if unknown:
        raise SkeletonError(
            f"{origin}: unknown key {sorted(unknown)[0]!r}.", f"Known keys: {', '.join(KEYS)}."
        )
    keypoints = table.get("keypoints")
    if not isinstance(keypoints, list) or not all(isinstance(k, str) for k in keypoints):
        raise SkeletonError(
            f"{origin}: keypoints must be a list of names.",
            'For example: keypoints = ["nose", "tail"]',
        )

    def indices(key: str) -> list[tuple[int, int]]:
        rows = pairs_of_names(table, key, origin)
        for item in (name for row in rows for name in row):
            if item not in keypoints:
                raise SkeletonError(
                    f"{origin}: {key} names the unknown keypoint {item!r}.",
                    f"Known: {', '.join(keypoints)}.",
                )
        return [(keypoints.index(a), keypoints.index(b)) for a, b in rows]

    descriptions = table.get("descriptions", {})
    texts = descriptions.values() if isinstance(descriptions, dict) else [None]
    if not all(isinstance(text, str) for text in texts) or set(descriptions) - set(keypoints):
        raise SkeletonError(
            f"{origin}: descriptions must be a text for each of some keypoints, not "
            f"{descriptions!r}.",
            'Write for example: descriptions.nose = "the tip of the nose"',
        )
    try:
        return make_skeleton(
            str(table.get("name", Path(origin).stem)),
            keypoints,
            indices("links"),
            indices("pairs") if "pairs" in table else None,
            table.get("sigmas"),
            table.get("layout"),
            pairs_of_names(table, "renamed", origin),
            descriptions,
        )
    except (TypeError, ValueError) as error:
        raise SkeletonError(f"{origin}: {error}.", "Correct the skeleton there.") from error
    except SkeletonError as error:
        if error.problem.startswith(origin):
            raise
        raise SkeletonError(f"{origin}: {error.problem}", error.next_step) from error


def pairs_of_names(table: Mapping[str, Any], key: str, origin: str) -> list[tuple[str, str]]:
    """The pairs of names under a key of a skeleton's table; none if it is left out.

    Raises:
        SkeletonError: if there is anything else.
    """
    rows = table.get(key, [])
    for row in rows if isinstance(rows, list) else [rows]:
        names = isinstance(row, list) and all(isinstance(name, str) for name in row)
        if not names or len(row) != 2:
            raise SkeletonError(
                f"{origin}: {key} must be pairs of names, not {row!r}.",
                f'Write for example: {key} = [["a", "b"], ["c", "d"]]',
            )
    return [(first, second) for first, second in rows]
