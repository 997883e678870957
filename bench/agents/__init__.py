"""Kills workers and vendors in calls of every way to bring an agent, and counts what the calls lose."""
