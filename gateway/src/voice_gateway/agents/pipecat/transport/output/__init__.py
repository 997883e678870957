"""What a pipeline says on its way to the caller, and Pipecat kept in step with what the caller hears."""
