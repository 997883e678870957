"""Parts of an agent behind OpenAI's API, or another service's that speaks it: chat, speech to text, text to speech.

Each takes a `Service`: where it is, and where its key lies. The package `openai` is imported when a part opens; it
comes with `pip install 'voice-gateway[openai]'`.
"""

from voice_gateway.agent.openai.chat import OpenAIChat
from voice_gateway.agent.openai.service import Service
from voice_gateway.agent.openai.synthesis import OpenAISpeech
from voice_gateway.agent.openai.transcription import OpenAITranscription

__all__ = ["OpenAIChat", "OpenAISpeech", "OpenAITranscription", "Service"]
