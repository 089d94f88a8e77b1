"""The tables that `labelkit benchmark` runs: which trainings are compared, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The choices of the paper for any size of network; see `PRESETS` for the sizes.
PAPER: Mapping[str, Mapping[str, Any]] = {
    "lofr": {
        "enc_tokens": "per_scale",
        "cam_stride": 16,
        "cam_pool": "gap",
        "cam_input": "backbone",
        "response": "attention",
        "top_down": False,
        "guide": "none",
        "sup_map": "attn_scaled",
        "heat_presence": False,
        "rotation_tta": 0.0,
        "kinematics": False,
        "pose_prior": 0.0,
        "map_norm": False,
    },
    "loss": {
        "weights": (0.2, 0.2, 0.5, 0.1),
        "lambda_mse": 1.0,
        "lambda_response": 0.0,
        "lambda_consistency": 0.0,
    },
    "training": {
        "optimizer": "adam",
        "lr": 4e-3,
        "transformer_lr": 4e-4,
        "weight_decay": 1e-4,
        "lr_unlocated": 1.0,
        "frozen_unlocated": False,
        "located_share": 0.0,
        "located_odds": 1.0,
        "rotation": 0.0,
        "pseudo_labels_at": (),
    },
}

#: Choices of `PAPER` that are one departure, by the name of its row.
TOGETHER = {
    "optimizer": ("optimizer", "lr", "transformer_lr", "weight_decay"),
    "sampling": ("located_share", "located_odds"),
    "lr_unlocated": ("lr_unlocated", "frozen_unlocated"),
}

#: What "as in the paper" is and is not, for the foot of every table.
AS_IN_THE_PAPER = """\
"LOFR as in the paper" and "baseline" follow the paper in network, losses and their weights,
optimizer and rates (Adam, 4e-3, the transformer a tenth, weight decay 1e-4), sampling (each object
as likely as any other) and mirrored crops without rotation. They depart from it in size (channels,
layers, crop, target width and batch are the preset's), in the number of epochs, in the schedule (a
warm-up and a cosine; the paper names none), in small random shifts and colours, and in the scale of
crops without locations: never closer than the whole box, since a joint that is cut off would make
its answer wrong (crops with locations have the paper's .65 to 1.35). Where only some objects have
locations, each batch holds at least one of each kind. All rows share the backbone."""

#: Choices about reading keypoints off heatmaps, for any network.
READING = ("rotation_tta", "kinematics")
#: Choices without effect once anything has a location, and rows without effect before.
UNLOCATED, LOCATED = ("pose_prior", "lr_unlocated"), ("sampling",)

SIMPLE, TWIN, DETR, LOFR = "simple", "twin", "detr", "lofr"
SEMI_WEAK_PERCENT = (1.0, 5.0, 10.0, 25.0, 100.0)

#: How a row uses the instances whose locations it does not use: with their visibility answers, as
#: images without any label, or not at all.
ANSWERED, UNANSWERED, LEFT_OUT = "answered", "unanswered", "left out"


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of a table; rows and tables share equal trainings.

    Attributes:
        name: of its row.
        kind: of the network, see `build_model`.
        percent: of the training instances whose locations are used, 0 ... 100.
        others: `ANSWERED`, `UNANSWERED` or `LEFT_OUT`. The simple baseline leaves them out.
        changes: differences from the preset, table by table.
        reading: how the trained network's heatmaps are read; empty for the preset's way.
    """

    name: str
    kind: str = LOFR
    percent: float = 0.0
    others: str = ANSWERED
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Trials to compare.

    Attributes:
        title: the question they answer.
        trials: its rows.
        published: the paper's numbers for the same question, for people to read.
        note: what its rows leave open, for people to read.
        pictures: also draw response maps and the similarity of part features.
    """

    title: str
    trials: tuple[Trial, ...]
    published: str
    note: str = AS_IN_THE_PAPER
    pictures: bool = False


def _paper(**changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The paper's choices with some of them changed."""
    return {name: {**PAPER[name], **changes.get(name, {})} for name in PAPER}


#: Easy-to-hard consistency, of two networks or of one with itself.
_TAUGHT = {"loss": {"lambda_consistency": 50.0}}

#: The CNN branch learns alone; presence, which the final classifier predicts, is not learned.
_PLAIN_CAM: dict[str, dict[str, Any]] = {
    "lofr": {"response": "cam"},
    "loss": {"weights": (1.0, 0.0, 0.0, 0.0)},
    "training": {"pseudo_labels_at": ()},
}

#: LOFR's modules, each with what takes it out. The baseline has none of them.
_WITHOUT: dict[str, dict[str, dict[str, Any]]] = {
    "SPE": {"lofr": {"spe": "sine"}},
    "MS": {"lofr": {"memory": "16"}},
    "RePPG": {"lofr": {"proto_init": "learned", "graph_layers": 0}},
    "PDC": {"loss": {"weights": (0.2, 0.2, 0.5, 0.0)}},
}

_BASELINE = Trial("baseline (CNN and DETR)", DETR, changes=_paper(**_WITHOUT["PDC"]))


def _semi_weak(percent: float, preset: Mapping[str, Any]) -> list[Trial]:
    reading = {key: preset["lofr"][key] for key in READING if key in preset["lofr"]}
    rows = [Trial("supervised-only", SIMPLE, percent)]
    if reading:
        name = "supervised-only, read like LOFR"
        rows += [Trial(name, SIMPLE, percent, reading=reading)]
    if percent < 100:
        rows += [Trial("consistency, two networks", TWIN, percent, changes=_TAUGHT)]
    rows += [
        Trial("LOFR as in the paper", percent=percent, changes=_paper()),
        Trial("LOFR", percent=percent),
    ]
    if percent < 100:
        rows += [
            Trial("LOFR without visibility answers", percent=percent, others=UNANSWERED),
            Trial("LOFR without the other images", percent=percent, others=LEFT_OUT),
        ]
    return rows


def _modules() -> tuple[Trial, ...]:
    """LOFR with some modules: the encoding, the scales, the prototypes, the part diversity."""

    def only(*kept: str) -> dict[str, dict[str, Any]]:
        changes: dict[str, dict[str, Any]] = {}
        for name in _WITHOUT.keys() - set(kept):
            for table, values in _WITHOUT[name].items():
                changes.setdefault(table, {}).update(values)
        return _paper(**changes)

    combinations = (("SPE",), ("MS",), ("RePPG",), ("PDC",), ("SPE", "MS"), ("RePPG", "PDC"))
    return (
        _BASELINE,
        *(Trial(" + ".join(kept), changes=only(*kept)) for kept in combinations),
        Trial("all", changes=_paper()),
    )


def _depths() -> tuple[Trial, ...]:
    pairs = ((2, 2), (3, 3), (4, 4), (4, 6), (6, 4), (6, 6))
    return tuple(
        Trial(
            f"{encoder} encoder, {decoder} decoder layers",
            changes=_paper(lofr={"encoder_layers": encoder, "decoder_layers": decoder}),
        )
        for encoder, decoder in pairs
    )


def _departures(percent: float, preset: Mapping[str, Any]) -> tuple[Trial, ...]:
    """The preset, with one departure from the paper undone at a time."""
    rows = [Trial("LOFR", percent=percent)]
    without_effect = UNLOCATED if percent else LOCATED
    for table, choices in PAPER.items():
        rows_of = {key: name for name, keys in TOGETHER.items() for key in keys}
        departures: dict[str, dict[str, Any]] = {}
        ours = preset[table]
        if table == "lofr" and not percent:
            ours = {**ours, **preset["unlocated"], **preset["frozen"]}
        for key, value in choices.items():
            if ours.get(key, value) != value:
                departures.setdefault(rows_of.get(key, key), {})[key] = value
        for name, values in departures.items():
            if name not in without_effect:
                row = f"LOFR, {name} as in the paper"
                rows.append(Trial(row, percent=percent, changes={table: values}))
    if percent:
        rows.append(Trial("LOFR with consistency", percent=percent, changes=_TAUGHT))
    else:
        rows.append(Trial("plain CAM", changes=_PLAIN_CAM))
    return (*rows, Trial("LOFR as in the paper", percent=percent, changes=_paper()))


def tables(preset: Mapping[str, Any]) -> dict[str, Table]:
    """Every table, by the name that people type. All rows of a table have the same backbone.

    Args:
        preset: one of `PRESETS`, whose departures from the paper become rows.
    """
    unlocated = (
        _BASELINE,
        Trial("LOFR as in the paper", changes=_paper()),
        Trial("LOFR"),
    )
    return {
        "location-free": Table(
            "Presence alone (Tables 1-3)",
            unlocated,
            "COCO test-dev AP 34.0 -> 54.3 (ResNet-50), 54.8 (HRNet-W32); MPII PCKh 35.3 -> 61.8; "
            "CrowdPose AP 21.5 -> 42.5 (baseline -> LOFR).",
        ),
        "semi-weak": Table(
            "Presence and a part of the locations (Table 4)",
            tuple(row for share in SEMI_WEAK_PERCENT for row in _semi_weak(share, preset)),
            "COCO val AP at 5 / 10 / 25 / 100 %: supervised-only ResNet-50 50.3 / 54.8 / 60.8 / "
            "71.0, LOFR 60.9 / 64.8 / 70.6 / 71.8, LOFR HRNet-W32 64.6 / 68.9 / 74.0 / 75.3. MPII "
            "PCKh at 5 / 10 / 25 %: SemiPose 71.3 / 76.3 / 82.5, LOFR 74.6 / 79.8 / 88.1.",
        ),
        "modules": Table(
            "The effect of each module, presence alone (Table 5)",
            _modules(),
            "COCO val AP: baseline 39.1, SPE 42.5, MS 40.9, RePPG 44.9, PDC 41.1, SPE + MS 44.3, "
            "RePPG + PDC 46.9, all 54.9.",
        ),
        "depth": Table(
            "Layers of encoder and decoder, presence alone (Table 6)",
            _depths(),
            "COCO val AP: (2, 2) 50.3, (3, 3) 52.3, (4, 4) 53.7, (4, 6) 54.9, (6, 4) 54.4, "
            "(6, 6) 53.2.",
        ),
        "response": Table(
            "Average response at the true keypoint, presence alone (Table 7, Figures 5-7)",
            unlocated,
            "COCO, baseline -> LOFR: ear .21 .45, eye .17 .38, nose .32 .52, head .65 .86, "
            "shoulder .36 .71, elbow .31 .53, wrist .21 .46, hip .39 .61, knee .21 .54, ankle "
            ".13 .42.",
            pictures=True,
        ),
        "plus": Table(
            "Each departure from the paper undone, at 10 %",
            _departures(10.0, preset),
            "These departures are ours.",
        ),
        "plus-location-free": Table(
            "Each departure from the paper undone, presence alone",
            _departures(0.0, preset),
            "These departures are ours.",
        ),
    }
