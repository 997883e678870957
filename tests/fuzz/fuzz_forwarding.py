"""`make fuzz`: atheris drives the target; arguments are libFuzzer's."""

import sys

import atheris

with atheris.instrument_imports(include=["quiclb"]):
    from tests.fuzz.forwarding_target import check

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
