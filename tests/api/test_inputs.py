from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from airflow_provider_quickrouter.api import models
from airflow_provider_quickrouter.api.attachments import check_not_a_task, without_missing
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.inputs import as_dict, check_input
from airflow_provider_quickrouter.api.models import INPUTS, SD_IMG2IMG, STABLE_DIFFUSION, StableDiffusionInput
from airflow_provider_quickrouter.api.references import check_reference

PROMPT = {"prompt": "an astronaut riding a horse on mars, hd, dramatic lighting"}
PICTURE = "https://example.com/cat.png"


def test_ten_models_are_known_and_their_references_are_well_formed() -> None:
    assert len(INPUTS) == 10
    for reference in INPUTS:
        versioned = ":" in reference
        check_reference(version=reference if versioned else None, model=None if versioned else reference)


def test_only_what_the_author_set_is_sent() -> None:
    assert check_input(PROMPT, STABLE_DIFFUSION) == PROMPT
    assert check_input(StableDiffusionInput(**PROMPT), STABLE_DIFFUSION) == PROMPT


@pytest.mark.parametrize(
    ("reference", "values", "says"),
    [
        (STABLE_DIFFUSION, {"width": 700}, "input.width: 700: Input should be a multiple of 64"),
        (STABLE_DIFFUSION, {"width": 0}, "input.width: 0: Input should be greater than 0"),
        (STABLE_DIFFUSION, {"guidance_scale": 0}, "input.guidance_scale: 0: "),
        (STABLE_DIFFUSION, {"guidance_scale": 21}, "less than or equal to 20"),
        (STABLE_DIFFUSION, {"num_inference_steps": 501}, "less than or equal to 500"),
        (STABLE_DIFFUSION, {"num_outputs": 5}, "less than or equal to 4"),
        (STABLE_DIFFUSION, {"promt": "x"}, "input.promt: is unknown; did you mean 'prompt'?"),
        (STABLE_DIFFUSION, {"prompt": None}, "input.prompt: is null"),
        (STABLE_DIFFUSION, {"prompt": ["a"]}, "input.prompt: ['a']: Input should be a valid string"),
        (models.SDXL, {"high_noise_frac": 1.5}, "less than or equal to 1"),
        (models.SD_IMG2IMG, PROMPT, "input.image: Field required"),
        (models.SD_IMG2IMG, {"image": "/tmp/cat.png"}, "a file is given as an https URL"),
        (models.SD_INPAINTING, {"image": PICTURE}, "input.mask: Field required"),
        (models.SD_ANIMATION, {"gif_frames_per_second": 0}, "input.gif_frames_per_second: 0"),
        (models.FLUX_KONTEXT_MAX, {}, "input.prompt: Field required"),
        (models.FLUX_KONTEXT_PRO, {**PROMPT, "output_format": "webp"}, "'jpg' or 'png'"),
        (models.FLUX_KONTEXT_PRO, {**PROMPT, "safety_tolerance": 7}, "less than or equal to 6"),
        (models.MULTI_IMAGE_KONTEXT_MAX, {**PROMPT, "input_image_1": PICTURE}, "input_image_2"),
        (models.FLUX_FILL_PRO, {**PROMPT, "image": PICTURE, "steps": 14}, "input.steps: 14"),
        (models.FLUX_FILL_DEV, {**PROMPT, "image": PICTURE, "lora_scale": 4}, "input.lora_scale"),
    ],
)
def test_a_wrong_value_is_refused_with_field_value_and_rule(
    reference: str, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_input(values, reference)
    assert says in str(refused.value)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InvalidInputError, match=r"input\.width.*; .*input\.height"):
        check_input({"width": 1, "height": 2}, STABLE_DIFFUSION)


@pytest.mark.parametrize(
    "reference", [STABLE_DIFFUSION, STABLE_DIFFUSION.partition(":")[0], STABLE_DIFFUSION.partition(":")[2]]
)
def test_a_known_model_is_known_by_each_part_of_its_reference(reference: str) -> None:
    with pytest.raises(InvalidInputError, match="width"):
        check_input({"width": 700}, reference)


