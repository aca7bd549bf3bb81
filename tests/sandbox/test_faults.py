from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from airflow_provider_quickrouter.sandbox.faults import (
    NONE,
    UNSET,
    FaultError,
    Faults,
    parse_fault_options,
    parse_faults,
)
from airflow_provider_quickrouter.sandbox.schedule import FaultSchedule, ScheduledFaults, parse_entry

BAD_GATEWAY = Faults(status=502)


@pytest.mark.parametrize("name", [field.name for field in fields(Faults)])
def test_every_fault_is_documented(name: str) -> None:
    assert f"``{name}``" in (Faults.__doc__ or "")


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        (["status=502"], Faults(status=502)),
        (["latency=0.5", "never=true"], Faults(latency=0.5, never=True)),
        (["never"], Faults(never=True)),
        (["fail=NSFW content detected"], Faults(fail="NSFW content detected")),
        (["fail=404"], Faults(fail="404")),
        (["rate_limit=date"], Faults(rate_limit="date")),
        (["output=null"], Faults(output=None)),
        (['output=[["a"]]'], Faults(output=[["a"]])),
        (["output=plain text"], Faults(output="plain text")),
        (["status_word=SUCCESS"], Faults(status_word="SUCCESS")),
        (['status_word={"starting":"queued"}'], Faults(status_word={"starting": "queued"})),
        (["redirect=http://a/?b=c"], Faults(redirect="http://a/?b=c")),
        (["odd_response=moved"], Faults(odd_response="moved")),
        (["clock_skew=-300"], Faults(clock_skew=-300)),
        (["poison=everywhere"], Faults(poison="everywhere")),
        (
            ['odd_gets={"response":"forbidden","seconds":5}'],
            Faults(odd_gets={"response": "forbidden", "seconds": 5}),
        ),
        (['hung_gets={"times":2,"seconds":30}'], Faults(hung_gets={"times": 2, "seconds": 30})),
        ([], NONE),
    ],
)
def test_options_name_faults(options: list[str], faults: Faults) -> None:
    assert parse_fault_options(options) == faults


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"statsu": 502}, "unknown fault 'statsu'; choose from: latency, hang, status"),
        ({"status": "many"}, "'status' must be an HTTP status, 200 to 599, got 'many'"),
        ({"status": 99}, "'status' must be an HTTP status"),
        ({"latency": -1}, "'latency' must be a number of seconds, 0 or more, got -1"),
        ({"latency": True}, "'latency' must be a number of seconds"),
        ({"never": 1}, "'never' must be true or false, got 1"),
        ({"drop": "during"}, "'drop' must be one of before, after, got 'during'"),
        ({"rate_limit": "x"}, "one of header, date, body, text, bare"),
        ({"body": "x"}, "one of html, cut, empty"),
        ({"fail": ""}, "'fail' must be a non-empty string"),
        ({"odd_response": "x"}, "one of unauthorized, forbidden, challenge_page"),
        ({"clock_skew": "fast"}, "'clock_skew' must be a number of seconds, which may be negative"),
        ({"poison": "x"}, "one of output, error, logs, metrics, header, everywhere"),
        ({"odd_gets": "forbidden"}, "'odd_gets' must be an object such as"),
        ({"odd_gets": {"response": "x", "seconds": 5}}, "with a response of unauthorized"),
        ({"odd_gets": {"response": "moved"}}, "'odd_gets' must be an object"),
        ({"odd_gets": {"response": "moved", "seconds": 5, "for": 1}}, "must be an object"),
        ({"odd_gets": {"response": "moved", "seconds": 5, "after": -1}}, "must be an object"),
        ({"hung_gets": 2}, "'hung_gets' must be an object such as"),
        ({"hung_gets": {"times": True, "seconds": 5}}, "'hung_gets' must be an object"),
        ({"hung_gets": {"times": 2, "seconds": -1}}, "'hung_gets' must be an object"),
        ({"status_word": 5}, "'status_word' must be a string, or an object"),
        ([], "faults must be an object"),
        (None, "faults must be an object"),
    ],
)
def test_a_wrong_fault_is_refused_by_name(values: Any, message: str) -> None:
    with pytest.raises(FaultError, match="fault") as caught:
        parse_faults(values)
    assert message in str(caught.value)


def test_an_output_of_null_is_not_the_same_as_none_asked_for() -> None:
    assert Faults().output is UNSET
    assert Faults(output=None) != Faults()


def test_of_two_sets_of_faults_the_second_one_wins_field_by_field() -> None:
    assert Faults(status=502, latency=1) | Faults(status=504) == Faults(status=504, latency=1)
    assert (NONE | BAD_GATEWAY, BAD_GATEWAY | NONE) == (BAD_GATEWAY, BAD_GATEWAY)


def test_scheduled_faults_are_used_up_one_after_the_other() -> None:
    schedule = FaultSchedule()
    schedule.add(ScheduledFaults(BAD_GATEWAY, times=2))
    schedule.add(ScheduledFaults(Faults(quota=True), times=1))
    taken = [schedule.take("GET", 0).given() for _ in range(4)]
    assert taken == [{"status": 502}, {"status": 502}, {"quota": True}, {}]


def test_scheduled_faults_hold_for_their_method_only() -> None:
    schedule = FaultSchedule()
    schedule.add(ScheduledFaults(BAD_GATEWAY, times=1, method="POST"))
    assert schedule.take("GET", 0) is NONE
    assert schedule.take("POST", 0) is BAD_GATEWAY


def test_scheduled_faults_end_with_their_time() -> None:
    schedule = FaultSchedule()
    schedule.add(parse_entry({"faults": {"status": 502}, "seconds": 10}, now=100))
    assert schedule.take("GET", 109) == BAD_GATEWAY
    assert schedule.take("GET", 110) is NONE


def test_endless_faults_give_way_to_the_next_ones() -> None:
    schedule = FaultSchedule()
    schedule.add(ScheduledFaults(BAD_GATEWAY))
    assert schedule.take("GET", 0) == schedule.take("GET", 0) == BAD_GATEWAY
    schedule.add(ScheduledFaults(Faults(quota=True)))
    assert schedule.take("GET", 0) == Faults(quota=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "the body must be a JSON object with the keys: faults, times, method, seconds"),
        ({"fault": {}}, "the body must be a JSON object"),
        ({}, "faults must be an object"),
        ({"faults": {}, "times": 0}, "'times' must be an integer"),
        ({"faults": {}, "method": "PUT"}, "'method' must be GET, POST or null"),
        ({"faults": {}, "seconds": -1}, "'seconds' must be a number of seconds"),
    ],
)
def test_a_wrong_entry_is_refused(body: Any, message: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_entry(body, 0)
    assert message in str(caught.value)
