"""The model's laws: what one worker, one table, one store and one failure do, and an installation of them."""
