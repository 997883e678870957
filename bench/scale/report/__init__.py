"""What the study found: tables and plots."""
