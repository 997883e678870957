"""The silence in an answer that is made faster than it sounds and meets an outage, by each way of sending it."""
