"""A labelling project in Python: the commands of the loop as methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labelkit.api.predictions import Prediction, predictions_of, without_maps
from labelkit.domain.selection import parse_percent
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import counted
from labelkit.errors import UsageError, WaitingForLabels
from labelkit.progress import Progress, default_progress
from labelkit.project.project import Project as ProjectFolder
from labelkit.project.project import find_project, lock_project, open_project
from labelkit.project.rounds import complete_round
from labelkit.store.label_store import LabelStore
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.bootstrap import BootstrapReport
from labelkit.workflows.loop.bootstrap import bootstrap as run_bootstrap
from labelkit.workflows.loop.export import ExportReport
from labelkit.workflows.loop.export import export as run_export
from labelkit.workflows.loop.predict import FoundReport
from labelkit.workflows.loop.predict import predict as run_predict
from labelkit.workflows.loop.predict import predict_with as run_predict_with
from labelkit.workflows.loop.predictions import PredictionsReport
from labelkit.workflows.loop.predictions import add_predictions as run_add_predictions
from labelkit.workflows.loop.pull import PullReport
from labelkit.workflows.loop.pull import pull as run_pull
from labelkit.workflows.loop.push import push as run_push
from labelkit.workflows.loop.retrain import RoundReport
from labelkit.workflows.loop.retrain import retrain as run_retrain
from labelkit.workflows.loop.status import StatusReport
from labelkit.workflows.loop.status import status as run_status
from labelkit.workflows.measure.evaluate import EvaluateReport
from labelkit.workflows.measure.evaluate import evaluate as run_evaluate
from labelkit.workflows.measure.referee import RefereeReport
from labelkit.workflows.measure.referee import referee as run_referee
from labelkit.workflows.measure.report import LedgerReport
from labelkit.workflows.measure.report import report as run_report
from labelkit.workflows.review_and_label.check import CheckReport
from labelkit.workflows.review_and_label.check import check as run_check
from labelkit.workflows.review_and_label.queue import QueueReport
from labelkit.workflows.review_and_label.queue import queue as run_queue
from labelkit.workflows.review_and_label.review import review as run_review
from labelkit.workflows.reviewing.page import PageReport, review_html
from labelkit.workflows.reviewing.report import ReviewReport
from labelkit.workflows.rounds.settings import TrainingOptions
from labelkit.workflows.sync.push_files import FilePushReport
from labelkit.workflows.sync.push_server import ServerPushReport
from labelkit.workflows.upkeep.images import ImagesReport
from labelkit.workflows.upkeep.images import images as run_images
from labelkit.workflows.upkeep.labels import LabelsReport
from labelkit.workflows.upkeep.labels import add_labels as run_add_labels
from labelkit.workflows.upkeep.skeleton import SkeletonReport
from labelkit.workflows.upkeep.skeleton import edit_skeleton as run_edit_skeleton

if TYPE_CHECKING:
    import pandas as pd

AnyPath = str | PathLike[str]


class Project:
    """A labelling project. `bootstrap` makes one and `open` opens one.

    Each method runs the command of the same name, with the same defaults, and returns its report;
    `predict` and `predictions` return predictions.
    The label store is open during a call only, so a notebook keeps no command line waiting.

    Any method raises `ProjectError` if the folder or another command at work in it stands in the
    way, and `StoreError` if the labels cannot be read or written.

    Attributes:
        root: the project's folder, absolute.
        bootstrap_report: what `bootstrap` did; None for a project that was opened.
    """

    def __init__(
        self,
        root: Path,
        progress: Progress | None = None,
        bootstrap_report: BootstrapReport | None = None,
    ) -> None:
        self.root = root
        self.bootstrap_report = bootstrap_report
        self._progress = default_progress() if progress is None else progress

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r})"

    @property
    def images_root(self) -> Path:
        """The folder that the paths of images start from."""
        return open_project(self.root).images_root

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints of every instance, in the order of every array."""
        return open_project(self.root).skeleton

    @contextmanager
    def _opened(self, *, alone: bool = False) -> Iterator[tuple[ProjectFolder, LabelStore]]:
        """The folder and its label store; `alone` keeps out other commands that train or queue."""
        folder = open_project(self.root)
        with (
            lock_project(folder) if alone else nullcontext(),
            open_store(folder) as store,
        ):
            yield folder, store

    def push(
        self,
        *,
        files: bool = False,
        per_instance: bool | None = None,
        image_url: str | None = None,
        dry_run: bool = False,
    ) -> FilePushReport | ServerPushReport:
        """Send what people should answer next to Label Studio.

        The server is the one in LABEL_STUDIO_URL, with the key in LABEL_STUDIO_API_KEY.

        Args:
            files: write import files instead, for a server that labelkit cannot reach.
            per_instance: True asks about one zoomed object a task, False about all objects of an
                image with their boxes; remembered. None zooms in unless an object is large and
                alone.
            image_url: where the server finds the images folder; kept for the next push.
            dry_run: only report what would be sent.

        Raises:
            ServiceError: if the server cannot be used.
        """
        with self._opened() as (folder, store):
            return run_push(
                folder,
                store,
                self._progress,
                files=files,
                per_instance=per_instance,
                image_url=image_url,
                dry_run=dry_run,
            )

    def pull(
        self,
        *,
        file: AnyPath | None = None,
        take: Literal["theirs", "ours"] | None = None,
    ) -> PullReport:
        """Record answers and corrections from Label Studio, each once, none ever replaced.

        Args:
            file: a JSON export; without it the server in LABEL_STUDIO_URL is read.
            take: also settle every conflict for this side.

        Raises:
            ServiceError: if the server cannot be used.
            FormatError: if the file is not an export of this project.
        """
        with self._opened() as (folder, store):
            return run_pull(folder, store, self._progress, file=_path(file), take=take)

    def retrain(
        self,
        labeled: str | float | None = None,
        *,
        dev: str | float | None = None,
        now: bool = False,
        preset: str | None = None,
        backbone: str | None = None,
        epochs: int | None = None,
        minutes: float | None = None,
        pretrained: bool | None = None,
        weights: AnyPath | None = None,
        input_size: str | None = None,
        rotation: float | None = None,
        mirror: bool | None = None,
        precision: str | None = None,
        seed: int | None = None,
        teacher: str | None = None,
        model: str | None = None,
    ) -> RoundReport:
        """Train at a labelled percentage, pre-annotate everything, queue what to correct next.

        A round that fits the labels of today is reported and not trained again. Training takes one
        GPU, or the CPU; the command line trains on several.

        Args:
            labeled: percentage of the instances whose keypoints give locations, such as "10%" or
                10; None for all that have keypoints.
            dev: percentage of the instances to which the dev set grows; None leaves it.
            now: train on the labels there are, even if they are fewer.
            preset, backbone, epochs, minutes, pretrained, weights, input_size: see `bootstrap`;
                None keeps those of the last round.
            rotation, mirror, precision, seed: the same.
            teacher: name of a model whose predictions were added: its poses teach where nothing is
                labelled, and are evidence for the reading.
            model: see `bootstrap`.

        Raises:
            WaitingForLabels: if labels are missing. The instances to label are queued then, for
                `push`. (The command line prints the same and ends with exit code 3.)
            UsageError: on a percentage, preset or backbone that does not exist.
        """
        percent = None if labeled is None else parse_percent(str(labeled))
        options = _options(
            preset,
            backbone,
            epochs,
            pretrained,
            rotation,
            mirror,
            precision,
            seed,
            weights,
            input_size,
            minutes,
        )
        with self._opened(alone=True) as (folder, store):
            report = run_retrain(
                folder,
                store,
                self._progress,
                percent=percent,
                now=now,
                options=replace(options, teacher=teacher, model=model),
                dev_percent=None if dev is None else parse_percent(str(dev)),
            )
        if report.round is None:
            raise WaitingForLabels(
                f"Keypoints of {counted(report.missing, 'more instance')} are missing; "
                f"{counted(report.queued, 'instance')} are queued.",
                "Call push(), have them corrected, call pull(), then retrain() again. "
                "Or train on the labels there are: retrain(..., now=True)",
            )
        return report

    def evaluate(
        self,
        *,
        images: AnyPath | None = None,
        labels: AnyPath | None = None,
        supervised: bool = True,
        output: AnyPath | None = None,
        overwrite: bool = False,
    ) -> EvaluateReport:
        """Score every round beside pose priors and supervised-only training.

        `report.table.rows` has the numbers; `report.file` is the JSON document.

        Args:
            images, labels: an evaluation set; None for both takes the dev set.
            supervised: also train the supervised-only networks that are missing.
            output: where the JSON goes; None takes reports/evaluation.json of the project.
            overwrite: also over a file that labelkit did not write.

        Raises:
            WaitingForLabels: if the dev set has no human keypoints yet.
            InputError: if the evaluation set holds images of the project.
            CheckpointError: if no round's network can be read.
        """
        with self._opened(alone=True) as (folder, store):
            return run_evaluate(
                folder,
                store,
                self._progress,
                images=_path(images),
                labels=_path(labels),
                supervised=supervised,
                output=_path(output),
                overwrite=overwrite,
            )

    def referee(self, rounds: Sequence[int] = (), *, tolerance: float = 0.1) -> RefereeReport:
        """Compare what it costs to correct the predictions of rounds, on the dev set.

        Args:
            rounds: their numbers; none takes the newest network, and the newest round of each
                other model.
            tolerance: 0 ... 1, share of the box's long side within which nothing is corrected.

        Raises:
            UsageError: if there is no such round.
            ProjectError: if no round is complete.
            WaitingForLabels: if too few images of the dev set have human keypoints.
        """
        with self._opened() as (folder, store):
            return run_referee(folder, store, numbers=rounds, tolerance=tolerance)

    def report(
        self,
        *,
        output: AnyPath | None = None,
        hourly_rate: float | None = None,
        overwrite: bool = False,
    ) -> LedgerReport:
        """Tell what pre-annotation saves, what labels cost and brought, and whether to go on.

        Args:
            output: HTML page to write; None writes none.
            hourly_rate: what an hour of labelling costs, in any currency; None leaves money out.
            overwrite: also over a file that is not such a page.

        Raises:
            UsageError: if the rate is negative, or `output` is another file.
        """
        file = None if output is None else Path(output)
        with self._opened() as (folder, store):
            return run_report(
                folder, store, output=file, hourly_rate=hourly_rate, overwrite=overwrite
            )

    def status(self) -> StatusReport:
        """Count images, answers, labels and rounds, and name the next step; changes nothing."""
        with self._opened() as (folder, store):
            return run_status(folder, store)

    def images(
        self,
        action: Literal["list", "remove", "restore", "relocate"] = "list",
        *paths: AnyPath,
        dry_run: bool = False,
    ) -> ImagesReport:
        """Follow images that were deleted, renamed or moved.

        Args:
            action: list what changed; remove images from the project, whose labels stay in the
                journal; restore them; or relocate: find images by their content.
            paths: images or folders of them; for "relocate" the new images folder, if it is
                another one. None removes those that are gone or changed, and restores all.
            dry_run: only report what would be done.

        Raises:
            ImageError: if a path is not an image of the project, or a folder does not hold them.
        """
        with self._opened(alone=True) as (folder, store):
            given = [Path(path) for path in paths]
            return run_images(folder, store, self._progress, action, given, dry_run=dry_run)

    def add_labels(
        self,
        *files: AnyPath,
        label_pixels: Literal["file", "picture"] | None = None,
        group: Literal["parent", "box", "image"] | None = None,
        skip_missing: bool = False,
        skip_unreadable: bool = False,
    ) -> LabelsReport:
        """Add labels that exist elsewhere, as `bootstrap` does, and train nothing.

        Labels that came before stay. Where a file contradicts a later answer, the answer counts.

        Args:
            files: label files, and folders of them; they are one import.
            label_pixels: whose pixels labels count where a file gives another size than the
                picture has; None concludes it.
            group: what decides to which object a keypoint of a Label Studio export belongs; None
                concludes it.
            skip_missing: leave out labels whose images are missing.
            skip_unreadable: leave out unreadable images.

        Raises:
            LabelkitError: if anything given cannot be used; the class names which.
        """
        with self._opened(alone=True) as (folder, store):
            return run_add_labels(
                folder,
                store,
                self._progress,
                [Path(file) for file in files],
                skip={"unreadable": skip_unreadable, "missing": skip_missing},
                label_pixels=label_pixels,
                group=group,
            )

    def add_predictions(
        self,
        file: AnyPath,
        name: str,
        *,
        ids: AnyPath | None = None,
        skeleton: AnyPath | None = None,
    ) -> PredictionsReport:
        """Take what another model predicts as a round, to be corrected like any other.

        Where its keypoints have other names, an adapter is learned from the labelled objects.

        Args:
            file: COCO results, COCO with scores, the CSV of DeepLabCut or Lightning Pose, a folder
                of YOLO text files, or a SLEAP file.
            name: what the model is called.
            ids: COCO file whose image ids COCO results use.
            skeleton: names the keypoints of a file that does not.

        Raises:
            LabelkitError: if anything given cannot be used; the class names which.
        """
        with self._opened(alone=True) as (folder, store):
            return run_add_predictions(
                folder,
                store,
                Path(file),
                name=name,
                ids=_path(ids),
                skeleton=None if skeleton is None else str(skeleton),
            )

    def predict_with(self, network: str) -> FoundReport:
        """Predict the project's objects by a public network, and take that as a round.

        MediaPipe, which has the networks, is installed in an environment of its own at the first
        call. Later calls predict only what is new.

        Args:
            network: "mediapipe-pose", "mediapipe-face" or "mediapipe-hands".

        Raises:
            UsageError: if there is no such network.
            MissingDependencyError: if MediaPipe cannot be installed.
        """
        with self._opened() as (folder, store):
            return run_predict_with(network, folder, store, self._progress)

    def edit_skeleton(
        self,
        file: AnyPath | None = None,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        pairs: str | None = None,
        dry_run: bool = False,
    ) -> SkeletonReport:
        """Change keypoints, links and pairs. Labels stay: a new keypoint is unknown in them.

        Args:
            file: a skeleton file; what it leaves out stays as it is.
            add, remove: names of keypoints.
            rename: new names by former ones.
            pairs: left/right pairs, such as "wingL:wingR,antL:antR", or "none".
            dry_run: only report what would change.

        Raises:
            SkeletonError: if the changes contradict each other, the skeleton or the labels.
        """
        with self._opened(alone=True) as (folder, store):
            return run_edit_skeleton(
                folder,
                store,
                file=_path(file),
                add=add,
                remove=remove,
                rename=rename,
                pairs=pairs,
                dry_run=dry_run,
            )

    def queue(
        self,
        *,
        from_review: bool = False,
        strategy: str | None = None,
        unshown: Sequence[str] | None = None,
        why: str | None = None,
    ) -> QueueReport:
        """Report what is corrected next.

        Args:
            from_review: first take over what was tagged and selected in FiftyOne.
            strategy: draw the queue again, and all later ones: "mixed", "uncertain", "diverse",
                "random" or "manual".
            unshown: keypoints that people place without pre-annotation from now on, instead of
                those until now; none serves all with it.
            why: id of an object to explain.

        Raises:
            MissingDependencyError: if FiftyOne or its database is not there.
            UsageError: if there is no such strategy, keypoint or object.
        """
        with self._opened(alone=True) as (folder, store):
            return run_queue(
                folder,
                store,
                from_review=from_review,
                strategy=strategy,
                unshown=unshown,
                why=why,
            )

    def check(
        self, promise: float = 0.8, *, folds: int = 0, minutes: float | None = None
    ) -> CheckReport:
        """Name labels that are probably wrong; change none.

        `report.suspects` lists them, most certain first.

        Args:
            promise: 0 ... 1, the share of suspicions of each kind that should be right. Labels
                that contradict each other are named in any case.
            folds: number of networks to train, each on all labels but those of one part, which it
                predicts. What they predict is used until they are trained again; 0 trains none.
            minutes: that all these trainings may take together; None for as long as the newest
                round's each.

        Raises:
            UsageError: if the promise, the folds or the minutes are out of range.
        """
        with self._opened(alone=folds > 0) as (folder, store):
            return run_check(
                folder, store, self._progress, promise=promise, folds=folds, minutes=minutes
            )

    def review(
        self,
        html: AnyPath | None = None,
        *,
        round: int | None = None,
        limit: int | None = None,
        instances: bool = False,
        maps: bool = True,
        overwrite: bool = False,
    ) -> ReviewReport | PageReport:
        """Bring the FiftyOne dataset up to date, or write the review as one HTML page.

        The App is not opened. `fiftyone.load_dataset(report.dataset)` is the dataset; the command
        `labelkit review` opens it with its response maps.

        Args:
            html: file of the page; needs no FiftyOne.
            round: to review; None for the newest complete one.
            limit: at most so many instances, the most uncertain first.
            instances: a sample for each instance, grouped with its image.
            maps: also show response maps.
            overwrite: also over a page that labelkit did not write.

        Raises:
            MissingDependencyError: if FiftyOne or its database is not there.
            UsageError: if there is no such round.
            WaitingForLabels: if a page is asked for before the first round.
        """
        if html is not None:
            with self._opened() as (folder, store):
                return review_html(
                    folder,
                    store,
                    self._progress,
                    Path(html),
                    number=round,
                    limit=limit,
                    overwrite=overwrite,
                )
        with self._opened(alone=True) as (folder, store):
            return run_review(
                folder,
                store,
                self._progress,
                number=round,
                limit=limit,
                instances=instances,
                with_maps=maps,
            )

    def export(
        self,
        format: Literal[
            "coco", "yolo", "dlc", "lightning-pose", "cvat", "sleap", "visibility", "onnx"
        ] = "coco",
        *,
        predictions: bool = False,
        output: AnyPath | None = None,
        dry_run: bool = False,
        overwrite: bool = False,
    ) -> ExportReport:
        """Write the human labels for training code; `report.file` is the file or folder.

        Args:
            format: COCO keypoints, YOLO poses, a DeepLabCut project, Lightning Pose, a task of
                CVAT, a SLEAP project, or visibility answers as CSV; "onnx" writes the network of
                the newest round instead.
            predictions: also write what only the newest round has posed, with scores.
            output: file, or folder for YOLO, DeepLabCut, Lightning Pose and CVAT; None takes the
                project's exports/.
            dry_run: only report what would be written.
            overwrite: also over a file that labelkit did not write.

        Raises:
            UsageError: on an unknown format, or a file that is not an export.
            WaitingForLabels: if there is nothing to write.
        """
        with self._opened() as (folder, store):
            return run_export(
                folder,
                store,
                self._progress,
                form=format,
                predictions=predictions,
                output=_path(output),
                dry_run=dry_run,
                overwrite=overwrite,
            )

    def predictions(self, round: int | None = None) -> Iterator[Prediction]:
        """The predictions of a round, one for each instance, read as they are asked for.

        Args:
            round: number of the round; None for the newest complete one.

        Raises:
            ProjectError: if no round is complete.
            UsageError: if there is no such complete round.
            FormatError: if the file of predictions is damaged.
        """
        with self._opened() as (folder, store):
            found = complete_round(folder, round)
            return predictions_of(found, folder.skeleton, store.instances())

    def predict(
        self,
        images: AnyPath,
        *,
        boxes: AnyPath | None = None,
        round: int | None = None,
        output: AnyPath | None = None,
        format: Literal["coco", "csv", "dlc"] | None = None,
        overwrite: bool = False,
    ) -> list[Prediction]:
        """Predict pictures that are in no project; neither they nor the project change.

        Unreadable pictures are named and left out.

        Args:
            images: folder of pictures.
            boxes: a COCO file, "whole-image" or "detect"; None does as the project did.
            round: number of the round whose network predicts; None for the newest complete one.
            output: also write this file.
            format: COCO keypoints, CSV of a row for each keypoint, or the CSV of DeepLabCut; None
                goes by the ending of `output`: .json or .csv.
            overwrite: also over a file that labelkit did not write.

        Returns:
            one for each object, in the order of the pictures' paths. They have no `maps`.

        Raises:
            ProjectError: if no round is complete.
            UsageError: on a round or format that does not exist, or if it is unknown where the
                objects are.
            ImageError: if there is no picture that can be read.
        """
        with self._opened() as (folder, store):
            report = run_predict(
                folder,
                store,
                self._progress,
                images=Path(images),
                boxes=None if boxes is None else str(boxes),
                number=round,
                output=_path(output),
                form=format,
                overwrite=overwrite,
            )
        self._progress.line(report.text())
        return [without_maps(*item) for item in report.predictions]

    def to_dataframe(
        self, of: Literal["keypoints", "answers", "history", "queue"] = "keypoints"
    ) -> pd.DataFrame:
        """The project as a pandas data frame.

        Args:
            of: the rows of the frame.

                "keypoints": one row for each keypoint of each instance, labelled or not, in long
                form. `image` (path below `images_root`), `instance` (id), its `category` and
                `individual` ("" where no label file named one), `keypoint`; the label
                that counts: `x`, `y` (image pixels; NaN where no human placed it), `visibility`
                (0 absent, 1 occluded, 2 visible; missing without human keypoints), `present` (the
                newest visibility answer or keypoints; missing without either), `annotator`,
                `made_at`, `source`; `split` ("dev", "labelled", "skipped", "answered" or
                "unlabelled"); the newest round's prediction: `predicted_x`, `predicted_y`,
                `predicted_score`, `predicted_presence` (0 ... 1), NaN without one.

                "answers": one row for each entry of the journal, oldest first: who answered what
                about which instance, when, from where, and in how many seconds. `content` is
                {keypoint: True or False}, {keypoint: [x, y, visibility]}, or {} for a skip.

                "history": one row for each round: kind, status, number and share (0 ... 1) of
                labelled instances, times, settings, and `dev_...`, its scores on the dev set.

                "queue": one row for each instance that waits for correction, the next one first:
                why (`reason`), and whether it is served without pre-annotation (`control`).

        Raises:
            UsageError: on another name.
        """
        from labelkit.api.frames import FRAMES  # pandas is slow to import

        if of not in FRAMES:
            raise UsageError(f"There is no data frame of {of!r}.", f"Frames: {', '.join(FRAMES)}.")
        with self._opened() as (folder, store):
            return FRAMES[of](folder, store)


