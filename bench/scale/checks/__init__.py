"""What the model's laws are held against: a real worker, a real Redis, and the production code on simulated hosts."""
