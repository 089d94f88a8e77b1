"""Which weights a training keeps, and what it shows of the dev set."""

from types import SimpleNamespace

import pytest
import torch

from labelkit.workflows.network.watch import ENOUGH, Watch


class Scored(Watch):
    """Finds given scores on a dev set of so many objects, instead of predicting it."""

    def __init__(self, scores, objects, steps=100, time_gone=lambda: 0.0):
        self.network = torch.nn.Linear(1, 1)
        self.network.reader = SimpleNamespace(read_from="response")
        dev = [SimpleNamespace(instance=SimpleNamespace(id=str(n))) for n in range(objects)]
        super().__init__(self.network, dev, None, None, (8, 8), steps, "full", time_gone)
        self.scores = iter(scores)

    def _look(self):
        return {"median_px": 4.26, "pck@0.1": next(self.scores)}


def train(watch, weights, *, stretch=10):
    """Steps that leave these weights, and the ends of stretches between them."""
    trainer = SimpleNamespace(is_global_zero=True, callback_metrics={"loss": 0.5}, global_step=0)
    watch.on_train_start(trainer, None)
    for weight in weights:
        watch.network.weight.data.fill_(weight)
        watch.on_train_batch_end()
        trainer.global_step += 1
        if trainer.global_step % stretch == 0:
            watch.on_train_epoch_end(trainer, None)
    return watch


def test_weights_are_averaged_over_the_last_steps():
    watch = train(Scored([], 0), [1, 2, 3, 6])
    watch.give_back()
    assert watch.network.weight.item() == pytest.approx(3.0)
    # From the tenth step on, each new one counts a tenth: 1 + (11 - 1) / 10.
    assert train(Scored([], 0), [1] * 10 + [11]).average.module.weight.item() == pytest.approx(2.0)


def test_a_small_dev_set_is_shown_and_chooses_nothing():
    watch = train(Scored([0.9, 0.1], ENOUGH - 1), [1] * 10 + [2] * 10)
    assert [point["pck@0.1"] for point in watch.curve] == [0.9, 0.1]
    assert watch.kept == "an average over the last steps"
    assert "4.3 px" in watch.latest
    assert "0.100" in watch.latest


def test_a_large_dev_set_keeps_the_best_state_and_how_it_is_read():
    watch = Scored([0.5, 0.7, 0.6], ENOUGH)
    train(watch, [1] * 10 + [2] * 10 + [9] * 10)
    best = 1 + (2 - 1) * (1 - 0.9**10)
    watch.network.reader.read_from = "heatmaps"
    watch.give_back()
    assert "20" in watch.kept
    assert watch.network.weight.item() == pytest.approx(best)
    assert watch.network.reader.read_from == "response"


def test_the_dev_set_is_measured_ten_times_whatever_the_number_of_stretches():
    watch = train(Scored([0.5] * 10, 5), range(100), stretch=2)
    assert len(watch.curve) == 50
    assert [p["step"] for p in watch.curve if "median_px" in p] == list(range(10, 101, 10))


def test_with_a_limit_of_time_the_dev_set_is_measured_at_each_tenth_of_that():
    watch = Scored([0.5] * 10, 5, steps=1500, time_gone=lambda: len(watch.curve) / 40)
    train(watch, range(100), stretch=2)
    assert [p["step"] for p in watch.curve if "median_px" in p] == list(range(10, 83, 8))


def test_a_training_that_time_ends_in_its_first_stretch_is_measured_once():
    watch = train(Scored([0.5], 5, steps=1500, time_gone=lambda: 1.02), range(52), stretch=52)
    assert [p["step"] for p in watch.curve if "median_px" in p] == [52]


def test_a_resumed_training_continues_its_average_its_best_and_its_curve():
    whole = train(Scored([0.7, 0.6], ENOUGH), [1] * 10 + [3] * 10)
    first = train(Scored([0.7], ENOUGH), [1] * 10)
    state = first.state_dict()
    second = Scored([0.6], ENOUGH)
    second.load_state_dict(state)
    trainer = SimpleNamespace(is_global_zero=True, callback_metrics={"loss": 0.5}, global_step=20)
    second.on_train_start(trainer, None)
    for _ in range(10):
        second.network.weight.data.fill_(3)
        second.on_train_batch_end()
    second.on_train_epoch_end(trainer, None)
    assert second.curve == whole.curve
    assert second.kept == whole.kept
    assert second.average.module.weight.item() == pytest.approx(whole.average.module.weight.item())
