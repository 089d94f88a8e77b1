from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from builders import stick_skeleton, write_picture

from labelkit.domain.instance import Box, Instance
from labelkit.domain.pose import human_pose
from labelkit.errors import CheckpointError, UsageError
from labelkit.models.presets import PRESETS, build_model
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.workflows.network import pseudo_labels, resume, training
from labelkit.workflows.network.data import Example, MixedSampler
from labelkit.workflows.network.training import (
    PoseTraining,
    Recipe,
    make_recipe,
    processes_of,
    train,
)

pytestmark = pytest.mark.slow

SKELETON = stick_skeleton()
SIZE_HW = (64, 64)


class Killed(Exception):
    pass


class KilledAfter(Silent):
    """Ends the run like a kill, after this many epochs are on disk."""

    def __init__(self, epochs):
        self.epochs = epochs
        self.lines = []

    def line(self, text):
        self.lines.append(text)
        if len(self.lines) == self.epochs:
            raise Killed


@pytest.fixture
def examples(tmp_path):
    """Six objects, two of them with locations."""
    for number in range(6):
        write_picture(tmp_path / "images" / f"{number}.png", (40, 40), seed=number)
    result = []
    for number, image in enumerate(scan_images(tmp_path / "images").images):
        pose = human_pose([(20, 10), (12, 20), (28, 20), (20, 30)], [2, 2, number % 3, 2])
        instance = Instance(image, 0, Box(4, 4, 32, 32), "given", 1024.0)
        result.append(Example(instance, pose.present, pose if number < 2 else None))
    return result


def make_tiny(kind="lofr", seed=0):
    torch.manual_seed(seed)
    preset = {**PRESETS["tiny"], "backbone": "test_resnet", "input_size": SIZE_HW}
    return build_model(kind, 4, SKELETON.links, preset, pretrained=False)


def recipe(**changes) -> Recipe:
    preset = PRESETS["tiny"]
    training = {**preset["training"], "batch_size": 3, **changes.pop("training", {})}
    changed = {**preset, "training": training}
    return make_recipe(changed, 6, changes.pop("epochs", 3), seed=1, located=True)


def run(network, examples, tmp_path, plan=None, progress=None, name="state.safetensors", dev=()):
    return train(
        network,
        examples,
        SKELETON,
        tmp_path / "images",
        SIZE_HW,
        plan or recipe(),
        tmp_path / name,
        progress or Silent(),
        "Round 000",
        dev=dev,
    )


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(one, other):
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_killed_run_resumes_to_the_same_weights_as_an_uninterrupted_one(examples, tmp_path):
    through = make_tiny()
    run(through, examples, tmp_path, name="through.safetensors")

    killed = make_tiny()
    with pytest.raises(Killed):
        run(killed, examples, tmp_path, progress=KilledAfter(2))
    assert (tmp_path / "state.safetensors").is_file()
    resumed = make_tiny(seed=123)  # its initial weights no longer matter
    lines = KilledAfter(99)
    run(resumed, examples, tmp_path, progress=lines)

    assert [line.split("  ")[0] for line in lines.lines] == ["Round 000: step 6/6"]
    assert_same(weights(resumed), weights(through))


def test_a_bar_moves_with_every_step_and_continues_where_a_killed_run_stopped(examples, tmp_path):
    moved = []

    class Bars(KilledAfter):
        def bar(self, what):
            moved.append(what)
            return nullcontext(lambda done, total: moved.append((done, total)))

    with pytest.raises(Killed):
        run(make_tiny(), examples, tmp_path, progress=Bars(2))
    assert moved == ["Round 000", (1, 6), (2, 6), (3, 6), (4, 6)]
    moved.clear()
    run(make_tiny(), examples, tmp_path, progress=Bars(99))
    assert moved == ["Round 000", (5, 6), (6, 6)]


