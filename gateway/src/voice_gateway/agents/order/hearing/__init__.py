"""From speech to words: a language model made from the menu, and the recogniser with it, in a process of its own."""
