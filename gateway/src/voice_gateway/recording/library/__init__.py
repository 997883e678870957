"""Where recordings lie, and what operators do with them: list, show, export, delete, forget after a while."""