def test_a_resumed_run_reports_its_total_duration(examples, tmp_path, monkeypatch):
    clock = {"now": 0.0}

    def monotonic():
        clock["now"] += 0.001
        return clock["now"]

    class Slow(KilledAfter):
        """Ten minutes pass after every epoch."""

        def line(self, text):
            clock["now"] += 600
            super().line(text)

    monkeypatch.setattr(resume, "time", SimpleNamespace(monotonic=monotonic))
    through = run(make_tiny(), examples, tmp_path, progress=Slow(99), name="through.safetensors")
    with pytest.raises(Killed):
        run(make_tiny(), examples, tmp_path, progress=Slow(2))
    clock["now"] += 86_400
    resumed = run(make_tiny(), examples, tmp_path, progress=Slow(99))
    assert through["seconds"] == pytest.approx(1800, abs=1)
    # The ten minutes between the last state and the kill are lost.
    assert resumed["seconds"] == pytest.approx(1200, abs=1)


def test_the_state_of_another_network_is_refused(examples, tmp_path):
    with pytest.raises(Killed):
        run(make_tiny(), examples, tmp_path, progress=KilledAfter(1))
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        run(make_tiny("simple"), examples, tmp_path)


def test_a_resumed_run_learns_from_the_pseudo_labels_of_the_killed_one(examples, tmp_path):
    def plan(*pseudo_labels_at):
        return recipe(training={"pseudo_labels_at": pseudo_labels_at}, epochs=4)

    through, without = make_tiny(), make_tiny()
    run(through, examples, tmp_path, plan(0.25), name="through.safetensors")
    run(without, examples, tmp_path, plan(), name="without.safetensors")
    with pytest.raises(Killed):
        run(make_tiny(), examples, tmp_path, plan(0.25), KilledAfter(3))
    resumed = make_tiny(seed=5)
    run(resumed, examples, tmp_path, plan(0.25))
    assert_same(weights(resumed), weights(through))
    pair = (through.parameters(), without.parameters())
    same = [torch.equal(a, b) for a, b in zip(*pair, strict=True)]
    assert not all(same)


@pytest.mark.parametrize("pseudo_labels_at", [0.25, 0.5])
def test_a_run_with_loader_workers_resumes_to_the_same_weights_too(
    examples, tmp_path, monkeypatch, pseudo_labels_at
):
    """A worker cuts crops ahead, before the resumed epoch has begun and made its pseudo-labels."""
    monkeypatch.setattr(training, "loader_workers", lambda: 1)
    plan = recipe(training={"pseudo_labels_at": (pseudo_labels_at,)}, epochs=4)
    through, resumed = make_tiny(), make_tiny(seed=7)
    run(through, examples, tmp_path, plan, name="through.safetensors")
    with pytest.raises(Killed):
        run(make_tiny(), examples, tmp_path, plan, KilledAfter(2))
    run(resumed, examples, tmp_path, plan)
    assert_same(weights(resumed), weights(through))


def test_pseudo_labels_are_made_once_in_their_epoch(examples, tmp_path, monkeypatch):
    made = []
    real = pseudo_labels.make_pseudo_labels
    monkeypatch.setattr(
        pseudo_labels, "make_pseudo_labels", lambda *args: made.append(1) or real(*args)
    )
    plan = recipe(training={"pseudo_labels_at": (0.5,)}, epochs=4)
    with pytest.raises(Killed):
        run(make_tiny(), examples, tmp_path, plan, KilledAfter(2))
    assert made == []
    run(make_tiny(), examples, tmp_path, plan)
    assert made == [1]


def test_a_kill_before_the_weights_are_saved_costs_only_the_last_epoch(examples, tmp_path):
    network = make_tiny()
    run(network, examples, tmp_path)
    again = make_tiny(seed=9)
    lines = KilledAfter(99)
    run(again, examples, tmp_path, progress=lines)
    assert [line.split("  ")[0] for line in lines.lines] == ["Round 000: step 6/6"]
    assert_same(weights(again), weights(network))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(examples, tmp_path):
    networks = [make_tiny() for _ in range(3)]
    run(networks[0], examples, tmp_path, name="0.safetensors")
    run(networks[1], examples, tmp_path, name="1.safetensors")
    other = make_recipe({**PRESETS["tiny"]}, crops=6, epochs=1, seed=2, located=True)
    run(networks[2], examples, tmp_path, other, name="2.safetensors")
    assert_same(weights(networks[0]), weights(networks[1]))
    assert not torch.equal(
        next(networks[0].parameters()),
        next(networks[2].parameters()),
    )


