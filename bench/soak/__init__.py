"""What memory a machine under `voice-gateway up` takes while calls come and go for half an hour: `make bench-soak`."""
