"""Agents written for LiveKit Agents: the user's `AgentSession` and `Agent`, without a room.

    from livekit.agents import Agent, AgentSession, ChatContext
    from voice_gateway.agents.livekit import LiveKitAgent

    class MyBot(LiveKitAgent):
        def session(self) -> AgentSession:
            return AgentSession(stt=..., vad=..., llm=..., tts=...)

        def agent(self, chat_ctx: ChatContext) -> Agent:
            return Agent(instructions="You take orders.", chat_ctx=chat_ctx)

`gateway/docs/livekit.md` says what survives a worker's end. Choose the class as `agent.name = "package.module:MyBot"`.
"""

from voice_gateway.agents.livekit.agent import LiveKitAgent
from voice_gateway.agents.livekit.tools import journalled

__all__ = ["LiveKitAgent", "journalled"]