def test_every_row_of_a_table_takes_the_same_steps_whatever_is_labelled():
    # 100 crops in batches of 16 are 7 steps; 2 epochs are 14.
    plan = make_recipe(PRESETS["tiny"], crops=100, epochs=2, seed=0, located=True)
    assert plan.batch_size == 16
    assert (plan.steps, plan.steps_per_epoch, plan.epochs) == (14, 7, 2)


def test_processes_share_an_epoch():
    def steps(processes: int, **floor: int) -> int:
        return make_recipe(PRESETS["tiny"], 1000, 3, 0, True, processes=processes, **floor).steps

    assert [steps(processes) for processes in (1, 2, 4)] == [189, 96, 48]  # 63, 32, 16 an epoch
    assert steps(4, least_steps=1500) >= 1500


@pytest.mark.parametrize("name", ["LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE"])
def test_there_are_as_many_processes_as_were_started(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert (processes_of(None), processes_of(2)) == (1, 2)
    monkeypatch.setenv(name, "4")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "3")  # nodes
    assert (processes_of(None), processes_of(4)) == (12, 12)
    with pytest.raises(UsageError, match="--devices"):
        processes_of(2)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_an_epoch_has_the_same_examples_on_any_number_of_processes(processes):
    training = {**PRESETS["tiny"]["training"], "batch_size": 8}
    preset = {**PRESETS["tiny"], "training": training}
    plan = make_recipe(preset, 64, 1, seed=0, located=True, processes=processes)
    drawn = [
        MixedSampler(range(64), [], 8, plan.steps_per_epoch, 0.5, 1.0, 0, rank, processes)
        for rank in range(processes)
    ]
    assert sorted(number for part in drawn for number, _ in part) == list(range(64))


def test_a_small_project_takes_the_least_number_of_steps_and_epochs_follow():
    def plan(crops, epochs=34):
        return make_recipe(PRESETS["tiny"], crops, epochs, 0, True, least_steps=1500)

    # 20 crops are 2 steps, 80 are 5 and 1,000 are 63: 34 epochs of those are 2,142 steps.
    assert [plan(crops).steps for crops in (20, 80, 1000)] == [1500, 1500, 2142]
    assert plan(112, epochs=2).steps == 1519  # 217 epochs of 7 steps


def test_states_are_saved_about_every_fifty_steps_of_a_long_training():
    def stretch(crops, epochs, **floor):
        recipe = make_recipe(PRESETS["tiny"], crops, epochs, 0, True, **floor)
        return recipe.steps_per_epoch, recipe.epochs

    assert stretch(20, 34, least_steps=1500) == (50, 30)
    assert stretch(112, 34, least_steps=1500) == (49, 31)
    assert stretch(1000, 34, least_steps=1500) == (63, 34)
    assert stretch(20, 34) == (2, 34)  # or there would be fewer than 20
    assert stretch(80, 61) == (5, 61)  # a stretch is the same number of epochs everywhere
    assert stretch(20, 280, least_steps=None) == (2, 280)  # as it was begun


def test_without_locations_both_learning_rates_are_scaled_by_the_preset():
    preset = {**PRESETS["paper"], "training": {**PRESETS["paper"]["training"], "lr_unlocated": 0.5}}
    some, none = (make_recipe(preset, 8, 1, seed=0, located=located) for located in (True, False))
    assert (some.lr, some.transformer_lr) == (4e-3, 4e-4)
    assert (none.lr, none.transformer_lr) == (2e-3, 2e-4)
    assert (some.backbone_lr, none.backbone_lr) == (4e-3, 2e-3)
    rates = {"transformer_lr": some.transformer_lr, "backbone_lr": some.backbone_lr}
    assert replace(none, lr=some.lr, **rates) == some


@pytest.mark.parametrize("pretrained", [True, False])
def test_without_locations_the_rest_learns_fast_beside_a_frozen_backbone(pretrained):
    preset = PRESETS["tiny"]
    some, none = (
        make_recipe(preset, 8, 1, seed=0, located=located, pretrained=pretrained)
        for located in (True, False)
    )
    assert some.lr == 3e-3
    assert none.lr == (3e-3 if pretrained else 1e-3)


def test_short_trainings_without_locations_make_no_pseudo_labels():
    def pseudo_labels_at(crops, located):
        return make_recipe(PRESETS["tiny"], crops, 34, seed=0, located=located).pseudo_labels_at

    assert pseudo_labels_at(40, located=True) == pseudo_labels_at(400, located=False) != ()
    assert pseudo_labels_at(40, located=False) == ()


