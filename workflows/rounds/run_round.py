"""One round: train on the locked labels, predict every instance, measure on the dev set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction, nothing_found
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import (
    MissingDependencyError,
    ProjectError,
    UsageError,
    WaitingForLabels,
)
from labelkit.files.atomic import write_json
from labelkit.files.parquet import next_part, parts
from labelkit.metrics.accuracy import presence_map
from labelkit.metrics.quality import notes_on, spearman, uninformative_keypoints
from labelkit.metrics.table import evaluate_row, json_measures
from labelkit.progress import Progress, Silent
from labelkit.project.predictions import read_predictions, write_predictions
from labelkit.project.project import Project, is_main_process
from labelkit.project.rounds import (
    Round,
    RoundPlan,
    begin_round,
    finish_round,
    latest_complete,
    take_back_round,
)
from labelkit.project.teacher import lessons
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.gain import gain_between
from labelkit.workflows.rounds.image_files import check_image_files
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.networks import (
    build_network,
    dev_examples,
    examples_of,
    learned,
    load_network,
    predict_instances,
    starting_weights,
    train_network,
    training_state,
)
from labelkit.workflows.rounds.reading import choose_reading
from labelkit.workflows.rounds.served import (
    COMPARABLE,
    DECISIVE,
    NETWORK,
    as_served,
    better,
    name_of,
    served,
    skeleton_measures,
)
from labelkit.workflows.rounds.settings import note_on_mirroring
from labelkit.workflows.rounds.training_curve import draw_training

if TYPE_CHECKING:
    from labelkit.project.features import FeatureWriter
    from labelkit.project.response_maps import MapWriter
    from labelkit.workflows.network.data import Example
    from labelkit.workflows.network.inference import PredictionWithMaps


def run_round(
    project: Project,
    store: LabelStore,
    plan: RoundPlan,
    progress: Progress,
    devices: int | None,
) -> Round:
    """Carry out a plan, or the rest of it after an interruption.

    Of several processes the first one writes; the others help to train and to predict.

    Raises:
        WaitingForLabels: if there are no answers to learn from.
        ImageError: if the file of an image is gone or changed.
        MissingDependencyError: if pretrained weights that were asked for cannot be downloaded.
        UsageError: if the backbone cannot be used, or weights do not fit it.
    """
    from labelkit.workflows.network.sharing import prepared, together

    snapshot = read_snapshot(project, store, plan.journal_head)
    examples = _examples(project, store, snapshot, plan)
    path = prepared(partial(begin_round, project, plan))
    what = f"Round {plan.number:03d}"
    model = path / "model.safetensors"
    training: dict[str, Any] = {}
    if not model.is_file():
        answers = [example.presence for example in examples]
        for warning in notes_on(uninformative_keypoints(answers, project.skeleton)):
            progress.line(f"note: {warning}")
        if note := note_on_mirroring(plan.settings, learned(project.skeleton, examples)):
            progress.line(f"note: {note}")
        try:
            training = train_network(
                plan.settings.get("network", "lofr"),
                project,
                examples,
                plan.settings,
                plan.seed,
                model,
                progress,
                what,
                devices,
                dev=dev_examples(snapshot),
            )
        except (MissingDependencyError, UsageError):
            if is_main_process() and not training_state(model).is_file():
                take_back_round(path)
            raise
    return together(partial(_after_training, project, plan, snapshot, path, training, progress))


def _after_training(
    project: Project,
    plan: RoundPlan,
    snapshot: LabelSnapshot,
    path: Path,
    training: dict[str, Any],
    progress: Progress,
) -> Round:
    """Measure the network of a round on the dev set, and pre-annotate every instance.

    Args:
        project, plan, progress: see `run_round`.
        snapshot: the labels of the plan.
        path: folder of the round.
        training: the record of the training; empty if it was complete before.
    """
    model = path / "model.safetensors"
    training_state(model).unlink(missing_ok=True)  # left by a kill right before its removal
    network, header = load_network(model, project.skeleton)
    if choose_reading(project, network, header, plan.settings, snapshot, model):
        training = header["training"]
    # The network itself is measured on the dev set; what is served for the others follows.
    dev = {item: instance for item, instance in snapshot.instances.items() if item in snapshot.dev}
    on_dev = {
        item.prediction.instance_id: item.prediction
        for item in predict_instances(project, network, plan.settings, dev, Silent())
    }
    measures = measure(snapshot, on_dev, project.skeleton)
    write_json(path / "metrics.json", measures)
    located = {item: snapshot.poses[item] for item in dev if item in snapshot.poses}
    guessed = skeleton_measures(located, dev, project.skeleton)
    training = training or header.get("training", {})
    draw_training(training, path / "training.png")
    facts: dict[str, Any] = {
        "training": training,
        "dev": measures,
        "skeleton_in_box": guessed,
        "serves": better(measures, guessed),
    }
    if len(located) < COMPARABLE:
        facts |= _unusable(project, network, plan, snapshot)
    earlier: Mapping[str, Prediction] = {}
    newest = latest_complete(project)
    if newest is not None and len(located) >= COMPARABLE:
        poses = read_predictions(newest.path / "predictions.parquet", project.skeleton)
        kept = _clearly_better(poses, on_dev, located, dev, project.skeleton, facts["serves"])
        score = measure(snapshot, kept, project.skeleton)[DECISIVE] if kept else 0.0
        if score > measures[DECISIVE]:
            earlier = poses
            facts |= {"serves": name_of(newest), "earlier": {DECISIVE: score}}
    predictions, maps = path / "predictions.parquet", path / "maps" / "maps.parquet"
    # An earlier version may have been killed after it had written the network's.
    if facts["serves"] != NETWORK or not (predictions.is_file() and maps.is_file()):
        rest = (snapshot.instances, facts["serves"], predictions, maps, progress)
        _predict(project, network, plan, *rest, earlier)
    return finish_round(path, facts)


def _unusable(
    project: Project, network: Any, plan: RoundPlan, snapshot: LabelSnapshot
) -> dict[str, Any]:
    """Facts of a round whose network is worse than the skeleton even on what it learned from.

    For projects whose dev set is too small to tell. A network that is better there may still be
    worse on other objects.

    Args:
        project, plan, snapshot: see `_after_training`.
        network: of the round.

    Returns:
        what it serves, and both measures; nothing for any other network.
    """
    taught = {item: snapshot.poses[item] for item in plan.labelled}
    instances = {item: snapshot.instances[item] for item in taught}
    guessed = skeleton_measures(taught, instances, project.skeleton)
    if not guessed or len(taught) < COMPARABLE:
        return {}
    found = {
        item.prediction.instance_id: item.prediction
        for item in predict_instances(project, network, plan.settings, instances, Silent())
    }
    ours = measure(replace(snapshot, dev=taught.keys()), found, project.skeleton)
    if (serves := better(ours, guessed)) == NETWORK:
        return {}
    return {"serves": serves, "on_what_it_learned": {NETWORK: ours, serves: guessed}}


def _clearly_better(
    earlier: Mapping[str, Prediction],
    network: Mapping[str, Prediction],
    located: Mapping[str, Pose],
    dev: Mapping[str, Instance],
    skeleton: Skeleton,
    serves: str,
) -> dict[str, Prediction]:
    """The dev set as an earlier round served it, if that is better by two standard errors.

    A network that has learned from few labels may be worse than the model that a project began
    with, and no team should correct more after a training than before.

    Args:
        earlier: what the earlier round served.
        network: the new network's predictions of the dev set.
        located: human poses of the dev set.
        dev: its instances.
        skeleton: of the poses.
        serves: what the new round would serve, see `as_served`.
    """

    def shown(name: str) -> dict[str, Prediction]:
        return {
            id_: as_served(item, dev[id_], skeleton, name, earlier.get(id_))
            for id_, item in network.items()
        }

    kept = shown("earlier")
    gain = gain_between(shown(serves), kept, located, dev)
    return kept if gain is not None and gain.is_clear and gain.difference > 0 else {}


def check_plan(project: Project, store: LabelStore, plan: RoundPlan) -> None:
    """Make sure that a plan can begin, before the round that it replaces is given up.

    Raises:
        LabelkitError: see `run_round`.
    """
    _examples(project, store, read_snapshot(project, store, plan.journal_head), plan)
    start = starting_weights(project, plan.settings, Silent())
    build_network("lofr", project.skeleton, plan.settings, start)


def _examples(
    project: Project, store: LabelStore, snapshot: LabelSnapshot, plan: RoundPlan
) -> list[Example]:
    """What a plan learns from."""
    examples = examples_of(snapshot, plan.labelled, lessons(project, plan.settings))
    if not examples:
        raise WaitingForLabels(
            "No visibility answers to train on yet.",
            "Type: labelkit push, have the boxes ticked, then labelkit pull",
        )
    check_image_files(project, store)
    return examples


def predict_later(
    project: Project, found: Round, instances: Mapping[str, Instance], progress: Progress
) -> int:
    """Predict the instances that came after a complete round, with its network.

    The round itself does not change: their predictions and maps go into files beside its own. In a
    foreign round nothing is found of them, until the file that it came from is added again.

    Args:
        project: of the round.
        found: the round.
        instances: all of the project, by id.
        progress: shows a bar.

    Returns:
        how many came since the last time.
    """
    predictions = found.path / "predictions.parquet"
    maps = found.path / "maps" / "maps.parquet"
    foreign = found.plan.is_foreign
    if not foreign and len(parts(predictions)) > len(parts(maps)):
        parts(predictions)[-1].unlink()  # a kill came before their maps were complete
    known = read_predictions(predictions, project.skeleton)
    later = {id_: instance for id_, instance in instances.items() if id_ not in known}
    if later and foreign:
        nothing = (nothing_found(id_, len(project.skeleton)) for id_ in later)
        write_predictions(next_part(predictions), nothing, project.skeleton)
    elif later:
        network, _ = load_network(found.path / "model.safetensors", project.skeleton)
        files = next_part(predictions), next_part(maps)
        _predict(project, network, found.plan, later, served(found), *files, progress, {})
    return 0 if foreign else len(later)


def _predict(
    project: Project,
    network: Any,
    plan: RoundPlan,
    instances: Mapping[str, Instance],
    serves: str,
    predictions: Path,
    maps: Path,
    progress: Progress,
    earlier: Mapping[str, Prediction],
) -> None:
    from labelkit.project.features import FeatureWriter
    from labelkit.project.response_maps import MapWriter

    features = predictions.with_name(predictions.name.replace("predictions", "features"))
    found = predict_instances(project, network, plan.settings, instances, progress)
    # Maps are complete last: a kill before that repeats all.
    with MapWriter(maps, project.skeleton.keypoints) as writer, FeatureWriter(features) as pooled:
        rows = (
            as_served(row, instances[id_], project.skeleton, serves, earlier.get(id_))
            for row in keep_maps(keep_features(found, pooled), writer)
            for id_ in (row.instance_id,)
        )
        write_predictions(predictions, rows, project.skeleton)


def keep_features(
    found: Iterable[PredictionWithMaps], writer: FeatureWriter
) -> Iterator[PredictionWithMaps]:
    """Pass predictions on, after writing their features."""
    for item in found:
        writer.add(item.prediction.instance_id, item.feature)
        yield item


def keep_maps(found: Iterable[PredictionWithMaps], writer: MapWriter) -> Iterator[Prediction]:
    """Pass predictions on, after writing their maps."""
    for item in found:
        crop = item.to_cells.ravel().tolist()
        id_ = item.prediction.instance_id
        writer.add(id_, crop, item.response, item.heatmaps, item.cams)
        yield item.prediction


def measure(
    snapshot: LabelSnapshot, predictions: Mapping[str, Prediction], skeleton: Skeleton
) -> dict[str, Any]:
    """Measures on the dev set; None where it is too small for one."""
    answered = [item for item in snapshot.dev if item in snapshot.presences]
    located = {item: snapshot.poses[item] for item in snapshot.dev if item in snapshot.poses}
    result: dict[str, Any] = {"answered": len(answered), "located": len(located)}
    if answered:
        predicted = np.stack([predictions[item].presence for item in answered])
        truth = np.stack([snapshot.presences[item] for item in answered])
        for name, scores in (
            ("presence_map", predicted),
            ("presence_map_chance", np.zeros_like(predicted)),
        ):
            value = presence_map(scores, truth)
            result[name] = None if np.isnan(value) else value
    if located:
        row = evaluate_row("dev", None, predictions, located, snapshot.instances, skeleton)
        result |= json_measures({k: v for k, v in row.measures.items() if k != "presence_map"})
        present = [item for item, pose in located.items() if pose.present.any()]
        error = [mean_error(predictions[i], located[i], snapshot.instances[i]) for i in present]
        rank = spearman([predictions[i].score for i in present], error)
        result["score_error_spearman"] = None if np.isnan(rank) else rank
    return result


def mean_error(prediction: Prediction, truth: Pose, instance: Instance) -> float:
    """0 exact ...: mean distance over present keypoints, as a share of the box's long side."""
    distance = np.linalg.norm(prediction.pose.xy - truth.xy, axis=1)[truth.present]
    return float(distance.mean()) / instance.box.long_side


def latest_predictions(project: Project) -> tuple[Round, Mapping[str, Prediction]]:
    """The newest complete round and its predictions by instance id.

    Raises:
        ProjectError: if no round is complete.
    """
    newest = latest_complete(project)
    if newest is None:
        raise ProjectError(
            "No round is complete: there are no pre-annotations yet.",
            "See what comes first: labelkit status",
        )
    return newest, read_predictions(newest.path / "predictions.parquet", project.skeleton)
