"""Reading what Airflow has kept of an input."""

from __future__ import annotations

import pytest

from airflow_provider_quickrouter.plugins.cards import others_of, prompt_of, seed_of

CUT = "Truncated. You can change this behaviour in [core]max_templated_field_length. "


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        ({"prompt": "a lake"}, "a lake"),
        ({"prompt_start": "a lake", "prompt_end": "a sea"}, "a lake"),
        ({"prompt": 3, "text": "hello"}, "hello"),
        ({"width": 3}, None),
        ("{'seed': 4, 'prompt': 'a lake'}", "a lake"),
        (f"{CUT}{{'prompt': \"a painter's la", "a painter's la"),
        (f"{CUT}{{'prompt': 'it\\'s\\na lake', 'image'... ", "it's\na lake"),
        ("{'negative_prompt': 'fog'}", None),
        ("", None),
        (None, None),
        (["a lake"], None),
    ],
)
def test_the_prompt_is_found_also_in_what_was_cut(given: object, prompt: str | None) -> None:
    assert prompt_of(given) == prompt


def test_a_prompt_has_an_end() -> None:
    assert len(prompt_of({"prompt": "x" * 100_000}) or "") == 10_000


@pytest.mark.parametrize(
    ("given", "seed"),
    [
        ({"seed": 7}, 7),
        ({"seed": True}, None),
        ({"seed": "7"}, None),
        ("{'prompt': 'a', 'seed': -12, ", -12),
        ("{'prompt': 'a'}", None),
        (None, None),
    ],
)
def test_the_seed_is_found_also_in_what_was_cut(given: object, seed: int | None) -> None:
    assert seed_of(given) == seed


def test_other_inputs_are_short_texts() -> None:
    given = {
        "prompt": "a",
        "seed": 1,
        "width": 768,
        "image": "data:image/png;base64,AAAA",
        "long": "x" * 600,
        "flag": True,
    }
    assert others_of(given) == {
        "width": "768",
        "image": "a file within the input (26 characters)",
        "long": "x" * 500 + "…",
        "flag": "True",
    }
    assert others_of("text") == {}


def test_no_input_makes_the_search_for_its_prompt_long() -> None:
    assert prompt_of("'prompt': '" + "\\" * 100_001) is not None