def test_the_record_holds_examples_steps_and_precision(examples, tmp_path):
    record = run(make_tiny(), examples, tmp_path)
    assert (record["located"], record["answered"], record["world_size"]) == (2, 4, 1)
    assert record["recipe"]["steps"] == 6
    assert record["precision"] in ("32-true", "bf16-mixed")


def test_a_line_has_step_loss_rate_and_time_left(examples, tmp_path):
    lines = KilledAfter(99)
    run(make_tiny(), examples, tmp_path, recipe(epochs=2), lines)
    assert len(lines.lines) == 2
    first, last = lines.lines
    for part in ("Round 000: step 2/4", "loss ", " crops/s", " left"):
        assert part in first
    assert last.endswith("0 s left")


def test_a_line_shows_the_error_on_the_dev_set_in_pixels(examples, tmp_path):
    lines = KilledAfter(99)
    dev = [replace(example, pose=examples[0].pose) for example in examples[2:4]]
    record = run(make_tiny(), examples, tmp_path, recipe(epochs=2), lines, dev=dev)
    assert all(" px, PCK@0.1 " in line for line in lines.lines)
    assert [point["step"] for point in record["curve"]] == [2, 4]
    assert all(point["median_px"] > 0 for point in record["curve"])


class InterruptedAfter(KilledAfter):
    """Ctrl-C after this many states, and an answer to what comes of the training."""

    def __init__(self, epochs, finish):
        super().__init__(epochs)
        self.finish = finish

    def line(self, text):
        try:
            super().line(text)
        except Killed:
            raise KeyboardInterrupt from None

    def confirm(self, question):
        return self.finish


def test_after_ctrl_c_the_user_can_finish_with_what_there_is(examples, tmp_path):
    network = make_tiny()
    before = weights(network)
    record = run(network, examples, tmp_path, progress=InterruptedAfter(2, finish=True))
    assert (record["stopped"], record["steps"], record["recipe"]["steps"]) == (True, 4, 6)
    assert any(not torch.equal(before[name], value) for name, value in weights(network).items())


