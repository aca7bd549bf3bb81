"""A plan of faults from a seed, for requests and predictions.

The faults of a request depend on the seed, the number of the sandbox's start, the request's kind
(``create``, ``get``, ``cancel``), its subject, and the number of earlier requests of this kind and
subject in this start. The subject is the prompt, never the id, which is random. So with the same
seed a request gets the same faults, whatever other requests do, and a sandbox that restarts after
a kill does not repeat one fault forever.

Of 100 requests, 5 get a 5xx (of the create requests, half are accepted), 5 lose their connection
(half before they are handled, half after), 3 get a 429 of any form with a delay of 1 s, and 1 gets
a body that is HTML or truncated.

Of 100 predictions, 10 stay in ``starting`` for 3 to 10 s and, independently, 3 fail: half for a
transient reason, half for a permanent one. This depends on the seed, the subject, and the number
of predictions of this subject accepted before, in all starts. So a prediction that is created
again gets other faults.

Also of 100 predictions, 20 have a period of 2 to 8 s in which each GET gets an odd response. It
starts with the first GET, or with the first one after a successful GET; then the prediction runs
longer, so that there is such a GET. For 5 others, the responses to the first GETs are delayed by
30 s. 8 of 100 successful predictions, and half of the failed ones, contain poison.
"""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import NONE, ODD_RESPONSES, RATE_LIMITS, Faults

SERVER_ERRORS = (500, 502, 503, 504)
TRANSIENT_REASONS = (
    "Prediction interrupted; please retry (code: PA)",
    "Director: unexpected error handling prediction (E9828)",
)
PERMANENT_REASONS = ("NSFW content detected", "Prediction input failed validation")
# Only after a successful GET, since a client may stop if its first GET gets one of these.
KEY_REFUSED = ("unauthorized", "forbidden")
POISONS = ("output", "logs", "metrics", "header", "everywhere")
POISONS_OF_FAILURES = ("error", "everywhere")


class Chaos:
    """The plan of a seed, with the number of requests and predictions of each subject."""

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
    """Return the faults of a request; ``start`` counts from 1, ``nth`` from 0."""
    rng = _random(seed, start, kind, subject, nth)
    draw = rng.random()
    if draw < 0.05:
        status, before = rng.choice(SERVER_ERRORS), rng.random() < 0.5
        accepted = kind == "create" and not before
        return Faults(accepted_status=status) if accepted else Faults(status=status)
    if draw < 0.10:
        return Faults(drop=rng.choice(("before", "after")))
    if draw < 0.13:
        return Faults(rate_limit=rng.choice(RATE_LIMITS), retry_after=1.0)
    return Faults(body=rng.choice(("html", "cut"))) if draw < 0.14 else NONE


def of_prediction(seed: int, subject: str, nth: int) -> Faults:
    """Return the faults of an accepted prediction; ``nth`` counts from 0."""
    rng = _random(seed, "prediction", subject, nth)
    # Drawn even if they are not used, so that later draws do not depend on this.
    slow, seconds = rng.random() < 0.10, rng.uniform(3.0, 10.0)
    faults = Faults(starting=round(seconds, 3)) if slow else NONE
    failing = rng.random() < 0.03
    if failing:
        reasons = rng.choice((TRANSIENT_REASONS, PERMANENT_REASONS))
        faults |= Faults(fail=rng.choice(reasons))
    faults |= _faults_of_gets(_random(seed, "gets", subject, nth))
    # Separate random numbers for each part, so that a change of one part does not change others.
    rng = _random(seed, "poison", subject, nth)
    share, places = (0.5, POISONS_OF_FAILURES) if failing else (0.08, POISONS)
    return faults | Faults(poison=rng.choice(places)) if rng.random() < share else faults


def _faults_of_gets(rng: Random) -> Faults:
    draw = rng.random()
    if draw < 0.20:
        # Less than a minute, after which a JSON 404 would mean that the prediction does not exist.
        odd = {"response": rng.choice(ODD_RESPONSES), "seconds": round(rng.uniform(2.0, 8.0), 3)}
        late, longer = rng.random() < 0.5, round(rng.uniform(15.0, 30.0), 3)
        if late or odd["response"] in KEY_REFUSED:
            return Faults(odd_gets={**odd, "after": 1}, processing=longer)
        return Faults(odd_gets=odd)
    hung = {"times": rng.randint(1, 3), "seconds": 30.0}
    return Faults(hung_gets=hung) if draw < 0.25 else NONE


def subject_of(given: object) -> str | None:
    """Return the subject of an input: its prompt, else the whole input as JSON.

    It is ``None`` if the input is not an object.
    """
    if not isinstance(given, dict):
        return None
    prompt = given.get("prompt")
    return prompt if isinstance(prompt, str) else json.dumps(given, sort_keys=True)


def _random(*parts: Any) -> Random:
    return Random(json.dumps(parts))  # noqa: S311  # reproducible, not secret
