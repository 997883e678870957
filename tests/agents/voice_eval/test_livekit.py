"""The driver that calls agents in LiveKit rooms: what it makes of signalling, and a call through a real server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from livekit.protocol.rtc import SignalRequest, SignalResponse

from voice_eval.drivers.base import Endpoint
from voice_eval.drivers.livekit import LiveKitDriver
from voice_eval.drivers.livekit_signalling import request_without_candidates, response_led_to
from voice_eval.errors import EvalError
from voice_eval.evaluation import Evaluation, Plan
from voice_eval.network.condition import choose_conditions
from voice_eval.scenario.model import Expectations, Say, Scenario
from voice_eval.targets.livekit import LiveKitTarget, find_livekit

LINK = ("127.0.0.1", 4_000)
UDP = "candidate:1 1 udp 2130706431 192.0.2.7 7882 typ host ufrag a"
TCP = "candidate:2 1 tcp 1671430143 192.0.2.7 7881 typ host tcptype passive"
RELAY = "candidate:3 1 udp 41885439 192.0.2.7 3478 typ relay raddr 192.0.2.1 rport 9"
V6 = "candidate:4 1 udp 2130706431 2001:db8::1 7882 typ host"


def trickle(candidate: str) -> bytes:
    message = SignalResponse()
    message.trickle.candidateInit = json.dumps({"candidate": candidate, "sdpMid": "0"})
    return bytes(message.SerializeToString())


def test_a_candidate_of_the_server_becomes_the_link_and_says_where_the_link_leads() -> None:
    changed, upstream = response_led_to(trickle(UDP), LINK)
    assert upstream == ("192.0.2.7", 7_882)
    assert changed is not None
    init = json.loads(SignalResponse.FromString(changed).trickle.candidateInit)
    assert init == {"candidate": "candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host", "sdpMid": "0"}


@pytest.mark.parametrize("candidate", [TCP, RELAY, V6, ""])
def test_a_candidate_that_the_link_does_not_carry_is_left_out(candidate: str) -> None:
    assert response_led_to(trickle(candidate), LINK) == (None, None)


def test_candidates_in_the_servers_description_are_led_over_the_link_or_left_out() -> None:
    message = SignalResponse()
    message.offer.sdp = f"v=0\r\na={TCP}\r\na={UDP}\r\na=end-of-candidates\r\na=mid:0\r\n"
    changed, upstream = response_led_to(message.SerializeToString(), LINK)
    assert changed is not None
    sdp = SignalResponse.FromString(changed).offer.sdp
    assert sdp == "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\na=mid:0\r\n"
    assert upstream == ("192.0.2.7", 7_882)


def test_the_servers_turn_and_stun_are_left_out() -> None:
    message = SignalResponse()
    message.join.ice_servers.add(urls=["stun:example.test"])
    changed, _ = response_led_to(message.SerializeToString(), LINK)
    assert changed is not None
    assert not SignalResponse.FromString(changed).join.ice_servers


def test_the_caller_names_none_of_its_addresses_to_the_server() -> None:
    message = SignalRequest()
    message.trickle.candidateInit = json.dumps({"candidate": UDP})
    assert request_without_candidates(message.SerializeToString()) is None
    message = SignalRequest()
    message.answer.sdp = f"v=0\r\na={UDP}\r\na=mid:0\r\n"
    changed = request_without_candidates(message.SerializeToString())
    assert changed is not None
    assert SignalRequest.FromString(changed).answer.sdp == "v=0\r\na=mid:0\r\n"


def test_messages_without_addresses_pass_as_they_are() -> None:
    request, response = SignalRequest(ping=3), SignalResponse(pong=4)
    assert request_without_candidates(request.SerializeToString()) == request.SerializeToString()
    assert response_led_to(response.SerializeToString(), LINK) == (response.SerializeToString(), None)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (Endpoint("ws://127.0.0.1:7880"), "give --option key=... and --token-file"),
        (
            Endpoint("ws://127.0.0.1:7880", token="s", options={"room": "a"}),
            "option room: the driver livekit knows key",
        ),
    ],
)
def test_what_tokens_need_is_asked_for(endpoint: Endpoint, message: str) -> None:
    with pytest.raises(EvalError, match=message):
        LiveKitDriver(endpoint)


@pytest.mark.slow
@pytest.mark.skipif(
    find_livekit() is None and os.environ.get("STRICT") != "1",
    reason="livekit-server is not installed: make .venv-agents/bin/livekit-server",
)
@pytest.mark.timeout(300)
async def test_an_order_through_a_livekit_server_is_right_and_goes_on_after_the_agents_kill() -> None:
    expect = Expectations.model_validate_json('{"state": {"items": [{"drink": "taro milk tea"}]}}')
    # a slow machine takes its time to start the agent again, whose greeting ends the wait
    scenario = Scenario(
        name="taro", steps=(Say(say="A small taro milk tea."),), expect=expect, answer_timeout_ms=60_000
    )
    target = LiveKitTarget(f"{sys.executable} -m bench.league.livekit_bot {{port}}")
    plan = Plan([(Path("taro.yaml"), scenario)], choose_conditions(["clean"]), (None, "server"), seed=1, parallel=1)
    async with target:
        whole, killed = await Evaluation(plan, LiveKitDriver, target).run()
    assert not [each for each in whole.verdict.failures if each.startswith("state")], whole.verdict.sentence
    assert whole.record.lines is not None
    assert {line.role for line in whole.record.lines} == {"user", "agent"}
    assert "reconnected" in {mark.kind for mark in killed.record.marks}
