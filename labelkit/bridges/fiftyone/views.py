"""The appearance of a project's dataset in the FiftyOne App: views, colours, sidebar."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labelkit.bridges.fiftyone.samples import BOXES, EXCLUDE, HUMAN, LABEL_NEXT, map_fields
from labelkit.domain.colours import keypoint_colours, rgb_of
from labelkit.domain.skeleton import Skeleton
from labelkit.project.response_pictures import KINDS, RESPONSE

UNCERTAIN = "most uncertain"

#: A view that labelkit saved until 2026-11-28, of a field that is gone.
_FORMER_VIEW = "found but said absent"

_WHITE, _YELLOW, _GREY = "#ffffff", "#ffd166", "#9aa0a6"


def views(dataset: Any, skeleton: Skeleton, annotators: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """(name, view) for each common question of a review; views follow the data.

    Args:
        dataset: see `open_dataset`.
        skeleton: of the project.
        annotators: names of all annotators.
    """
    from fiftyone import ViewField as F

    def largest(name: str) -> Any:
        return dataset.match(F(name) > 0).sort_by(name, reverse=True)

    def some(name: str) -> Any:
        count = F(name).length()
        return dataset.match(count > 0).sort_by(count, reverse=True)

    yield UNCERTAIN, dataset.exists("uncertainty").sort_by("uncertainty", reverse=True)
    yield "largest errors", largest("error")
    yield "largest corrections", largest("correction")
    if skeleton.pairs:
        yield "suspected left-right swaps", some("swaps")
    yield "map and prediction disagree", some("map_disagrees")
    yield "present but not found", some("not_found")
    yield "found but answered absent", some("answered_absent")
    for tag in ("suspicious", "queued", "control", "dev", LABEL_NEXT, EXCLUDE):
        of_tag = {"suspicious": "suspicious labels", "control": "control arm", "dev": "dev set"}
        name = of_tag.get(tag, tag)
        yield name, dataset.match(F("tags").contains(tag))
    for who in annotators:
        yield f"annotator {who}", dataset.match(F("annotators").contains(who))
    for index, keypoint in enumerate(skeleton.keypoints):
        doubt = F("doubt")[index]
        yield f"keypoint {keypoint}", dataset.match(doubt > 0).sort_by(doubt, reverse=True)


def save_views(dataset: Any, wanted: Iterable[tuple[str, Any]]) -> list[str]:
    """Save the views that do not exist yet; those with the same name stay, with their ids.

    Args:
        dataset: see `open_dataset`.
        wanted: (name, view) of each.

    Returns:
        the names of all of them.
    """
    known, names = set(dataset.list_saved_views()), []
    if _FORMER_VIEW in known:
        dataset.delete_saved_view(_FORMER_VIEW)
    for name, view in wanted:
        if name not in known:
            name = _save(dataset, name, view)
        names.append(name)
    return names


def _save(dataset: Any, name: str, view: Any) -> str:
    """Save a view; if another name has the same slug, which FiftyOne refuses, add a number."""
    for number in range(1, 100):
        tried = name if number == 1 else f"{name} {number}"
        if tried in dataset.list_saved_views():
            return tried
        try:
            dataset.save_view(tried, view)
        except ValueError:
            continue
        return tried
    raise ValueError(f"FiftyOne refuses the view name {name!r}.")


def dress(dataset: Any, skeleton: Skeleton, rounds: Sequence[str], with_maps: bool) -> None:
    """Colours as in Label Studio, maps folded away, newest predictions ticked.

    The user's choices in the App stay until there is a new round.

    Args:
        dataset: see `open_dataset`.
        skeleton: of the project.
        rounds: names of the rounds' fields, newest last.
        with_maps: whether the dataset has maps of any kind.
    """
    import fiftyone as fo

    colours = keypoint_colours(skeleton)
    config = dataset.app_config
    maps = {kind: map_fields(skeleton, kind) for kind in KINDS}
    if config.color_scheme is None:
        config.color_scheme = fo.ColorScheme(
            color_by="field",
            color_pool=colours,
            multicolor_keypoints=True,
            show_skeletons=True,
            opacity=0.8,
            fields=[],
            colorscales=[],
        )
    schema = dataset.get_field_schema()
    of_maps = [dict(zip(names, colours, strict=True)) for names in maps.values()]
    _colour_maps(config.color_scheme, ChainMap(*of_maps))
    _colour_fields(config.color_scheme, schema, rounds)
    facts = ["uncertainty", "error", "oks", "correction", "instances", "annotators"]
    facts += ["suspicions", "swaps", "map_disagrees", "not_found", "answered_absent"]
    newest = list(rounds[-1:])
    groups = [
        ("tags", ["tags"], True),
        ("labels", [BOXES, HUMAN, *reversed(rounds)], True),
        ("review", facts, True),
    ]
    if with_maps or maps[RESPONSE][0] in schema:
        groups += [(title, list(maps[kind]), False) for kind, title in KINDS.items()]
    taken = {path for _, paths, _ in groups for path in paths}
    groups.append(("other", [name for name in schema if name not in taken], False))
    config.sidebar_groups = [
        fo.SidebarGroupDocument(name=name, paths=paths, expanded=expanded)
        for name, paths, expanded in groups
    ]
    dataset_info = dict(dataset.info)
    dressed = dataset_info.get("labelkit", {}).get("dressed_for")
    if dressed != list(rounds):
        config.active_fields = fo.ActiveFields(paths=[BOXES, HUMAN, *newest], exclude=False)
        dataset_info["labelkit"] = {
            **dataset_info.get("labelkit", {}),
            "dressed_for": list(rounds),
        }
        dataset.info = dataset_info
    dataset.save()


def _colour_maps(scheme: Any, colours: Mapping[str, str]) -> None:
    """Colour maps that have no colour yet, from black to that of their keypoint."""
    known = {field["path"] for field in scheme.fields}
    for name, colour in colours.items():
        if name not in known:
            stops = [{"value": 0, "color": "rgb(0, 0, 0)"}, {"value": 1, "color": _rgb(colour)}]
            scheme.fields += [{"path": name, "fieldColor": colour}]
            scheme.colorscales = [*(scheme.colorscales or []), {"path": name, "list": stops}]


def _colour_fields(scheme: Any, schema: Iterable[str], rounds: Sequence[str]) -> None:
    """Colour every field that has none.

    The App would take the colours of other fields from the pool first, and the keypoints would not
    have those of `keypoint_colours`.
    """
    known = {field["path"] for field in scheme.fields}
    colours = {HUMAN: _WHITE, **dict.fromkeys(rounds, _YELLOW)}
    new = [name for name in schema if name not in known]
    scheme.fields += [{"path": name, "fieldColor": colours.get(name, _GREY)} for name in new]
    scheme.label_tags = scheme.label_tags or {"fieldColor": _GREY}


def _rgb(colour: str) -> str:
    red, green, blue = rgb_of(colour)
    return f"rgb({red}, {green}, {blue})"
