"""Ids in an array are found like those in a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.selection import stable_order
from labelkit.store.ids import Ids, among, as_bytes, in_stable_order, without

IDS = st.lists(st.text("0af-é", min_size=1, max_size=5), unique=True, max_size=8)


@given(IDS, IDS)
def test_ids_are_found_where_a_dictionary_has_them(ids, asked):
    array, places = Ids.of(ids), {id_: place for place, id_ in enumerate(ids)}
    assert [*array] == ids
    assert [array[place] for place in range(len(array))] == ids
    assert array == places.keys()
    assert array.places(as_bytes(asked)).tolist() == [places.get(id_, -1) for id_ in asked]
    assert [id_ in array for id_ in asked] == [id_ in places for id_ in asked]
    assert [array.place(id_) for id_ in ids] == [*places.values()]


@given(IDS, IDS, IDS)
def test_ids_are_chosen_and_left_out_like_those_of_sets(ids, some, others):
    chosen = Ids.of(some)
    assert among(Ids.of(ids), chosen).tolist() == [id_ in some for id_ in ids]
    assert among(Ids.of(ids), frozenset(some)).tolist() == [id_ in some for id_ in ids]
    left = [id_ for id_ in ids if id_ not in some and id_ not in others]
    assert [*without(ids, chosen, {*others})] == left
    assert [*without(Ids.of(ids), others, chosen)] == left
    assert chosen & {*others} == {*some} & {*others}
    assert {*others} | chosen == {*some} | {*others}


@given(IDS, st.integers(0, 9))
def test_ids_have_the_random_order_of_texts(ids, seed):
    assert tuple(in_stable_order(Ids.of(ids), seed)) == stable_order(ids, seed)


def test_what_is_no_text_is_not_among_ids():
    assert 7 not in Ids.of(["7"])
    assert "7\0" not in Ids.of(["7"])
    assert [*Ids.of([])] == []


def test_ids_of_instances_are_found_by_their_images():
    ids = Ids.of(["b1-0", "a1-0", "b-2", "b1-10", "a-0", "c-0"])
    assert ids.in_images(["b1", "a", "d"]).tolist() == [b"b1-0", b"b1-10", b"a-0"]
    assert ids.in_images([]).tolist() == []
    assert Ids.of([]).in_images(["a"]).tolist() == []
