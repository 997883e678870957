"""`python -m voice_gateway.agents.order`: print the menu."""

from voice_gateway.agents.order.command import main

if __name__ == "__main__":
    main()
