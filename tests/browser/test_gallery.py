"""The gallery in Airflow's own pages, in a real browser."""

from __future__ import annotations

import re
from ast import literal_eval

import pytest
from playwright.sync_api import FrameLocator, expect

from dev.gallery_browser import Visitor
from dev.gallery_runs import DAG_ID, manifest, prompt
from tests.browser.hostile import IMAGE, PROMPT
from tests.plugins.denying import SECRET_DAG

pytestmark = pytest.mark.slow("starts an API server of its own, and Chromium")

LIGHT, DARK = "Light Mode", "Dark Mode"


def background(frame: FrameLocator) -> str:
    return str(frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor"))


def test_the_tab_of_a_run_shows_all_its_pictures(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    expect(frame.locator(".card")).to_have_count(12)
    visitor.wait_for_pictures(least=8)
    for card in frame.locator(".card").all():
        card.scroll_into_view_if_needed()
    visitor.wait_for_pictures()
    expect(frame.get_by_role("button", name="Failed: 1")).to_be_visible()
    expect(frame.locator(".card.failed")).to_contain_text("NSFW content detected")
    expect(frame.locator(".card", has_text="study 10")).to_contain_text("output_path=")


def test_the_costs_of_the_shown_pictures_are_summed(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "paid")
    expect(frame.locator(".toolbar")).to_contain_text("Cost: 1.24")
    frame.locator(".card .shot").last.click()
    expect(frame.get_by_role("dialog")).to_contain_text("Cost0.04")
    expect(visitor.open_run(DAG_ID, "motley").locator(".toolbar .cost")).to_have_text("")


def test_a_picture_that_is_not_stored_is_shown_while_it_lives(visitor: Visitor) -> None:
    frame = visitor.open_task(DAG_ID, "motley", "wait", 10)
    assert visitor.wait_for_pictures() == [640]
    expect(frame.get_by_text(re.compile(r"^in \d+ min$"))).to_be_visible()
    expect(frame.get_by_role("button", name="Open at the gateway")).to_be_visible()


def test_a_picture_that_is_not_stored_says_at_which_hour_it_disappears(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    badge = frame.locator(".card", has_text=prompt(10)).locator(".unstored")
    expect(badge).to_have_text(re.compile(r"^Not stored, expires at \d\d:\d\d$"))
    expect(frame.locator(".frame .unstored")).to_have_count(1)
    frame.get_by_role("button", name=f"Open picture: {prompt(10)}").click()
    note = frame.get_by_role("dialog").locator(".problem")
    expect(note).to_contain_text(re.compile(r"Not stored, expires at \d\d:\d\d.*output_path="))


def test_the_whole_input_is_copied_as_python(visitor: Visitor) -> None:
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    frame = visitor.open_run(DAG_ID, "motley")
    frame.get_by_role("button", name="Open picture").first.click()
    copy = frame.get_by_role("button", name="Copy the whole input as Python")
    copy.click()
    expect(copy).to_have_text("Copied")
    copied = visitor.page.evaluate("navigator.clipboard.readText()")
    assert literal_eval(copied) == {"prompt": prompt(0), "width": 1024, "height": 1024}
    expect(copy).to_have_text("Copy as Python")


def test_texts_are_shown_and_other_files_are_offered_as_downloads(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "texts")
    shown = frame.locator(".frame .text")
    expect(shown).to_have_count(3)
    expect(shown.first).to_have_text("Seven waves")
    expect(shown.nth(1)).to_contain_text("Seven waves. Seven waves.")
    shown.nth(1).click()
    box = frame.get_by_role("dialog")
    expect(box.locator(".stage .text")).to_contain_text("The end.")
    visitor.page.keyboard.press("ArrowRight")
    expect(box.locator(".stage .text.json")).to_have_text(re.compile('"label": "cat"'))
    visitor.page.keyboard.press("ArrowRight")
    expect(box.locator(".stage")).to_contain_text("model/gltf-binary")
    with visitor.page.expect_download() as caught:
        box.get_by_role("button", name="Download").click()
    assert caught.value.suggested_filename == "texts-0.glb"


def test_after_an_hour_no_button_opens_the_gateway(stranger: Visitor) -> None:
    stranger.log_in("admin")
    stranger.page.clock.install()
    open_alone(stranger, f"dag_id={DAG_ID}&run_id=motley&task_id=wait&map_index=10")
    gateway = stranger.page.get_by_role("button", name="Open at the gateway")
    expect(gateway).to_be_visible()
    stranger.page.clock.fast_forward("01:00:01")
    expect(gateway).to_be_hidden()
    expect(stranger.page.get_by_text("expired", exact=True)).to_be_visible()
    expect(stranger.page.locator(".unstored")).to_have_text(re.compile(r"^Not stored, expired at \d\d:\d\d$"))


def test_a_picture_that_the_gateway_has_deleted_is_not_an_error(visitor: Visitor) -> None:
    visitor.page.route("**/out-0.png", lambda route: route.fulfill(status=404))
    frame = visitor.open_task(DAG_ID, "motley", "wait", 10)
    note = frame.locator(".note")
    expect(note).to_contain_text("The gateway has deleted this picture")
    expect(note).to_contain_text("output_path=")
    expect(frame.locator(".broken")).to_have_count(0)
    visitor.complaints.clear()


def test_a_card_shows_that_its_task_failed(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "lost")
    expect(frame.locator(".card.lost")).to_contain_text("The task failed before the prediction ended")


def test_of_many_pictures_each_is_counted_and_has_its_own_file(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    expect(frame.locator(".tally")).to_have_text(["4 pictures", "2 pictures"])
    expect(frame.locator(".card", has_text="study 3").locator(".meta")).to_contain_text("submit [study 3]")
    frame.get_by_role("button", name="Open picture 3 of 4").click()
    box = frame.get_by_role("dialog", name="Picture")
    expect(box.locator(".files li")).to_have_count(4)
    expect(box.locator("[aria-current]")).to_contain_text(f"{manifest(2)['id']}/2.png")
    assert box.evaluate("() => getComputedStyle(document.documentElement).overflow") == "hidden"
    with visitor.page.expect_download() as caught:
        box.get_by_role("button", name="Download file 3").click()
    assert caught.value.suggested_filename == f"{manifest(2)['id']}-2.png"


def test_the_tab_of_a_mapped_task_shows_its_own_pictures(visitor: Visitor) -> None:
    frame = visitor.open_task(DAG_ID, "motley", "wait", 2)
    assert len(visitor.wait_for_pictures(least=4)) == 4
    expect(frame.get_by_text(prompt(2))).to_be_visible()
    frame.get_by_role("button", name="submit [study 3]").click()
    expect(visitor.page).to_have_url(f"{visitor.url}/dags/{DAG_ID}/runs/motley/tasks/submit/mapped/2")


def test_it_follows_the_theme_of_airflow(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    seen = []
    for theme in (DARK, LIGHT):
        visitor.choose_theme(theme)
        own = "document => getComputedStyle(document).backgroundColor"
        expect(frame.locator("html.dark")).to_have_count(int(theme == DARK))
        around = visitor.page.locator("body").evaluate(own)
        seen.append(background(frame))
        assert around in (seen[-1], "rgba(0, 0, 0, 0)")
    assert len(set(seen)) == 2


def test_the_keyboard_is_enough(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    keyboard = visitor.page.keyboard
    frame.get_by_role("searchbox").focus()
    keyboard.press("Tab")
    first = frame.get_by_role("button", name=f"Open picture: {prompt(0)}")
    expect(first).to_be_focused()
    keyboard.press("Enter")
    box = frame.get_by_role("dialog", name="Picture")
    expect(box.get_by_text("1 / 16")).to_be_visible()
    keyboard.press("ArrowRight")
    expect(box.get_by_text(prompt(1))).to_be_visible()
    keyboard.press("End")
    expect(box.get_by_text("16 / 16")).to_be_visible()
    keyboard.press("Home")
    for _ in range(3):
        keyboard.press("ArrowRight")
    expect(box.get_by_text("4 / 16")).to_be_visible()
    keyboard.press("ArrowLeft")
    visitor.wait_for_pictures()
    keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(frame.get_by_role("button", name="Open picture 1 of 4")).to_be_focused()


def test_filters_and_the_search_work_together(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    frame.get_by_role("searchbox").fill("LightHouse")
    expect(frame.locator(".card")).to_have_count(2)
    frame.get_by_role("button", name="Failed: 1").click()
    expect(frame.locator(".card")).to_have_count(1)
    frame.get_by_role("searchbox").fill("no such prompt")
    expect(frame.get_by_text("Nothing matches")).to_be_visible()
    frame.get_by_role("button", name="Show all").click()
    expect(frame.locator(".card")).to_have_count(12)


def test_a_picture_opens_after_a_filter_was_pressed(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    first = frame.get_by_role("button", name="Open picture").first
    expect(first).to_be_visible()
    for press in (None, "Succeeded", "All"):
        if press:
            with visitor.page.expect_response("**/pictures?*"):
                frame.get_by_role("button", name=re.compile(press)).first.click()
            frame = visitor.ready()
        first.click()
        expect(frame.get_by_role("dialog"), f"after pressing {press}").to_be_visible()
        visitor.page.keyboard.press("Escape")
        expect(frame.get_by_role("dialog")).to_be_hidden()


def test_a_download_leaves_the_frame(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "motley")
    with visitor.page.expect_download() as caught:
        frame.get_by_role("button", name="Download").first.click()
    assert caught.value.suggested_filename == f"{manifest(0)['id']}-0.png"


def test_running_predictions_are_requested_again(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "running")
    expect(frame.get_by_text("2 of 6 predictions finished")).to_be_visible()
    expect(frame.locator(".card.running")).to_have_count(4)
    before = frame.locator(".ticking").first.inner_text()
    expect(frame.locator(".ticking").first).not_to_have_text(before)
    with visitor.page.expect_response("**/pictures?*") as caught:
        pass
    assert caught.value.status == 200


def test_nothing_that_was_written_becomes_markup(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "hostile")
    expect(frame.get_by_text(PROMPT).first).to_be_visible()
    for n in range(3):
        frame.locator(".shot").nth(n).click()
        expect(frame.get_by_role("dialog")).to_contain_text(PROMPT)
        visitor.page.keyboard.press("Escape")
    expect(frame.locator(".card.failed .hint")).to_contain_text(IMAGE)
    expect(frame.get_by_role("button", name="Open the prediction's page")).to_have_count(0)
    for where in ("script:not([src])", "img:not(.medium)", "svg:not(.icon)", "[onerror]", "a"):
        expect(frame.locator(where)).to_have_count(0)
    visitor.page.wait_for_timeout(300)
    assert visitor.page.evaluate("window.hacked") is None
    assert frame.locator("body").evaluate("() => window.hacked") is None


@pytest.mark.parametrize("dag_id", [DAG_ID, "no_pictures_at_all"])
def test_a_run_without_pictures_shows_which_operators_create_some(visitor: Visitor, dag_id: str) -> None:
    frame = visitor.open_run(dag_id, "empty" if dag_id == DAG_ID else "plain")
    expect(frame.get_by_role("heading")).to_have_text("No pictures in this run")
    expect(frame.get_by_text("QuickRouterRunPredictionOperator")).to_be_visible()
    expect(frame.get_by_text("its results are in its output file")).to_be_visible()


def test_a_run_whose_own_tasks_created_none_shows_no_operators(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "skipped")
    expect(frame.get_by_text("skipped, or never started")).to_be_visible()
    expect(frame.locator(".makers")).to_have_count(0)


def open_alone(visitor: Visitor, query: str) -> None:
    visitor.page.goto(f"{visitor.url}/quickrouter/gallery?{query}")


def test_a_user_without_access_sees_which_permission_is_missing(stranger: Visitor) -> None:
    stranger.log_in("outsider")
    open_alone(stranger, f"dag_id={SECRET_DAG}&run_id=secret")
    expect(stranger.page.get_by_role("heading")).to_have_text("You have no access to these pictures")
    expect(stranger.page.get_by_role("alert")).to_contain_text("administrator")


def test_a_user_who_is_logged_out_sees_to_log_in(stranger: Visitor) -> None:
    open_alone(stranger, f"dag_id={DAG_ID}&run_id=motley")
    expect(stranger.page.get_by_role("heading")).to_have_text("You are logged out")


def test_a_deleted_run_and_a_server_that_is_down_have_different_messages(stranger: Visitor) -> None:
    page = stranger.page
    stranger.log_in("admin")
    open_alone(stranger, f"dag_id={DAG_ID}&run_id=none")
    expect(page.get_by_role("heading")).to_have_text("This run does not exist")
    page.route("**/pictures?*", lambda route: route.abort())
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading")).to_have_text("Airflow does not respond")
