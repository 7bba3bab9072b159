import time

import pytest

from spacy_metric_el.stages import record_stages, stage


def test_nothing_is_recorded_outside():
    with stage("search"):
        pass
    with record_stages() as seconds:
        pass
    assert seconds == {}


def test_a_stage_counts_without_those_inside():
    with record_stages() as seconds, stage("whole"), stage("part"):
        time.sleep(0.02)
    assert seconds["part"] >= 0.02
    assert seconds["whole"] < seconds["part"]


def test_times_of_a_stage_add_up():
    with record_stages() as seconds:
        for _ in range(3):
            with stage("part"):
                time.sleep(0.005)
    assert list(seconds) == ["part"]
    assert seconds["part"] >= 0.015


def test_a_stage_ends_with_an_error():
    with record_stages() as seconds:
        with pytest.raises(KeyError), stage("whole"), stage("part"):
            raise KeyError
        with stage("after"):
            pass
    assert set(seconds) == {"whole", "part", "after"}


def test_recording_ends():
    with record_stages() as seconds:
        pass
    with stage("later"):
        pass
    assert seconds == {}


def test_recordings_may_be_nested():
    with record_stages() as outer:
        with record_stages() as inner, stage("inside"):
            pass
        with stage("outside"):
            pass
    assert set(inner) == {"inside"}
    assert set(outer) == {"outside"}
