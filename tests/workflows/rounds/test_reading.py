"""What is read off a network without locations is chosen on the located objects of the dev set."""

import pytest
from trained import Trained

from labelkit.progress import Silent
from labelkit.project.rounds import latest_complete
from labelkit.workflows.rounds import networks
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.rounds.networks import load_network, predict_instances
from labelkit.workflows.rounds.reading import choose_reading
from labelkit.workflows.rounds.served import COMPARABLE


def opened(trained: Trained):
    """The network of the location-free round, its header, settings and file."""
    newest = latest_complete(trained.project)
    assert newest is not None
    model = newest.path / "model.safetensors"
    return *load_network(model, trained.project.skeleton), newest.plan.settings, model


def as_read(trained: Trained, network, settings, count: int) -> LabelSnapshot:
    """A dev set of so many objects, whose keypoints are where the network reads them now."""
    instances = trained.store.instances()
    chosen = dict(list(instances.items())[:count])
    found = predict_instances(trained.project, network, settings, chosen, Silent())
    poses = {item.prediction.instance_id: item.prediction.pose for item in found}
    return LabelSnapshot(instances, {}, poses, frozenset(poses), frozenset(), frozenset(), {*poses})


def test_without_locations_the_class_activation_maps_are_read(trained: Trained):
    network, header, _, _ = opened(trained)
    assert (network.response, network.cam_stride, network.cam.pool) == ("cam", 16, "lse")
    assert header["network"]["preset"]["lofr"]["response"] == "cam"


def test_objects_are_predicted_alike_however_many_are_in_memory_at_once(
    trained: Trained, monkeypatch
):
    network, _, settings, _ = opened(trained)
    chosen = dict(list(trained.store.instances().items())[: networks.AT_ONCE // 800 + 3])

    def predicted() -> list[tuple[str, bytes]]:
        found = predict_instances(trained.project, network, settings, chosen, Silent())
        rows = [item.prediction for item in found]
        return [(row.instance_id, row.pose.xy.tobytes()) for row in rows]

    together = predicted()
    monkeypatch.setattr(networks, "AT_ONCE", networks.AT_ONCE // 800)
    assert [id_ for id_, _ in together] == [*chosen]
    assert predicted() == together


@pytest.mark.parametrize("way", [("attention", 0.0), ("both", 0.3)])
def test_what_reads_the_dev_set_best_is_read_from_then_on(trained: Trained, way):
    network, header, settings, model = opened(trained)
    network.response, network.reader.pose_prior = way
    labels = as_read(trained, network, settings, COMPARABLE)

    network, header, settings, model = opened(trained)
    assert choose_reading(trained.project, network, header, settings, labels, model)
    again, header, _, _ = opened(trained)
    assert (network.response, network.reader.pose_prior) == way
    assert (again.response, again.reader.pose_prior, again.reader.read_from) == (*way, "response")
    assert header["training"]["chosen_on"] == COMPARABLE
    assert not choose_reading(trained.project, again, header, settings, labels, model)


def test_a_small_dev_set_and_a_network_with_locations_choose_nothing(trained: Trained):
    network, header, settings, model = opened(trained)
    before = model.read_bytes()
    few = as_read(trained, network, settings, COMPARABLE - 1)
    assert not choose_reading(trained.project, network, header, settings, few, model)
    enough = as_read(trained, network, settings, COMPARABLE)
    header["training"]["located"] = 3
    assert not choose_reading(trained.project, network, header, settings, enough, model)
    assert model.read_bytes() == before
