"""The telephone demonstration's call, twice as fast as a caller speaks."""

from deploy.local.demo_phone import find_losses, place_call


async def test_a_call_whose_worker_is_killed_in_mid_sentence_loses_nothing_that_was_understood() -> None:
    result = await place_call(tick_s=0.01)
    assert find_losses(result) == []
    assert [moment.what for moment in result.moments if moment.what == "stream"] == ["stream", "stream"]
    said = [text for role, text in result.transcript if role == "agent"]
    assert sum("What can I get you?" in text for text in said) == 1, "the caller is not greeted anew"
    assert any(text.startswith("Sorry, we were cut off. You have one large taro milk tea") for text in said)
    assert result.turns == 2, "what was understood before is not understood once more"