def bootstrap(
    images: AnyPath,
    *,
    skeleton: AnyPath | None = None,
    pairs: str | None = None,
    boxes: AnyPath | None = None,
    labels: AnyPath | Sequence[AnyPath] = (),
    label_pixels: Literal["file", "picture"] | None = None,
    group: Literal["parent", "box", "image"] | None = None,
    start: Literal["ticks", "keypoints"] | None = None,
    labeled: str | float | None = None,
    dev: str | float | None = None,
    now: bool = False,
    project: AnyPath | None = None,
    skip_unreadable: bool = False,
    skip_missing: bool = False,
    model: str | None = None,
    preset: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    pretrained: bool | None = None,
    weights: AnyPath | None = None,
    input_size: str | None = None,
    rotation: float | None = None,
    mirror: bool | None = None,
    precision: str | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Project:
    """Register images and labels; train the first round as soon as there are visibility answers.

    Call it again when answers have come: it continues where it was. Training takes one GPU, or the
    CPU; the command line trains on several.

    Args:
        images: folder of images; it is only read.
        skeleton: "coco17", "crowdpose14", "mpii16", "lsp14", or a TOML file, DeepLabCut config or
            COCO file; None takes the project's, the label file's, or coco17.
        pairs: left/right pairs, such as "wingL:wingR,antL:antR", or "none"; None takes those of the
            skeleton, or finds them by name.
        boxes: a file, "whole-image" or "detect", or "none" for a model that finds the objects; None
            takes the labels', or detects people.
        labels: a file of labels (COCO, YOLO, Label Studio, DeepLabCut keypoints, or a visibility
            CSV), a folder of such files, or several of these.
        label_pixels: whose pixels labels count where a label file gives another size than the
            picture has; None concludes it.
        group: what decides to which object a keypoint of a Label Studio export belongs: its parent
            or relation, the smallest box around it, or the image; None concludes it.
        labeled: percentage of the instances whose keypoints may give locations, such as "10%" or
            10; None for all that have keypoints.
        start: what people give first; None begins with ticks, and asks for keypoints if those
            cannot teach.
        dev: percentage of the instances in the dev set; None for 5 %, and at least 20 instances of
            200 or more.
        now: train on the labels there are, even if they are fewer than a first training needs.
        project: folder of the project; None finds it, or makes it beside the images.
        skip_unreadable: leave out unreadable images.
        skip_missing: leave out labels whose images are missing.
        model: "lofr", which predicts objects in boxes, or "single-stage" or "bottom-up", which find
            the objects of whole images; None takes what was given before, at first lofr.
        preset: "paper", "plus" or "tiny"; None takes plus with a GPU, else tiny.
        backbone: a timm model instead of the preset's.
        epochs: passes over the project; None for the preset's, and as many more as a small project
            needs.
        minutes: after which a training ends, if its epochs have not; 0 for no limit.
        pretrained: start from the weights that timm publishes, or do not; None does where they can
            be had.
        weights: file of the weights to start from: safetensors, timm's names.
        input_size: pixels of a crop, such as "128", or "192x256", columns first; None takes the
            preset's, in the shape of the objects.
        rotation: degrees by which training crops turn, either way.
        mirror: also train on mirror images, left and right renamed.
        precision: number format, "full" or "bf16"; None takes the fastest here.
        seed: random seed.
        progress: told what is done; None shows it in a terminal or a notebook, and nothing
            elsewhere.

    Returns:
        the project; its `bootstrap_report` has `round` None while visibility answers are missing.

    Raises:
        LabelkitError: if anything given cannot be used; the class names which.
    """
    progress = default_progress() if progress is None else progress
    report = run_bootstrap(
        Path(images),
        progress,
        project_root=_path(project),
        skeleton=None if skeleton is None else str(skeleton),
        labels=[Path(labels)] if isinstance(labels, str | PathLike) else list(map(Path, labels)),
        boxes=None if boxes is None else str(boxes),
        percent=None if labeled is None else parse_percent(str(labeled)),
        skip={
            "unreadable": skip_unreadable,
            "missing": skip_missing,
        },
        options=replace(
            _options(
                preset,
                backbone,
                epochs,
                pretrained,
                rotation,
                mirror,
                precision,
                seed,
                weights,
                input_size,
                minutes,
            ),
            model=model,
        ),
        label_pixels=label_pixels,
        group=group,
        start=start,
        dev_percent=None if dev is None else parse_percent(str(dev)),
        now=now,
        pairs=pairs,
    )
    progress.line(report.text())  # a notebook shows what is returned, and that is the project
    return Project(report.project, progress, report)


def open(folder: AnyPath | None = None, *, progress: Progress | None = None) -> Project:
    """Open a project.

    Args:
        folder: of the project; None takes the one in, above or right below the current folder.
        progress: see `bootstrap`.

    Raises:
        ProjectError: if there is none, or it is damaged or made by a newer labelkit.
    """
    found = find_project(Path.cwd()) if folder is None else open_project(Path(folder))
    return Project(found.root, progress)


def _path(given: AnyPath | None) -> Path | None:
    return None if given is None else Path(given)


def _options(
    preset: str | None,
    backbone: str | None,
    epochs: int | None,
    pretrained: bool | None,
    rotation: float | None,
    mirror: bool | None,
    precision: str | None,
    seed: int | None,
    weights: AnyPath | None,
    input_size: str | None,
    minutes: float | None,
) -> TrainingOptions:
    # More devices would start this script once more for each of them.
    return TrainingOptions(
        preset,
        backbone,
        epochs,
        pretrained,
        rotation,
        mirror,
        precision,
        seed,
        devices=1,
        weights=None if weights is None else str(weights),
        input_size=input_size,
        minutes=minutes,
    )
