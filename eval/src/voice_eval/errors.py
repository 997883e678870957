"""What is raised to those who use the tool."""


class EvalError(Exception):
    """The evaluation cannot run; the message says what was given, the rule and the remedy."""


class ScenarioError(EvalError):
    """A scenario, condition or trace file is not usable; the message names file, key and value."""


class CallFailed(EvalError):  # noqa: N818 - the name says what happened
    """There is no call, or it broke and could not go on."""
