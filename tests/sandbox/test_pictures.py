from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageStat

from airflow_provider_quickrouter.sandbox.pictures import CACHED, PALETTES, choose_palette, render

from .client import PROMPT, Client

SMALL = (192, 128)


def opened(file: bytes) -> Image.Image:
    picture = Image.open(BytesIO(file))
    picture.load()
    return picture


def fresh(prompt: str, seed: int = 1, number: int = 0) -> bytes:
    render.cache_clear()
    return render(prompt, seed, number, SMALL)


def test_the_same_prompt_and_seed_give_the_same_bytes() -> None:
    assert fresh(PROMPT) == fresh(PROMPT)


def test_prompt_seed_and_number_each_give_another_picture() -> None:
    assert len({fresh("a"), fresh("b"), fresh("a", seed=2), fresh("a", number=1)}) == 4


@pytest.mark.parametrize("size", [(768, 768), (1024, 576), (64, 512), (8, 8)])
def test_a_picture_has_the_size_asked_for(size: tuple[int, int]) -> None:
    picture = opened(render(PROMPT, 1, 0, size))
    assert (picture.format, picture.size) == ("PNG", size)


@pytest.mark.parametrize("name", sorted(PALETTES))
def test_every_palette_can_be_painted(name: str) -> None:
    picture = opened(fresh(name))
    assert len(picture.getcolors(SMALL[0] * SMALL[1]) or []) > 1000


def blueness(prompt: str) -> float:
    red, _, blue = ImageStat.Stat(opened(fresh(prompt))).mean
    return blue / red


def test_mars_is_red_and_the_ocean_is_blue() -> None:
    assert blueness("on mars") < 0.6 < 0.9 < blueness("the ocean")


def test_the_first_word_with_a_palette_decides() -> None:
    from random import Random

    dice = Random(1)
    ocean = choose_palette("An OCEAN on mars", dice)
    assert ocean == choose_palette("ocean", dice) != choose_palette("mars", dice)
    palettes = [choose_palette(name, dice) for name in PALETTES]
    assert choose_palette("nothing known", dice) in palettes


@pytest.mark.parametrize(
    "prompt", ["", " ", "\n\t", "星空下的城市", "Ωμέγα 🚀 café", "a\0b", "x" * 5000, "word " * 500, "\uffff"]
)
def test_no_prompt_is_too_strange_to_be_set(prompt: str) -> None:
    assert opened(fresh(prompt)).size == SMALL


def test_pictures_are_kept_but_not_all() -> None:
    render.cache_clear()
    for seed in range(CACHED + 2):
        render("x", seed, 0, (8, 8))
    assert render.cache_info().currsize == CACHED


def test_a_picture_is_served_without_a_key(client: Client) -> None:
    given = {"width": 192, "height": 128, "num_outputs": 2, "seed": 5}
    body = client.wait(client.create(given).json()["id"])
    files = [client.session.get(url, timeout=10) for url in body["output"]]
    assert [f.headers["content-type"] for f in files] == ["image/png", "image/png"]
    assert files[0].content == render(PROMPT, 5, 0, SMALL)
    assert opened(files[1].content).size == SMALL
    assert client.session.head(body["output"][0], timeout=10).status_code == 200


def test_a_random_seed_is_told_by_the_logs(client: Client) -> None:
    body = client.wait(client.create({"width": 64, "height": 64}).json()["id"])
    seed = int(body["logs"].splitlines()[0].removeprefix("Using seed: "))
    file = client.session.get(body["output"][0], timeout=10)
    assert file.content == render(PROMPT, seed, 0, (64, 64))


def test_there_is_no_file_before_the_end_nor_of_another_number(client: Client) -> None:
    running = client.create_id(processing=60)
    done = client.create_id()
    client.wait(done)
    paths = (f"/files/{running}/out-0.png", f"/files/{done}/out-1.png", f"/files/{done}/x.png")
    for path in (*paths, "/files/unknown/out-0.png", f"/files/{done}"):
        assert client.send("GET", path).status_code == 404
