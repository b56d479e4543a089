import os

import pytest

from serve.fair_share import Place


def test_who_has_more_connections_knows_it_and_nobody_else_does():
    places = []
    for connections in (3, 2, 3):
        places.append(Place(places))
        places[-1].take(connections)
    assert [place.has_more_than_another() for place in places] == [True, False, True]


def test_a_process_without_connections_is_there_but_one_that_takes_none_is_not():
    first = Place()
    second = Place([first])
    first.take(1)
    second.take(0)
    assert first.has_more_than_another()
    second.leave()
    assert not first.has_more_than_another()


def test_the_place_of_a_process_that_ended_is_given_to_its_successor():
    first = Place()
    ended = Place([first])
    ended.take(5)
    successor = Place([first])
    first.take(1)
    assert not first.has_more_than_another()
    successor.take(0)
    assert first.has_more_than_another()


def test_a_process_that_was_forked_tells_the_one_before_it():
    first = Place()
    second = Place([first])
    first.take(2)
    if (child := os.fork()) == 0:
        second.take(1)
        os._exit(0)
    os.waitpid(child, 0)
    assert first.has_more_than_another()


@pytest.mark.parametrize("processes", [130])
def test_processes_beyond_the_table_take_what_comes(processes):
    places = []
    for _ in range(processes):
        places.append(Place(places))
        places[-1].take(1)
    places[-1].take(7)
    assert not places[-1].has_more_than_another()
    places[0].take(7)
    assert places[0].has_more_than_another()
