"""Faults from a seed: which request and which prediction goes wrong, and how.

The plan is a pure function: of the seed, of which start of the sandbox this is, of the request's
kind (``create``, ``get``, ``cancel``), of its subject and of how many requests of this kind about
this subject came before in this start. The subject is what was asked for and never the id, which
is random. So the same seed gives each request the same fate whatever else goes on meanwhile, and a
sandbox that was killed and started again does not repeat one fault for ever.

Of a hundred requests, 5 are answered by a 5xx (of the creates, half are accepted all the same), 5
lose their connection (half before, half after they are handled), 3 meet a 429 of any form that asks
to wait 1 s, and 1 has a body that is HTML or cut.

Of a hundred predictions, 10 are ``starting`` for 3 to 10 s and, independently, 3 fail: half for a
reason that passes, half for one that stays. That depends on the seed, on the subject and on how
many predictions of this subject were accepted before, in all starts: so a prediction that is
submitted again has another fate.

Also of a hundred predictions, 20 have an episode of 2 to 8 s in which every GET gets an odd
response. Some episodes begin with the first GET, others with the first one after a good GET: then
the prediction runs longer, so that there is such a GET. Another 5 have their first GETs held for
30 s. 8 of those that succeed, and half of those that fail, hold poison.
"""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import NONE, ODD_RESPONSES, RATE_LIMITS, Faults

SERVER_ERRORS = (500, 502, 503, 504)
PASSING_REASONS = (
    "Prediction interrupted; please retry (code: PA)",
    "Director: unexpected error handling prediction (E9828)",
)
LASTING_REASONS = ("NSFW content detected", "Prediction input failed validation")
# A client may give up when its very first GET gets one of these: they come after a good GET only.
KEY_REFUSED = ("unauthorized", "forbidden")
POISONS = ("output", "logs", "metrics", "header", "everywhere")
POISONS_OF_FAILURES = ("error", "everywhere")


class Chaos:
    """The plan of one seed, and how many requests and predictions each subject had so far."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._requests: Counter[tuple[str, str]] = Counter()
        self._predictions: Counter[str] = Counter()

    def for_request(self, start: int, kind: str, subject: str) -> Faults:
        """Return the faults of the next request of a kind about a subject, and count it."""
        nth = self._requests[kind, subject]
        self._requests[kind, subject] += 1
        return of_request(self._seed, start, kind, subject, nth)

    def for_prediction(self, subject: str) -> Faults:
        """Return the faults of the next prediction of a subject, and count it."""
        nth = self._predictions[subject]
        self._predictions[subject] += 1
        return of_prediction(self._seed, subject, nth)


def of_request(seed: int, start: int, kind: str, subject: str, nth: int) -> Faults:
    """Return what goes wrong with a request; ``start`` counts from 1, ``nth`` from 0."""
    dice = _dice(seed, start, kind, subject, nth)
    draw = dice.random()
    if draw < 0.05:
        status, before = dice.choice(SERVER_ERRORS), dice.random() < 0.5
        accepted = kind == "create" and not before
        return Faults(accepted_status=status) if accepted else Faults(status=status)
    if draw < 0.10:
        return Faults(drop=dice.choice(("before", "after")))
    if draw < 0.13:
        return Faults(rate_limit=dice.choice(RATE_LIMITS), retry_after=1.0)
    return Faults(body=dice.choice(("html", "cut"))) if draw < 0.14 else NONE


def of_prediction(seed: int, subject: str, nth: int) -> Faults:
    """Return what goes wrong with a prediction after its acceptance; ``nth`` counts from 0."""
    dice = _dice(seed, "prediction", subject, nth)
    # The seconds are drawn also where they are not used: what follows must not depend on that.
    slow, seconds = dice.random() < 0.10, dice.uniform(3.0, 10.0)
    faults = Faults(starting=round(seconds, 3)) if slow else NONE
    failing = dice.random() < 0.03
    if failing:
        reasons = dice.choice((PASSING_REASONS, LASTING_REASONS))
        faults |= Faults(fail=dice.choice(reasons))
    faults |= _faults_of_gets(_dice(seed, "gets", subject, nth))
    # Dice of its own for each part: a change of one part leaves the plans of the others.
    dice = _dice(seed, "poison", subject, nth)
    share, places = (0.5, POISONS_OF_FAILURES) if failing else (0.08, POISONS)
    return faults | Faults(poison=dice.choice(places)) if dice.random() < share else faults


def _faults_of_gets(dice: Random) -> Faults:
    draw = dice.random()
    if draw < 0.20:
        # Seconds only: a JSON 404 that lasts for a minute would mean that the prediction is gone.
        odd = {"response": dice.choice(ODD_RESPONSES), "seconds": round(dice.uniform(2.0, 8.0), 3)}
        late, longer = dice.random() < 0.5, round(dice.uniform(15.0, 30.0), 3)
        if late or odd["response"] in KEY_REFUSED:
            return Faults(odd_gets={**odd, "after": 1}, processing=longer)
        return Faults(odd_gets=odd)
    hung = {"times": dice.randint(1, 3), "seconds": 30.0}
    return Faults(hung_gets=hung) if draw < 0.25 else NONE


def subject_of(given: object) -> str | None:
    """Return what a create is about: its prompt, else its whole input as JSON.

    It is ``None`` for an input that is not an object.
    """
    if not isinstance(given, dict):
        return None
    prompt = given.get("prompt")
    return prompt if isinstance(prompt, str) else json.dumps(given, sort_keys=True)


def _dice(*parts: Any) -> Random:
    return Random(json.dumps(parts))  # noqa: S311  # reproducible, not secret
