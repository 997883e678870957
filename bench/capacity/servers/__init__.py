"""What is put under load: a worker of this tree or of another revision, and the peers."""