def test_after_ctrl_c_the_user_can_continue_another_time(examples, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(make_tiny(), examples, tmp_path, progress=InterruptedAfter(2, finish=False))
    lines = KilledAfter(99)
    record = run(make_tiny(), examples, tmp_path, progress=lines)
    assert (record["stopped"], record["steps"]) == (False, 6)
    assert len(lines.lines) == 1


class Totals(KilledAfter):
    """Keeps what its bar was told."""

    def bar(self, what):
        self.moved = []
        return nullcontext(lambda done, total: self.moved.append((done, total)))


def test_a_training_ends_after_its_minutes_and_its_pseudo_labels_come_in_time(
    examples, tmp_path, monkeypatch
):
    """The clock goes on by a minute with every look at it."""
    now = iter(range(0, 10**9, 60))
    monkeypatch.setattr(resume, "time", SimpleNamespace(monotonic=lambda: next(now)))
    plan = recipe(epochs=500, training={"pseudo_labels_at": (0.5,)})
    made = []
    monkeypatch.setattr(
        pseudo_labels, "make_pseudo_labels", lambda *args: made.append(1) or torch.zeros(6, 4, 3)
    )
    bars = Totals(99)
    plan = replace(plan, steps_per_epoch=2, minutes=40.0)
    record = run(make_tiny(), examples, tmp_path, plan, bars)
    assert 4 < record["steps"] < 40
    assert bars.moved[-1] == (record["steps"], record["steps"])
    assert {total for _, total in bars.moved} < set(range(4, 41))  # of 1,000 steps
    assert made == [1]
    assert not record["stopped"]


@pytest.mark.parametrize("kind", ["lofr", "detr", "simple"])
def test_each_network_trains(examples, tmp_path, kind):
    network = make_tiny(kind)
    before = weights(network)
    run(network, examples, tmp_path, recipe(epochs=1))
    assert any(not torch.equal(before[name], value) for name, value in weights(network).items())


def test_without_any_location_it_trains_on_answers_alone(examples, tmp_path):
    network = make_tiny()
    free = [Example(e.instance, e.presence, None) for e in examples]
    record = run(network, free, tmp_path, recipe(epochs=1))
    assert (record["located"], record["answered"], record["unanswered"]) == (0, 6, 0)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert record["read_from"] == network.reader.read_from == "response"


def test_heatmaps_are_read_once_something_has_trained_them(examples, tmp_path):
    free = [Example(e.instance, e.presence, None) for e in examples]
    with_pseudo_labels = recipe(epochs=3, training={"pseudo_labels_at": (0.33,)})
    with pytest.raises(Killed):
        run(make_tiny(), free, tmp_path, with_pseudo_labels, KilledAfter(2))
    resumed = make_tiny()
    record = run(resumed, free, tmp_path, with_pseudo_labels)
    assert record["read_from"] == resumed.reader.read_from == "heatmaps"
    located = run(make_tiny(), examples, tmp_path, recipe(epochs=1), name="located.safetensors")
    assert located["read_from"] == "heatmaps"


def batch_of(located, xy=16.0):
    return {
        "image": torch.zeros(2, 3, *SIZE_HW, dtype=torch.uint8),
        "presence": torch.ones(2, 4),
        "answered": torch.ones(2, 4),
        "xy": torch.full((2, 4, 2), xy),
        "located": torch.tensor(located),
    }


def loss_of(network, batch, plan=None):
    module = PoseTraining(network, plan or recipe())
    module.log = lambda *args, **kwargs: None  # without a trainer there is no log
    torch.manual_seed(0)
    return float(module.training_step(batch, 0).detach())


def test_positions_of_unlocated_keypoints_do_not_change_the_loss():
    network = make_tiny().eval()
    nowhere = batch_of([[0.0] * 4] * 2)
    assert loss_of(network, nowhere) == loss_of(network, {**nowhere, "xy": nowhere["xy"] + 20})


def test_unanswered_presence_does_not_change_the_loss():
    network = make_tiny().eval()
    unknown = {**batch_of([[0.0] * 4] * 2), "answered": torch.zeros(2, 4)}
    assert loss_of(network, unknown) == loss_of(network, {**unknown, "presence": torch.zeros(2, 4)})
    known = batch_of([[0.0] * 4] * 2)
    assert loss_of(network, known) != loss_of(network, {**known, "presence": torch.zeros(2, 4)})


def test_positions_of_located_keypoints_change_the_loss():
    network = make_tiny().eval()
    there = batch_of([[1.0] * 4] * 2)
    assert loss_of(network, there) != loss_of(network, {**there, "xy": there["xy"] + 20})


#: Loss of each preset's networks with the weights and the batch below; the same since 2026-11.
LOSSES = {
    ("paper", "lofr"): 1.129279,
    ("plus", "lofr"): 13.32616,
    ("tiny", "lofr"): 16.84616,
    ("paper", "detr"): 0.9298749,
    ("tiny", "simple"): 16.44598,
    ("tiny", "twin"): 36.77515,
}


@pytest.mark.parametrize(("name", "kind"), LOSSES)
def test_the_loss_of_a_preset_stays_what_it_was(name, kind):
    preset = {**PRESETS[name], "backbone": "test_resnet", "input_size": SIZE_HW}
    numbers = torch.Generator().manual_seed(0)
    network = build_model(kind, 4, SKELETON.links, preset, pretrained=False).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # not as timm and torch of today would start
            spread = 1 / parameter[0].numel() ** 0.5 if parameter.dim() > 1 else 0.5
            parameter.uniform_(-spread, spread, generator=numbers)
    batch = {
        "image": torch.randint(0, 256, (2, 3, *SIZE_HW), dtype=torch.uint8, generator=numbers),
        "presence": torch.tensor([[1.0, 0, 1, 1], [0, 1, 1, 0]]),
        "answered": torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 1]]),
        "xy": 64 * torch.rand(2, 4, 2, generator=numbers),
        "located": torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]),
    }
    plan = make_recipe(preset, crops=8, epochs=1, seed=0, located=True)
    if kind in ("simple", "twin"):
        plan = replace(plan, weights=(0.0, 0.0, 0.0, 0.0))
    assert loss_of(network, batch, plan) == pytest.approx(LOSSES[name, kind], rel=1e-4)
