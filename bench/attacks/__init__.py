"""What hostile callers cost a worker and the honest call beside them, each attack beside its bounds."""
