"""How late a caller's frames reach the worker over a poor link, by each way of sending them."""