def test_numbers_that_a_template_rendered_as_text_become_numbers() -> None:
    rendered = {"width": "768", "guidance_scale": "7.5", **PROMPT}
    assert check_input(rendered, STABLE_DIFFUSION) == {"width": 768, "guidance_scale": 7.5, **PROMPT}


def test_fields_that_the_page_does_not_list_pass_through() -> None:
    values = {**PROMPT, "seed": 42, "safety_checker_model": "x"}
    assert check_input(values, STABLE_DIFFUSION) == values


def test_the_input_of_an_unknown_model_or_version_passes_through() -> None:
    other = STABLE_DIFFUSION.partition(":")[0] + ":" + "0" * 64
    for reference in ("someone/something", other):
        assert check_input({"width": 700, "promt": 1}, reference) == {"width": 700, "promt": 1}


def test_null_and_things_that_are_no_json_are_refused_for_every_model() -> None:
    with pytest.raises(InvalidInputError, match="input.seed: is null"):
        check_input({"seed": None}, "someone/something")
    with pytest.raises(InvalidInputError, match="input.day: must be JSON"):
        check_input({"day": date(2026, 3, 1)}, "someone/something")
    with pytest.raises(InvalidInputError, match="input.x: must be JSON"):
        check_input({"x": float("nan")}, "someone/something")


def test_a_template_is_not_checked_yet_but_its_neighbours_are() -> None:
    values = {"width": "{{ params.width }}", "height": 768}
    assert check_input(values, STABLE_DIFFUSION, ignore={"width"}) == values
    with pytest.raises(InvalidInputError, match="height"):
        check_input({**values, "height": 7}, STABLE_DIFFUSION, ignore={"width"})


@pytest.mark.parametrize("wrong", ["a prompt", ["a"], None, {1: "a"}])
def test_an_input_that_is_no_dict_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidInputError, match="input: must be a dict"):
        as_dict(wrong)


def test_two_files_for_a_field_of_one_file_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="2 files: choose one"):
        check_input({"image": ["https://x/0.png", "https://x/1.png"]}, SD_IMG2IMG)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("image", "https://x/0.png"),
        ("image_1", "https://x/0.png"),
        ("images", ["https://x/0.png"]),
        ("reference_images", ["https://x/0.png"]),
        ("prompts", ["https://x/0.png"]),
    ],
)
def test_a_list_of_one_file_is_that_file_where_the_name_of_the_field_is_singular(
    field: str, sent: Any
) -> None:
    assert check_input({field: ["https://x/0.png"]}, "someone/some-model") == {field: sent}


def test_a_string_that_is_not_a_json_object_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="is a string that is not a JSON object"):
        as_dict("{'prompt': 'a cat'}")


def test_of_a_rendered_input_only_templates_that_rendered_to_none_are_left_out() -> None:
    given = {"a": "{{ x }}", "b": "{{ x }}", "c": "None", "d": ["{{ x }}"], "e": "{{ x }}", "f": "{{ x }}"}
    rendered = {"a": None, "b": " None ", "c": "None", "d": [None], "e": "", "f": 0}
    assert without_missing(given, rendered) == {"c": "None", "d": [None], "e": "", "f": 0}
    assert without_missing(given, {"c": "None"}) == {"c": "None"}


@pytest.mark.parametrize("place", [lambda task: task, lambda task: [task], lambda task: {"image": [task]}])
def test_a_task_at_any_depth_of_an_input_is_refused(place: Any) -> None:
    class Operator:
        task_id, output = "draft", None

        def execute(self) -> None: ...

    check_not_a_task("input", place("https://x/0.png"))
    with pytest.raises(InvalidInputError, match=r"is the task 'draft'; use its \.output instead"):
        check_not_a_task("input", place(Operator()))
